"""An embedding that was made elsewhere: read from a file, joined by cell id, checked like any other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from annobench.core.errors import ConfigError, DataError, MethodSkipped
from annobench.core.files import sha256_of
from annobench.core.paths import ROOT
from annobench.core.tables import Table
from annobench.fit.method import Abilities, Context, Embedding, Method, Needs, Notes
from annobench.methods.shared.embedding_files import Matrix, gathered, read_ids, read_matrix, read_texts
from annobench.methods.shared.imports import located
from annobench.methods.shared.matching import SHOWN, ListedCells, Matched, matched, prefixed

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

_PART = 8192  # cells that are given together


class ImportedEmbedding(Method):
    """Reads an embedding instead of making one; nothing is trained and no expression is read.

    Parameters
    ----------
    path
        The file: .npy, .npz, .h5ad, .parquet, .csv or .tsv (these also with .gz), relative to the repository; `~` and
        variables such as $ANNOBENCH_DATA are expanded, and `{dataset}` stands for the name of the dataset. Where it is
        missing the fit is skipped, with `how`.
    how
        How the file is made, for that message.
    key
        Key of obsm, or name of an array of an .npz.
    ids
        File of the ids, for a file that has none of its own: a .txt with one id a line, a table or an h5ad file. Its
        rows are those of the embedding, in the same order. Needed for .npy and for `join: order`.
    cell_id
        Column of the ids; `index` for row names; of an .npz, the array.
    ignore
        Columns of a table that are neither ids nor dimensions.
    join
        `id`: by the ids of the file, or of `ids` where it is an .npy. `order`: the ids of the file are not used; those
        of `ids` are taken row by row, if both have as many rows, and the same texts in the column `checked`.
    checked
        Column of both files whose texts must be equal in every row, with `join: order`.
    prefix
        Text that is put before every cell id of the file; the cells of a pair are named `<dataset>:<cell>`.
    missing
        What becomes of cells that the file does not have: `error`, or `mean`, which puts them at the mean of the
        others, where they say nothing.
    dimensions
        Expected number of dimensions; another is an error.
    sha256
        Expected SHA-256 of the file; another is an error.
    made_with
        Conventions of the model on which the values depend (layer, pooling, ...), for the run record.
    """

    needs = Needs(cells="none")
    abilities = Abilities(predictions=False, probabilities=False, embedding=True, trains=False)
    files = ("{path}", "{ids}")

    trainable_parameters = 0

    def __init__(
        self,
        *,
        path: str,
        how: str | None = None,
        key: str | None = None,
        ids: str | None = None,
        cell_id: str = "index",
        ignore: Sequence[str] = (),
        join: Literal["id", "order"] = "id",
        checked: str | None = None,
        prefix: str = "",
        missing: Literal["error", "mean"] = "error",
        dimensions: int | None = None,
        sha256: str | None = None,
        made_with: dict[str, str | int] | None = None,
    ) -> None:
        if join == "order" and (ids is None or checked is None):
            raise ConfigError(
                "parameters.join is order: name in `ids` a file that has the cells in the same order, and in `checked` "
                "a column that both files have, such as that of the cell types"
            )
        if join == "id" and checked is not None:
            raise ConfigError("parameters.checked has no effect with `join: id`; leave it out, or set `join: order`")
        self.path, self.how, self.key, self.ids, self.cell_id, self.ignore = path, how, key, ids, cell_id, ignore
        self.join, self.checked, self.prefix, self.missing = join, checked, prefix, missing
        self.dimensions, self.sha256, self.made_with = dimensions, sha256, made_with or {}

    def fit(self, train: "AnnData", context: Context) -> None:
        self._dataset = context.dataset
        self._source: _Source | None = None

    def embed(self, query: "AnnData") -> Iterator[Embedding]:
        if self._source is None:
            self._source = self._opened()
        source, cells = self._source, query.obs_names.to_numpy(dtype=object)
        match = matched(source.cells, cells, missing=self.missing, what="cell")
        values = gathered(source.matrix, match.row)
        _check_finite(source, match, values)
        if match.missing:
            values[match.row < 0] = _mean(values, match.row >= 0)
        source.count(match)
        self.notes = {**source.notes, **source.counts()}
        print("; ".join(f"{name}: {value}" for name, value in self.notes.items()), flush=True)
        for start in range(0, len(cells), _PART):
            yield Embedding(cells[start : start + _PART], values[start : start + _PART])

    def _opened(self) -> "_Source":
        """The file, its cells, and what run records say of them."""
        given = [name.replace("{dataset}", self._dataset) for name in (self.path, self.ids) if name is not None]
        names = [_shown(name) for name in given]
        paths = {shown: located(name) for shown, name in zip(names, given, strict=True)}
        self._check_there(paths)
        path, ids = paths[names[0]], paths[names[1]] if self.ids else None
        hashes = {name: sha256_of(file) for name, file in paths.items()}
        if self.sha256 not in (None, hashes[names[0]]):
            raise DataError(
                f"{path.name}: has the sha256 {hashes[names[0]]}, expected {self.sha256} (parameters.sha256); it is "
                "another file than the one that was meant"
            )
        if path.suffix == ".npy" and ids is None:
            raise ConfigError(
                f"parameters.ids: {path.name} has no ids; name a file that has them in the order of its rows, such as "
                "a .txt with one id a line"
            )
        matrix = read_matrix(path, self.key, None if self._apart(path) else self.cell_id, self._no_dimensions())
        if self.dimensions not in (None, matrix.shape[1]):
            raise DataError(
                f"{matrix.where}: has {matrix.shape[1]} dimensions, expected {self.dimensions} (parameters.dimensions)"
            )
        table = read_ids(ids if ids and self._apart(path) else path, self.cell_id, self.checked)
        if len(table) != matrix.shape[0]:
            raise DataError(
                f"{matrix.where}: has {matrix.shape[0]} rows, but {table.file} lists {len(table)} cells; expected the "
                "same number"
            )
        if self.checked is not None:
            self._check_order(path, table)
        notes: Notes = {"file": names[0], "sha256": hashes, "where": matrix.where, "type": matrix.dtype}
        if self.made_with:
            notes["made_with"] = self.made_with
        checked = f", each row checked by '{self.checked}'" if self.checked else ""
        notes["join"] = f"in the order of {names[1]}{checked}" if self._apart(path) else "by cell id"
        cells = ListedCells(table.file, prefixed(table.ids, self.prefix), table.rows, table.unit)
        return _Source(matrix, cells, notes, np.zeros(len(table), dtype=bool))

    def _apart(self, path: Path) -> bool:
        """Whether the ids are in another file."""
        return self.join == "order" or path.suffix == ".npy"

    def _no_dimensions(self) -> list[str]:
        """Columns of a table that are no dimensions, besides the ids."""
        return list(dict.fromkeys([*self.ignore, *([] if self.checked is None else [self.checked])]))

    def _check_there(self, paths: dict[str, Path]) -> None:
        """Raise MethodSkipped where a file is missing."""
        absent = [name for name, file in paths.items() if not file.is_file()]
        if absent:
            names = " and ".join(f"'{name}'" for name in absent)
            how = f". How to make it: {' '.join(self.how.split())}" if self.how else "; make it, or name another"
            raise MethodSkipped(f"parameters.path: there is no file {names}{how}")

    def _check_order(self, path: Path, table: Table) -> None:
        """Raise DataError where a row of the two files has another text in the column that is compared."""
        assert self.checked is not None
        own = read_texts(path, self.checked)
        first, second = (one.texts[self.checked].to_text() for one in (table, own))
        if len(first) != len(second):
            raise DataError(f"{own.file}: has {len(second)} rows, but {table.file} {len(first)}; expected as many")
        different = np.flatnonzero(first != second)
        if len(different):
            row = int(different[0])
            raise DataError(
                f"{own.place(row)}: '{self.checked}' is '{second[row]}', but '{first[row]}' in {table.file}, and "
                f"{len(different)} of {len(first)} rows differ; the files are not in the same order"
            )


@dataclass
class _Source:
    """An opened file, and which of its rows were asked for so far."""

    matrix: Matrix
    cells: ListedCells
    notes: Notes
    used: "NDArray[np.bool_]"
    missing: int = 0
    absent: tuple[str, ...] = ()

    def count(self, match: Matched) -> None:
        """Take note of the cells of one role."""
        self.used[match.row[match.row >= 0]] = True
        self.missing += match.missing
        self.absent = (*self.absent, *match.absent)[:SHOWN]

    def counts(self) -> Notes:
        """For run records."""
        surplus = np.flatnonzero(~self.used)
        return {
            "cells": len(self.used),
            "cells_joined": int(self.used.sum()),
            "cells_missing": self.missing,
            "missing": self.absent,
            "cells_surplus": len(surplus),
            "surplus": tuple(self.cells.text(int(row)) for row in surplus[:SHOWN]),
        }


def _shown(path: str) -> str:
    """A path as it is written, but that of a download, which is absolute, from the repository on."""
    return str(Path(path).relative_to(ROOT)) if Path(path).is_relative_to(ROOT) else path


def _mean(values: "NDArray[np.float32]", there: "NDArray[np.bool_]") -> "NDArray[np.float64]":
    """Mean of the cells that are there, (dimensions,)."""
    total = np.zeros(values.shape[1])
    for start in range(0, len(values), _PART):
        total += values[start : start + _PART][there[start : start + _PART]].sum(axis=0, dtype=np.float64)
    mean: NDArray[np.float64] = total / int(there.sum())
    return mean


def _check_finite(source: _Source, match: Matched, values: "NDArray[np.float32]") -> None:
    """Raise DataError for values that are not finite numbers, in cells that the file has."""
    for start in range(0, len(values), _PART):
        bad = ~np.isfinite(values[start : start + _PART])
        bad[match.row[start : start + _PART] < 0] = False
        if bad.any():
            cell, dimension = (int(place[0]) for place in np.nonzero(bad))
            row = int(match.row[start + cell])
            raise DataError(
                f"{source.matrix.where}, row {row + 1}: cell '{source.cells.text(row)}' has the value "
                f"{values[start + cell, dimension]} in dimension {dimension + 1}, expected a finite number"
            )
