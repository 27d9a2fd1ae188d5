"""Annotated cells as a file: h5ad (the input with more columns), Parquet or CSV, written a block at a time."""

import csv
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from annobench.core.files import atomic
from annobench.core.parquet import Categorical, ColumnWriter
from annobench.fit.decodings.given import Chosen

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

CELL_ID = "cell_id"
Column: TypeAlias = "Categorical | NDArray[np.float64]"
Provenance: TypeAlias = Mapping[str, "str | int | float | bool | Mapping[str, str] | Mapping[str, int]"]


@dataclass(frozen=True)
class Annotation:
    """What a model says of some cells.

    Parameters
    ----------
    cell_ids
        (n,) ids of the cells.
    labels
        (n, k) ids of labels, best first.
    scores
        (n, k), or None where the method gives none.
    confidence, calibrated
        (n,), NaN for a cell without a label; or None.
    embedding
        (n, dimensions) float32, or None.
    decoded
        Decoding -> labels and confidences that it chose.
    """

    cell_ids: "NDArray[np.object_]"
    labels: "NDArray[np.object_]"
    scores: "NDArray[np.float64] | None" = None
    confidence: "NDArray[np.float64] | None" = None
    calibrated: "NDArray[np.float64] | None" = None
    embedding: "NDArray[np.float32] | None" = None
    decoded: Mapping[str, Chosen] = field(default_factory=dict)

    def columns(self, names: Mapping[str, str]) -> dict[str, Column]:
        """Columns of a table without ids: first label and its numbers, then the other ranks, then decodings.

        Parameters
        ----------
        names
            Names of labels by id; a label without one is named by its id.
        """
        found: dict[str, Column] = {}
        for rank in range(self.labels.shape[1]):
            end = "" if rank == 0 else f"_{rank + 1}"
            ids = Categorical.of(self.labels[:, rank])
            found[f"label_id{end}"] = ids
            found[f"label{end}"] = ids.renamed(lambda label: names.get(label, label))
            if self.scores is not None:
                found[f"score{end}"] = self.scores[:, rank]
            if rank == 0:
                more = {"confidence": self.confidence, "confidence_calibrated": self.calibrated}
                found |= {name: values for name, values in more.items() if values is not None}
        for decoding, chosen in self.decoded.items():
            found[f"{decoding}_label_id"] = chosen.labels
            found[f"{decoding}_label"] = chosen.labels.renamed(lambda label: names.get(label, label))
            found[f"{decoding}_confidence"] = chosen.confidence
        return found


class AnnotationWriter(Protocol):
    """Writes blocks of annotated cells; the file appears when the block that uses it ends without an error."""

    def __enter__(self) -> "AnnotationWriter": ...

    def __exit__(self, *error: object) -> None: ...

    def add(self, block: Annotation) -> None:
        """Write the next cells."""

    def finish(self, provenance: Provenance) -> None:
        """Write what comes last."""


class _Files:
    """A file that is written beside its place and renamed at the end."""

    def __init__(self, path: Path, names: Mapping[str, str]) -> None:
        self._path, self._names = path, names
        self._files = ExitStack()

    def __exit__(self, *error: object) -> None:
        self._files.__exit__(*error)  # type: ignore[arg-type]

    def finish(self, provenance: Provenance) -> None:
        """Tables have no place for the provenance, which lies beside them."""


class ParquetAnnotations(_Files):
    """A Parquet table: cell_id, then the columns of Annotation."""

    def __enter__(self) -> "ParquetAnnotations":
        self._table = self._files.enter_context(ColumnWriter(self._files.enter_context(atomic(self._path))))
        return self

    def add(self, block: Annotation) -> None:
        """Write the next cells."""
        self._table.write({CELL_ID: block.cell_ids, **block.columns(self._names)})


class CsvAnnotations(_Files):
    """A CSV table: cell_id, then the columns of Annotation; numbers with six digits, empty where there is none."""

    def __enter__(self) -> "CsvAnnotations":
        path = self._files.enter_context(atomic(self._path))
        self._rows = csv.writer(self._files.enter_context(open(path, "w", encoding="utf-8", newline="")))
        self._header: list[str] = []
        return self

    def add(self, block: Annotation) -> None:
        """Write the next cells."""
        columns = block.columns(self._names)
        if not self._header:
            self._header = [CELL_ID, *columns]
            self._rows.writerow(self._header)
        self._rows.writerows(zip(block.cell_ids, *map(_as_text, columns.values()), strict=True))


