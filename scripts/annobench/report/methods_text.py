"""The methods section of a paper on a study: data, evaluations, methods, statistics, software; with citations."""

from collections.abc import Iterable, Iterator, Mapping

import pandas as pd

from annobench.config.controls import CONTROLS
from annobench.core.files import atomic, read_json
from annobench.report.answer import EVALUATION, listed
from annobench.report.citations import CELL_ONTOLOGY, SOFTWARE, Bibliography
from annobench.report.names import Names
from annobench.report.settings import ReportSettings
from annobench.score.registry import METRICS

_REGIMES = {
    "holdout": "cells were held out at random",
    "kfold": "cells were divided into folds at random",
    "low_label": "a share of the labels of the training cells was used, nested and at least one cell of every class",
    "cross_study": "every named study was held out in turn",
    "cross_organism": "one organism was annotated from another",
    "pair": "methods were trained on the reference and tested on the query",
    "release": "methods were trained on cells of one release and tested on those that the next one added",
    "zero_shot": "no cell was used for training",
    "conditions": "conditions were held out",
}
_OF_EVALUATION = {
    "folds": "folds",
    "fractions": "shares of the labels",
    "held_out": "held out",
    "test_fraction": "test share",
    "val_fraction": "validation share",
    "group_by": "groups kept together",
    "rollup": "labels rolled up to",
}
Record = Mapping[str, object]


def write_methods(
    settings: ReportSettings,
    tables: Mapping[str, pd.DataFrame],
    *,
    names: Names,
    cards: Iterable[str],
    provenance: str,
    text: str,
    references: str,
) -> None:
    """Write the text as Markdown, and its references as BibTeX.

    Parameters
    ----------
    settings
        What the report uses of the study.
    tables
        `splits` is used.
    names
        What things are called.
    cards
        Cards of the datasets.
    provenance
        The provenance record: the resolved configuration, versions and machine.
    text, references
        Files to write.
    """
    record, works = read_json(provenance), Bibliography()
    parts = [
        f"# Methods: {settings.title or settings.study}",
        "## Data",
        *_data(settings, [read_json(card) for card in cards], works),
        "## Evaluations",
        *_evaluations(record["settings"]["evaluations"], record["settings"]["seeds"], tables["splits"], names),
        "## Methods",
        *_methods(settings, record["methods"], works),
        "## Scores and statistics",
        _statistics(settings, record["settings"]),
        "## Software",
        _software(record, works),
    ]
    with atomic(text) as path:
        path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    with atomic(references) as path:
        path.write_text("\n".join(one.bibtex() for one in works.references), encoding="utf-8")


def _data(settings: ReportSettings, cards: Iterable[Record], works: Bibliography) -> Iterator[str]:
    for card in cards:
        entry = settings.datasets[str(card["dataset"])]
        labels, unknown = card["labels"], int(str(card["cells_with_unknown_label"]))
        assert isinstance(labels, Mapping)
        types = sum(label != "unknown" for label in labels)
        counted = [f"{int(str(card['cells'])):,} cells", f"{int(str(card['genes'])):,} genes", f"{types} cell types"]
        for plural in ("studies", "donors"):
            of = card[plural]
            if isinstance(of, Mapping) and len(of) > 1:
                counted.append(f"{len(of)} {plural}")
        left = f" {unknown:,} cells without a known label were not scored." if unknown else ""
        cited = works.cite(entry.citation)
        yield (
            f"*{entry.label}*{' ' + cited if cited else ''}: {listed(counted)}; values: {card['matrix']}.{left} "
            f"{entry.summary} Licence: {entry.licence}. SHA-256 of the prepared file: `{card['sha256']}`."
        )


