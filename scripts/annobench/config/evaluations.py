"""Entries of `evaluations`, expanded into splits."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping

from annobench.config.entities import unlabelled
from annobench.config.metrics import check_family_options
from annobench.config.plugins import plugins
from annobench.config.regimes import Entry, Regime, regime_class, regimes
from annobench.config.schema import Document, fill, load_schema
from annobench.config.split import BalanceSettings, ColumnSettings, GeneSettings, Split
from annobench.core.errors import ConfigError, nearest

# keys that all regimes have; the others are the regime's own
COMMON_KEYS = {"dataset", "regime", "name", "seeds", "methods", "decodings"}
COMMON_KEYS |= {"genes", "balance", "rollup", "columns", "metric_families", "metric_options"}


def splits_of(
    evaluation: Document,
    dataset: Document,
    *,
    seeds: Iterable[int],
    methods: Iterable[str],
    where: str,
    parts: Iterable[Mapping[str, object]] = (),
) -> Iterator[Split]:
    """The splits of one entry of `evaluations`.

    Parameters
    ----------
    evaluation, dataset
        The entry and its dataset, validated, with defaults.
    seeds, methods
        What runs on it: its own, or those of the study.
    where
        The place in the study that errors name.
    parts
        The datasets behind the dataset, where it combines others.

    Raises
    ------
    ConfigError
        The regime, or one of its switches, does not go with the dataset.
    """
    name = evaluation["regime"]
    regime = regime_class(name)
    own = {key: value for key, value in evaluation.items() if key not in COMMON_KEYS}
    declared = _declared_texts([dataset, *parts])
    control = dataset.get("perturbation", {}).get("control")
    entry = Entry(
        evaluation["dataset"], dataset["families"], evaluation["balance"]["policy"], own, declared, control=control
    )
    try:
        _check(evaluation, dataset, regime)
        regime.check(entry)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    switches = _switches(evaluation, own, regime)
    stem = evaluation.get("name") or (regime.STEM or name) + switches
    shared = {key: value for key, value in own.items() if key not in regime.LISTS}
    for part in regime.expand(entry):
        yield Split(
            dataset=entry.dataset,
            name=stem + part.ending,
            evaluation=(evaluation.get("name") or name + switches) if part.averaged else stem + part.ending,
            fitted=stem + (part.ending if part.fitted is None else part.fitted),
            scored=part.scored,
            seeds=tuple(seeds),
            methods=tuple(methods),
            genes=GeneSettings.from_params(evaluation["genes"]),
            balance=BalanceSettings.from_params(evaluation["balance"]),
            rollup=evaluation["rollup"],
            columns=ColumnSettings.from_params(evaluation["columns"]),
            metric_families=None if (chosen := evaluation["metric_families"]) is None else tuple(chosen),
            metric_options=evaluation["metric_options"],
            settings=Regime.from_params({"regime": name, **shared, **part.settings}),
        )


def _declared_texts(datasets: Iterable[Mapping[str, object]]) -> dict[str, list[str]]:
    """Column of obs -> the texts that all of the datasets declare for their cells (`organism: =Homo sapiens`)."""
    given = []
    for dataset in datasets:
        if "source" in dataset and isinstance(cells := dataset["cells"], Mapping):
            given.append({**cells, **cells["columns"]})
    texts = {column: [str(cells.get(column)) for cells in given] for column in set().union(*given)}
    return {
        column: list(dict.fromkeys(text[1:] for text in of_each))
        for column, of_each in texts.items()
        if all(text.startswith("=") for text in of_each)
    }


def _switches(evaluation: Document, own: Document, regime: type[Regime]) -> str:
    """What of an entry differs from the defaults, as part of its names: different splits never share a file."""
    root = load_schema("config")
    defaults = fill({"regime": evaluation["regime"]}, root["$defs"]["evaluation"], root)
    parts = []
    for key in [*defaults, *sorted(set(own) - set(defaults))]:
        if key in own and key not in regime.LISTS and (key not in defaults or own[key] != defaults[key]):
            parts.append("cells" if own[key] is None else f"{regime.WORDS.get(key, key)}{own[key]}")
    balance = evaluation["balance"]
    if balance["policy"] != "none":
        usual = fill({"policy": balance["policy"]}, root["$defs"]["balance"], root)
        parts.append(f"{balance['policy']}{balance['max_cells']}")
        parts += [f"min{balance['min_cells']}"] if balance["min_cells"] != usual["min_cells"] else []
        parts += [balance["share"]] if balance["share"] != usual["share"] else []
        floor = balance["min_per_source"] != usual["min_per_source"]
        parts += [f"persource{balance['min_per_source']}"] if floor else []
        if shares := balance.get("target_proportions"):  # too long to be written out
            text = json.dumps(shares, sort_keys=True).encode()
            parts.append(f"shares{hashlib.sha256(text).hexdigest()[:8]}")
    genes = evaluation["genes"]
    parts += [f"panel{genes['panel']}"] if genes["panel"] else []
    parts += ["alltrained"] if genes["training"] == "all" else []
    parts += [f"rollup{evaluation['rollup']}"] if evaluation["rollup"] else []
    return "".join(f"_{part}" for part in parts)


def _check(evaluation: Document, dataset: Document, regime: type[Regime]) -> None:
    """Raise ConfigError for what no regime allows."""
    name = evaluation["dataset"]
    shares = evaluation["balance"].get("target_proportions", {})
    if (whole := math.fsum(shares.values())) > 1 + 1e-9:
        raise ConfigError(f"balance.target_proportions: the shares add up to {whole:g}, expected 1 at most")
    if ("pair" in dataset) != regime.OF_PAIRS:
        of_pairs = [one for one in regimes() if regime_class(one).OF_PAIRS]
        raise ConfigError(
            f"the regimes {_listed(of_pairs)} go with a dataset that declares a `pair`, and only with it; '{name}' "
            "does not fit"
        )
    for family in evaluation["metric_families"] or []:
        if family not in (known := plugins("score/metrics")):
            raise ConfigError(f"metric_families: there is no family '{family}'{nearest(family, known)}")
    for family, options in evaluation["metric_options"].items():
        check_family_options(family, options, "metric_options")
    if unlabelled(dataset):
        raise ConfigError(
            f"'{name}' declares no labels (cells.label), so nothing can train or be scored on it; name it as the query "
            "of a pair"
        )
    genes = evaluation["genes"]
    if genes["training"] == "all" and not genes["panel"] and dataset.get("pair", {}).get("genes") != "reference":
        raise ConfigError(
            f"genes.training: all genes of '{name}' are measured, so `all` is what `panel` is; name a genes.panel, or "
            "a pair with `genes: reference`"
        )


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
