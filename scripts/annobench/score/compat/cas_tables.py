"""The files that `cellarium-cas benchmark all` writes, and tables beside them, from annotation runs and true labels.

Values are equal to its definitions whatever the order of rows: cells are joined by id. Runs are written in the order of
their folders, groups in the order of their names.

| file | rows |
| --- | --- |
| `f_measure_per_sample.csv`, `hierarchical_f_measure_per_sample.csv` | one per run |
| `f_measure_per_group.csv`, `hierarchical_f_measure_per_group.csv` | one per model: its runs together |
| `f_measure_per_<column>.csv`, `hierarchical_f_measure_per_<column>.csv` | one per model and value of a column of obs |
| `macro_class_sets_per_sample.csv`, `macro_class_sets_per_group.csv` | macro averages over both sets of classes |
"""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.core.files import atomic
from annobench.score.compat.cas_measures import (
    FLAT,
    HIERARCHICAL,
    MACRO,
    Hierarchy,
    Pairs,
    flat_measures,
    hierarchical_measures,
)
from annobench.score.compat.cas_runs import RESOURCE, CasRun, Joined, Truth, joined, read_labels, read_truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tops = list[Pairs]  # of top 1, top 2, ...


@dataclass(frozen=True)
class CasOptions:
    """What is computed.

    Parameters
    ----------
    label
        Column of obs with the true labels, as Cell Ontology ids.
    top_k
        Number of top-k readings; None for as many as all runs have ranks.
    groups
        Further columns of obs by which cells are grouped.
    zero_division
        Value of a ratio without cells: 0 or 1.
    """

    label: str
    top_k: int | None = None
    groups: tuple[str, ...] = ()
    zero_division: float = 0.0


@dataclass
class _Counted:
    """Pairs of every run, and of every group of every model."""

    runs: list[tuple[CasRun, Tops]] = field(default_factory=list)
    groups: dict[tuple[str, str, str], list[Tops]] = field(default_factory=dict)  # column, model, value


def write_cas_tables(runs: Sequence[tuple[CasRun, Path]], options: CasOptions, folder: Path) -> list[str]:
    """Write the tables of some runs.

    Parameters
    ----------
    runs
        Each run with the h5ad file of its true labels.
    options
        What is computed.
    folder
        Where the tables go.

    Returns
    -------
    What the user should know: runs with another ontology than the first, whose ontology counts for all.

    Raises
    ------
    DataError
        For files that are missing or broken, labels that the ontology does not have, or other cells in a run than in
        its truth.
    """
    hierarchy, notes = _shared_ontology([run for run, _ in runs])
    top_k = options.top_k or min(len(run.ranks()) for run, _ in runs)
    counted = _count(runs, options, hierarchy, top_k)
    models: dict[str, list[Tops]] = {}
    for run, tops in counted.runs:
        models.setdefault(run.model, []).append(tops)
    of_runs = [({"model_name": run.model, "test_sample": run.sample}, tops) for run, tops in counted.runs]
    of_models = [({"group_name": model}, _sum(models[model])) for model in sorted(models)]
    tables = {"sample": of_runs, "group": of_models}
    for column in options.groups:
        tables[column] = [
            ({"model_name": model, column: value}, _sum(parts))
            for (of, model, value), parts in sorted(counted.groups.items())
            if of == column
        ]
    measures = _Measures(hierarchy, options.zero_division)
    for name, rows in tables.items():
        _write(folder, name, rows, measures)
    return notes