def _evaluations(evaluations: Iterable[Record], seeds: object, splits: pd.DataFrame, names: Names) -> Iterator[str]:
    drawn = dict(list(splits.groupby(EVALUATION, sort=False)))
    for place, part in drawn.items():
        dataset, evaluation = map(str, place)
        matching = (one for one in evaluations if one["dataset"] == dataset and _name(one) == evaluation)
        setting = next(matching, {})
        regime = str(part["regime"].iloc[0])
        given = [f"{text} {_value(setting[key])}" for key, text in _OF_EVALUATION.items() if setting.get(key)]
        balance = setting.get("balance")
        if isinstance(balance, Mapping) and balance.get("policy", "none") != "none":
            given.append("balancing " + _value(balance))
        genes = setting.get("genes")
        if isinstance(genes, Mapping) and genes.get("panel"):
            given.append("genes " + _value(genes))
        given.append(f"seeds {_value(setting.get('seeds') or seeds)}")
        cells = "; ".join(f"{title} cells {_range(part[role])}" for role, title in _ROLES.items())
        yield (
            f"*{names.place(dataset, evaluation)}*: {_REGIMES.get(regime, regime)} ({'; '.join(given)}). "
            f"{len(part)} splits with their seeds; {cells}."
        )


_ROLES = {"train": "training", "val": "validation", "test": "test"}


def _name(evaluation: Record) -> str:
    return str(evaluation.get("name") or evaluation["regime"])


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _methods(settings: ReportSettings, methods: Mapping[str, Record], works: Bibliography) -> Iterator[str]:
    for entry in settings.methods:
        if entry.method in CONTROLS:
            continue
        cited = works.cite(entry.citation)
        parameters = dict(_flat(methods[entry.method].get("parameters")))
        given = ", ".join(f"{name} {value}" for name, value in parameters.items())
        yield (
            f"*{entry.label}*{' ' + cited if cited else ''}. {entry.summary}"
            + (f" Settings: {given}." if given else "")
        )
    controls = [
        names.description for name, names in CONTROLS.items() if name in {one.method for one in settings.methods}
    ]
    if controls:
        yield f"Controls with a known answer: {listed(controls)}."


def _flat(settings: object, before: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings, by dotted names."""
    for key, value in settings.items() if isinstance(settings, Mapping) else ():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif value is not None:
            yield name, _value(value)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(one)}" for key, one in value.items() if one is not None)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_value, value)) if isinstance(value, list | tuple) else f"{value}"


def _statistics(settings: ReportSettings, resolved: Record) -> str:
    scoring, statistics = resolved["scoring"], resolved["statistics"]
    assert isinstance(scoring, Mapping)
    assert isinstance(statistics, Mapping)
    shown = listed([METRICS[name].label for name in scoring["metrics"] if name in METRICS])
    return (
        "Predictions were matched to the truth by cell id; a cell that a method calls unknown counts as wrong. Methods "
        f"are ranked by {settings.primary}; {shown} are reported as well. Scores are means over splits of the means "
        f"over seeds. Intervals of {100 * settings.level:g} % come from {statistics['replicates']:,} bootstrap "
        f"replicates over donors, else studies, where the test cells have at least {settings.min_units} of them, else "
        "over cells, and over seeds. Pairs of methods are compared on the same splits and seeds by a randomisation "
        "test, with Holm's correction over the pairs of an evaluation. Every metric was computed on controls with "
        "a known answer too, and is called not evidence where such a control does as well as the truth or the "
        "best method."
    )


def _software(record: Record, works: Bibliography) -> str:
    packages, machine = record["packages"], record["machine"]
    assert isinstance(packages, Mapping)
    assert isinstance(machine, Mapping)
    versions = {str(name).lower(): str(version) for name, version in packages.items()}
    used = [f"{name} {versions[name]} {works.cite(SOFTWARE[name])}" for name in SOFTWARE if name in versions]
    commit = f", commit `{record['commit']}`" if record.get("commit") else ""
    ontology = record["settings"]
    assert isinstance(ontology, Mapping)
    release = ontology["ontology"]["release"]
    return (
        f"annobench {record['annobench']}{commit}, Python {record['python']}, {listed(used)}. Labels are ids of the "
        f"Cell Ontology {works.cite(CELL_ONTOLOGY)}, release {release}. Run on {machine['cores']} cores "
        f"({machine['processor']}) with {machine['memory_gb']} GB of memory."
    )
