"""Writes labels of Azimuth as the folder of a run of Cellarium CAS, with the files of cellarium-cas 1.8.

A cell has a rank for every level, the finest first. Cells are in the order of the h5ad file, joined by id.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.obs_columns import read_obs
from annobench.core.errors import DataError
from annobench.core.files import atomic
from annobench.core.parquet import Categorical, positions, take
from annobench.core.tables import INDEX, Table, Wanted, column_names, find_repeated, read_table
from annobench.methods.shared import cas
from annobench.methods.shared.azimuth import Crosswalk, levels_of
from annobench.methods.shared.imports import counted, listed
from annobench.ontology import UNKNOWN, Ontology

if TYPE_CHECKING:
    from numpy.typing import NDArray


def convert(
    metadata: Path,
    cells: Path,
    crosswalk: Crosswalk,
    out: Path,
    *,
    ontology: Path | Ontology,
    reference: str = "",
    levels: Sequence[str] = (),
    cell_id: str = INDEX,
) -> None:
    """Convert labels of Azimuth, and print what was left out.

    Parameters
    ----------
    metadata
        The metadata table of Azimuth.
    cells
        The h5ad file that was annotated: its cells, in its order, are written.
    crosswalk
        Cell Ontology ids of the labels. A label without one becomes `unknown`.
    out
        The folder; it must be new, or empty.
    ontology
        An `ontology_resource.json`, which is copied; or a release, from which one is made.
    reference
        Name of the reference of Azimuth; the model is called `azimuth_<reference>`, or `azimuth`.
    levels
        Columns of the labels, the finest first; by default all that have a score.
    cell_id
        Column of the cell ids in the metadata; `index` for row names.

    Raises
    ------
    DataError
        Where a cell of the h5ad file is missing, a cell is listed twice, or the crosswalk gives a label two ids.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: is there already; delete it, or name another folder")
    chosen = levels_of(column_names(metadata), levels, metadata.name)
    names = [name for name, _ in chosen]
    scores = [score for _, score in chosen if score is not None]
    table = read_table(metadata, Wanted(ids=cell_id, texts=names, numbers=scores))
    order = read_obs(cells, Wanted(ids=INDEX))
    rows = _rows(table, order)
    labels = [table.texts[name][rows] for name in names]
    crosswalk.check(sorted({label for level in labels for label in level.counts()}))
    _say_lacking(crosswalk, labels)
    resource = cas.Resource.of(ontology) if isinstance(ontology, Ontology) else cas.Resource.load(ontology)
    ids = [_mapped(level, lambda label: crosswalk.ids.get(label, UNKNOWN)) for level in labels]
    terms = [
        _mapped(level, lambda label: crosswalk.names.get(label, label) if label in crosswalk.ids else UNKNOWN)
        for level in labels
    ]
    missing = np.full(len(rows), np.nan)
    values = [missing if score is None else table.numbers[score][rows] for _, score in chosen]
    model = f"azimuth_{reference}" if reference else "azimuth"
    out.mkdir(parents=True, exist_ok=True)
    _write_resource(out / cas.RESOURCE, ontology, resource)
    cell_ids = order.ids.to_pylist()
    _write_response(out / cas.RESPONSE, cell_ids, _Answers(resource, ids, values), model)
    _write_metadata(out / cas.METADATA, cells, model, len(rows))
    _write_labels(out / cas.LABELS, cell_ids, terms, ids, values)
    print(f"wrote {len(rows)} cells with {len(names)} levels ({', '.join(names)}) to {out}", flush=True)


def _rows(table: Table, order: Table) -> "NDArray[np.int64]":
    """The row of every cell of the h5ad file in the metadata."""
    for one in (table, order):
        again = find_repeated(one.ids)
        if again:
            raise DataError(
                f"{one.place(again[0])}: cell '{one.ids[again[0]].as_py()}' is listed twice, first in {one.unit} "
                f"{one.rows[again[1]]}; expected one {one.unit} per cell"
            )
    rows = positions(order.ids, table.ids)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        shown = listed(take(order.ids, missing).to_pylist())
        raise DataError(
            f"{table.file}: {len(missing)} of {len(rows)} cells of {order.file.split(':')[0]} are missing ({shown}); "
            "cells are joined by id"
        )
    surplus = np.setdiff1d(np.arange(len(table)), rows)
    if len(surplus):
        shown = listed(take(table.ids, surplus).to_pylist())
        print(f"{table.file}: {len(surplus)} cells are not in the h5ad file and are left out ({shown})", flush=True)
    return rows


def _say_lacking(crosswalk: Crosswalk, labels: Sequence[Categorical]) -> None:
    lacking = crosswalk.lacking(labels)
    if lacking:
        print(
            f"{crosswalk.file}: {len(lacking)} labels have no id and become '{UNKNOWN}' (label: cells; "
            f"{counted(lacking)})",
            flush=True,
        )