def _shared_ontology(runs: Sequence[CasRun]) -> tuple[Hierarchy, list[str]]:
    """The ontology of the first run, as cellarium-cas takes it for all, and which runs have another."""
    first, digests = runs[0].folder / RESOURCE, {}
    for run in runs:
        path = run.folder / RESOURCE
        if not path.is_file():
            raise DataError(f"{run.folder}: there is no {RESOURCE}, which COMPAT=cas computes with")
        digests[path] = hashlib.sha256(path.read_bytes()).digest()
    other = [str(path.parent) for path, digest in digests.items() if digest != digests[first]]
    try:
        hierarchy = Hierarchy.of_resource(json.loads(first.read_bytes()), str(first))
    except (ValueError, AttributeError) as error:
        raise DataError(f"{first}: is not readable JSON ({error})") from error
    return hierarchy, [
        f"COMPAT=cas: {place} has another {RESOURCE} than {first.parent}, which counts" for place in other
    ]


def _count(runs: Sequence[tuple[CasRun, Path]], options: CasOptions, hierarchy: Hierarchy, top_k: int) -> _Counted:
    counted, truth = _Counted(), None
    with ThreadPoolExecutor(1) as beside:
        for run, file in runs:
            reading = beside.submit(read_labels, run, top_k)  # while the ids of the truth are read, which takes as long
            if truth is None or truth.file != file:
                truth = read_truth(file, options.label, options.groups)
            cells = joined(run, reading.result(), truth, hierarchy.labels)
            del reading  # and with it the ids
            counted.runs.append((run, [Pairs.count(cells.true, predicted) for predicted in cells.tops()]))
            _count_groups(counted, run, cells, truth)
    return counted


def _count_groups(counted: _Counted, run: CasRun, cells: Joined, truth: Truth) -> None:
    for column, values in truth.groups.items():
        order = np.argsort(values.codes, kind="stable")
        starts = np.searchsorted(values.codes[order], np.arange(len(values.names) + 1))
        tops = list(cells.tops())
        for i, value in enumerate(values.names):
            rows: NDArray[np.intp] = order[starts[i] : starts[i + 1]]
            if len(rows):
                pairs = [Pairs.count(cells.true[rows], predicted[rows]) for predicted in tops]
                counted.groups.setdefault((column, run.model, value), []).append(pairs)


def _sum(parts: Sequence[Tops]) -> Tops:
    return parts[0] if len(parts) == 1 else [Pairs.sum(of_k) for of_k in zip(*parts, strict=True)]


class _Measures:
    """Measures of counts, computed once: a model of one run has those of the run."""

    def __init__(self, hierarchy: Hierarchy, zero_division: float) -> None:
        self._hierarchy, self._zero_division = hierarchy, zero_division
        self._known: dict[int, tuple[Tops, dict[str, float], dict[str, float]]] = {}

    def of(self, tops: Tops) -> tuple[dict[str, float], dict[str, float]]:
        """The flat measures of every top k, and the hierarchical ones of top 1."""
        if id(tops) not in self._known:
            flat = {
                f"{key}_k{k}": value
                for k, pairs in enumerate(tops, start=1)
                for key, value in flat_measures(pairs, self._zero_division).items()
            }
            of_nodes = hierarchical_measures(tops[0], self._hierarchy, self._zero_division)
            self._known[id(tops)] = (tops, flat, of_nodes)
        return self._known[id(tops)][1:]


def _write(folder: Path, name: str, rows: Sequence[tuple[Mapping[str, str], Tops]], measures: _Measures) -> None:
    depths = range(1, len(rows[0][1]) + 1)
    keys = {"f_measure": [f"{key}_k{k}" for k in depths for key in FLAT]}
    if name in ("sample", "group"):
        keys["macro_class_sets"] = [f"{key}_k{k}" for k in depths for key in MACRO]
    values = [(identity, *measures.of(tops)) for identity, tops in rows]
    for table, columns in keys.items():
        flat = [{**identity, **{key: one[key] for key in columns}} for identity, one, _ in values]
        _write_csv(folder / f"{table}_per_{name}.csv", flat)
    of_nodes = [{**identity, **{key: one[key] for key in HIERARCHICAL}} for identity, _, one in values]
    _write_csv(folder / f"hierarchical_f_measure_per_{name}.csv", of_nodes)


def _write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
