"""Entries of `evaluations`, expanded into splits."""

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

from annobench.config.entities import _unlabelled
from annobench.config.schema import fill, load_schema
from annobench.config.split import BalanceSettings, GeneSettings, Split
from annobench.core.errors import ConfigError, nearest

_NOT_OF_REGIME = {"dataset", "regime", "name", "seeds", "methods", "genes", "balance", "rollup"}
_NOT_OF_REGIME |= {"folds", "fractions", "held_out"}  # they list the splits
_STEMS = {"low_label": "lowlabel", "cross_study": "crossstudy"}  # of split names; else the regime


# one fit is scored on cells of its own release and on those of a later one
_PARTS = {"": "both", "_id": "reference", "_ood": "query"}


def _expand(
    evaluation: dict[str, Any], settings: dict[str, Any], dataset: dict[str, Any], where: str
) -> Iterator[Split]:
    """The splits of one entry of `evaluations`."""
    regime = evaluation["regime"]
    _check_regime(evaluation, dataset, where)
    switches = _switches(evaluation)
    stem = evaluation.get("name") or _STEMS.get(regime, regime) + switches
    shared = {k: v for k, v in evaluation.items() if k not in _NOT_OF_REGIME}
    if regime == "kfold":
        folds = evaluation["folds"]
        parts = [(f"{stem}_{fold}", {"fold": fold, "folds": folds}) for fold in range(1, folds + 1)]
    elif regime == "low_label":
        parts = [(f"{stem}_{fraction:g}", {"fraction": fraction}) for fraction in evaluation["fractions"]]
    elif regime == "cross_study":
        families = dataset["families"]
        parts = [
            (f"{stem}_{family}", {"held_out": family, "rule": families[family]})
            for family in evaluation.get("held_out", list(families))
        ]
    elif regime == "release":
        parts = [(stem + end, {"part": part}) for end, part in _PARTS.items()]
    else:
        parts = [(stem, {})]
    for name, extra in parts:
        entry = evaluation.get("name") or regime + switches
        yield Split(
            dataset=evaluation["dataset"],
            name=name,
            regime=regime,
            evaluation=name if regime == "release" else entry,
            fitted=stem if regime == "release" else name,
            seeds=tuple(evaluation.get("seeds", settings["seeds"])),
            methods=tuple(dict.fromkeys([*settings["controls"], *evaluation.get("methods", settings["methods"])])),
            genes=GeneSettings.from_params(evaluation["genes"]),
            balance=BalanceSettings.from_params(evaluation["balance"]),
            rollup=evaluation["rollup"],
            settings=shared | extra,
        )


def _switches(evaluation: dict[str, Any]) -> str:
    """What of an entry differs from the defaults, as part of its names: different splits never share a file."""
    root = load_schema("config")
    defaults = fill({"regime": evaluation["regime"]}, root["$defs"]["evaluation"], root)
    words = {"group_by": "", "folds": "folds", "test_fraction": "test", "val_fraction": "val"}
    words |= {"split_seed": "draw", "multiple": "multiple"}
    changed = {key: evaluation.get(key) for key in words if evaluation.get(key) != defaults.get(key)}
    parts = ["cells" if value is None else f"{words[key]}{value}" for key, value in changed.items()]
    balance = evaluation["balance"]
    if balance["policy"] != "none":
        usual = fill({"policy": balance["policy"]}, root["$defs"]["balance"], root)
        parts.append(f"{balance['policy']}{balance['max_cells']}")
        parts += [f"min{balance['min_cells']}"] if balance["min_cells"] != usual["min_cells"] else []
        parts += [balance["share"]] if balance["share"] != usual["share"] else []
        own = balance["min_per_source"] != usual["min_per_source"]
        parts += [f"persource{balance['min_per_source']}"] if own else []
        if shares := balance.get("target_proportions"):  # too long to be written out
            text = json.dumps(shares, sort_keys=True).encode()
            parts.append(f"shares{hashlib.sha256(text).hexdigest()[:8]}")
    genes = evaluation["genes"]
    parts += [f"panel{genes['panel']}"] if genes["panel"] else []
    parts += ["alltrained"] if genes["training"] == "all" else []
    parts += [f"rollup{evaluation['rollup']}"] if evaluation["rollup"] else []
    return "".join(f"_{part}" for part in parts)


def _check_regime(evaluation: dict[str, Any], dataset: dict[str, Any], where: str) -> None:
    name, regime = evaluation["dataset"], evaluation["regime"]
    shares = evaluation["balance"].get("target_proportions", {})
    if (whole := math.fsum(shares.values())) > 1 + 1e-9:
        raise ConfigError(f"{where}: balance.target_proportions: the shares add up to {whole:g}, expected 1 at most")
    if (regime in ("pair", "release")) != ("pair" in dataset):
        raise ConfigError(
            f"{where}: the regimes pair and release go with a dataset that declares a `pair`, and only with it; "
            f"'{name}' does not fit"
        )
    if _unlabelled(dataset):
        raise ConfigError(
            f"{where}: '{name}' declares no labels (cells.label), so nothing can train or be scored on it; name it as "
            "the query of a pair"
        )
    genes = evaluation["genes"]
    if genes["training"] == "all" and not genes["panel"] and dataset.get("pair", {}).get("genes") != "reference":
        raise ConfigError(
            f"{where}: genes.training: all genes of '{name}' are measured, so `all` is what `panel` is; name a "
            "genes.panel, or a pair with `genes: reference`"
        )
    if regime == "cross_study":
        families = dataset["families"]
        if not families:
            raise ConfigError(f"{where}: regime cross_study needs `families` in config/datasets/{name}.yaml")
        for family in evaluation.get("held_out", []):
            if family not in families:
                raise ConfigError(f"{where}: held_out: '{name}' has no family '{family}'{nearest(family, families)}")