def _as_text(column: Column) -> list[str]:
    if isinstance(column, Categorical):
        return [str(text) for text in column.to_text()]
    return ["" if np.isnan(value) else f"{value:.6g}" for value in column.tolist()]


class H5adAnnotations(_Files):
    """A copy of the input with columns of obs, the embedding in obsm and the provenance in uns.

    Nothing else of the file is read or changed.

    Parameters
    ----------
    path
        The file to write.
    names
        Names of labels by id.
    cells
        The input.
    n
        Its number of cells.
    prefix
        What the names of new columns begin with.
    embedding
        Key of the embedding in obsm.
    """

    def __init__(
        self, path: Path, names: Mapping[str, str], *, cells: Path, n: int, prefix: str, embedding: str
    ) -> None:
        super().__init__(path, names)
        self._cells, self._n, self._prefix, self._key = cells, n, prefix, embedding
        self._done = 0
        self._categories: dict[str, dict[str, int]] = {}

    def __enter__(self) -> "H5adAnnotations":
        import h5py

        path = self._files.enter_context(atomic(self._path))
        shutil.copyfile(self._cells, path)
        self._file = self._files.enter_context(h5py.File(path, "r+"))
        return self

    def add(self, block: Annotation) -> None:
        """Write the next cells."""
        rows = slice(self._done, self._done + len(block.cell_ids))
        for name, column in block.columns(self._names).items():
            if isinstance(column, Categorical):
                self._codes(self._prefix + name)[rows] = self._numbered(self._prefix + name, column)
            else:
                self._dataset(self._obs(), self._prefix + name, (self._n,), "f8")[rows] = column
        if block.embedding is not None:
            shape = self._n, block.embedding.shape[1]
            self._dataset(self._group("obsm"), self._key, shape, "f4")[rows] = block.embedding
        self._done = rows.stop

    def _numbered(self, name: str, column: Categorical) -> "NDArray[np.int16]":
        """Codes of a column over all categories so far."""
        known = self._categories.setdefault(name, {})
        for text in column.counts():
            known.setdefault(text, len(known))
        found: NDArray[np.int16] = column.recode(list(known)).astype(np.int16)
        return found

    def _codes(self, name: str) -> "h5py.Dataset":
        obs = self._obs()
        if name not in obs:
            group = obs.create_group(name)
            group.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False})
            self._listed(name)
        return self._dataset(obs[name], "codes", (self._n,), "i2", listed=False)

    def _dataset(
        self, group: "h5py.Group", name: str, shape: tuple[int, ...], kind: str, *, listed: bool = True
    ) -> "h5py.Dataset":
        """A dataset in the encoding of AnnData, made where it is not there."""
        if name not in group:
            made = group.create_dataset(name, shape, kind, chunks=True, compression="gzip", compression_opts=1)
            made.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
            if listed and group == self._obs():
                self._listed(name)
        return group[name]

    def _listed(self, name: str) -> None:
        """Add a name to the order of the columns of obs."""
        order = [str(column) for column in np.atleast_1d(self._obs().attrs["column-order"])]
        self._obs().attrs["column-order"] = [*order, name]

    def _obs(self) -> "h5py.Group":
        return self._file["obs"]

    def _group(self, name: str) -> "h5py.Group":
        from anndata.io import write_elem

        if name not in self._file:
            write_elem(self._file, name, {})
        return self._file[name]

    def finish(self, provenance: Provenance) -> None:
        """Write the categories, in alphabetical order, and the provenance."""
        from anndata.io import write_elem

        for name, known in self._categories.items():
            group = self._obs()[name]
            order = sorted(known)
            place = np.array([order.index(text) for text in known], dtype=np.int16)
            write_elem(group, "categories", np.array(order, dtype=object))
            for start in range(0, self._n, 1 << 20):
                rows = slice(start, start + (1 << 20))
                group["codes"][rows] = place[group["codes"][rows]]
        self._group("uns")
        if "annobench" not in self._file["uns"]:
            write_elem(self._file["uns"], "annobench", {})
        write_elem(self._file["uns/annobench"], f"{self._prefix}annotation", dict(provenance))