def _mapped(level: Categorical, change: Callable[[str], str]) -> Categorical:
    return level.renamed(lambda label: change(label) if label else "")


class _Answers:
    """Scores of all terms of every cell: that of a level belongs to its term and to all ancestors, the largest counts.

    What a level does not know is left out: a cell without a label, and an id that the ontology does not have.
    """

    def __init__(
        self, resource: cas.Resource, ids: Sequence[Categorical], scores: "Sequence[NDArray[np.float64]]"
    ) -> None:
        self._resource, self._ids = resource, ids
        self._scores = [np.nan_to_num(values, nan=0.0) for values in scores]
        self._number = {term: number for number, term in enumerate(resource.ids)}
        self._above: dict[str, list[str]] = {}
        self._say_odd()

    def _say_odd(self) -> None:
        """Print ids that are not in the ontology, and levels that are not above each other in it."""
        odd = {
            name: n
            for level in self._ids
            for name, n in level.counts().items()
            if name not in ("", UNKNOWN) and name not in self._number
        }
        if odd:
            print(
                f"{self._resource.file}: does not have {len(odd)} ids of the crosswalk ({listed(odd)}); they get no "
                "scores, and `reader: cas` refuses the folder. Give an ontology that has them, or correct the "
                "crosswalk",
                flush=True,
            )
        beside = set()
        for fine, coarse in zip(self._ids, self._ids[1:], strict=False):
            for first, others in fine.crosstab(coarse).items():
                if first in self._number:
                    beside |= {(first, other) for other in others if other in self._number}
        wrong = sorted((first, other) for first, other in beside if other not in self._closure(first))
        if wrong:
            shown = listed(f"{other} above {first}" for first, other in wrong)
            print(
                f"{self._resource.file}: {len(wrong)} pairs of levels are not above each other ({shown}); the scores "
                "of each go to its own ancestors",
                flush=True,
            )

    def _closure(self, term: str) -> list[str]:
        """A term and its ancestors, in the order of the ontology."""
        if term not in self._above:
            found = {term} | self._resource.ancestors(term)
            self._above[term] = sorted(found, key=self._number.__getitem__)
        return self._above[term]

    def __iter__(self) -> Iterator[tuple[dict[str, float], float]]:
        """For every cell the score of each term, and that of its finest level."""
        columns = [level.to_text() for level in self._ids]
        for row in range(len(columns[0])):
            scores: dict[str, float] = {}
            finest: float | None = None
            for column, values in zip(columns, self._scores, strict=True):
                term, score = column[row], float(values[row])
                if term not in self._number:
                    continue
                finest = score if finest is None else finest
                for above in self._closure(term):
                    scores[above] = max(scores.get(above, 0.0), score)
            yield dict(sorted(scores.items(), key=lambda item: self._number[item[0]])), finest or 0.0

    def name(self, term: str) -> str:
        """Name of a term."""
        return self._resource.names[term]


def _write_resource(path: Path, given: Path | Ontology, resource: cas.Resource) -> None:
    with atomic(path) as temporary:
        if isinstance(given, Path):
            shutil.copyfile(given, temporary)
        else:
            temporary.write_text(json.dumps(resource.document()), encoding="utf-8")


def _write_metadata(path: Path, cells: Path, model: str, number: int) -> None:
    about = {"input_path": str(cells.resolve()), "model_name": model, "n_cells": number, "ontology_resource_name": None}
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(about, indent=2), encoding="utf-8")


def _write_response(path: Path, cell_ids: Sequence[str], answers: _Answers, model: str) -> None:
    """Write ontology_response.json cell by cell."""

    def compact(value: object) -> str:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write('{"data":[')
        for number, (cell, (scores, finest)) in enumerate(zip(cell_ids, answers, strict=True)):
            answer: cas.Answer = {
                "query_cell_id": cell,
                "matches": [
                    {"score": score, "cell_type_ontology_term_id": term, "cell_type": answers.name(term)}
                    for term, score in scores.items()
                ],
                "total_weight": finest,
                "total_neighbors": 1,
                "total_neighbors_unrecognized": 0,
            }
            file.write(("," if number else "") + compact(answer))
        file.write(f'],"model_name":{compact(model)}}}')


def _write_labels(
    path: Path,
    cell_ids: Sequence[str],
    names: Sequence[Categorical],
    ids: Sequence[Categorical],
    scores: "Sequence[NDArray[np.float64]]",
) -> None:
    """Write inferred_labels.csv as pandas writes it: all names, then all ids, then all scores."""
    import pandas as pd

    columns: dict[str, NDArray[np.generic]] = {}
    for kind, values in (("label", names), ("name", ids)):
        columns |= {cas.column(cas.CELL, kind, k): level.to_text() for k, level in enumerate(values, start=1)}
    columns |= {cas.column(cas.CELL, "score", k): values for k, values in enumerate(scores, start=1)}
    with atomic(path) as temporary:
        pd.DataFrame(columns, index=pd.Index(cell_ids)).to_csv(temporary)
