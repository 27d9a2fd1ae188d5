"""The embedding contract, and embedding.npz: a float32 matrix with the id and the role of every cell.

Every embedding is checked once, while it is written: what `Written` says of it goes into the run record.
"""

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from annobench.core.errors import PredictionError
from annobench.core.files import atomic
from annobench.core.npz import NpzWriter, mapped
from annobench.fit.embedding_checks import Geometry, GeometryOfParts
from annobench.fit.predictions import row_order

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Embedding:
    """Where a method places cells in a space of its own.

    Parameters
    ----------
    cell_ids
        (n,) text, each cell once.
    values
        (n, dimensions) numbers, written as float32.
    """

    cell_ids: "NDArray[np.object_]"
    values: "NDArray[np.floating]"

    def in_order(self, cell_ids: "NDArray[np.object_]") -> "NDArray[np.float32]":
        """Validate the embedding and return its values in the order of `cell_ids`.

        Parameters
        ----------
        cell_ids
            (n,) ids of the cells that were to be embedded.

        Returns
        -------
        (n, dimensions) float32.

        Raises
        ------
        PredictionError
            Where a cell is missing, unknown or embedded twice, or a value is not a finite number.
        """
        n = len(self.cell_ids)
        values = np.asarray(self.values)
        if values.ndim != 2 or len(values) != n or values.shape[1] < 1:
            raise PredictionError(f"the embedding has shape {values.shape}, expected ({n}, dimensions)")
        order = row_order(cell_ids, np.asarray(self.cell_ids, dtype=object), "embedding")
        ordered: NDArray[np.float32] = (values if order is None else values[order]).astype(np.float32)
        if bad := int((~np.isfinite(ordered)).sum()):
            raise PredictionError(f"the embedding holds {bad} NaN or infinite values")
        return ordered


class Written(NamedTuple):
    """An embedding that was written, and found to be one.

    Parameters
    ----------
    geometry
        Of all its cells.
    sha256
        Of its values, float32 in the order of the cells.
    """

    geometry: Geometry
    sha256: str


class EmbeddingWriter:
    """Writes embedding.npz part after part, uncompressed, so that its matrix can be mapped into memory.

    Parameters
    ----------
    path
        The file. It appears when the block that uses the writer ends without an error.
    cell_ids
        Cells of every role, in the order in which they come: role -> (n,) ids.

    Raises
    ------
    PredictionError
        Where parts break the contract (see Embedding), a cell is missing, or all cells lie at one point, or would but
        for rounding.

    Attributes
    ----------
    written
        What was found; after the block.
    """

    written: Written

    def __init__(self, path: Path, cell_ids: "dict[str, NDArray[np.object_]]") -> None:
        self._path = path
        self._ids = np.concatenate(list(cell_ids.values()))
        self._roles = np.repeat(np.array(list(cell_ids)), [len(ids) for ids in cell_ids.values()])
        self._done = 0
        self._geometry: GeometryOfParts | None = None
        self._dimensions = 0
        self._digest = hashlib.sha256()
        self._files = ExitStack()
        self._matrix: IO[bytes] | None = None

    def add(self, part: Embedding) -> None:
        """Write the next cells, which may come in any order among themselves."""
        end = self._done + len(part.cell_ids)
        values = part.in_order(self._ids[self._done : end])
        if len(values) == 0:
            return
        if self._geometry is None or self._matrix is None:
            self._dimensions = values.shape[1]
            self._geometry, self._matrix = GeometryOfParts(self._dimensions), self._open(self._dimensions)
        if values.shape[1] != self._dimensions:
            raise PredictionError(
                f"parts of the embedding have {self._dimensions} and {values.shape[1]} dimensions; expected the same"
            )
        self._geometry.add(values)
        content = np.ascontiguousarray(values).tobytes()
        self._digest.update(content)
        self._matrix.write(content)
        self._done = end

    def _open(self, dimensions: int) -> IO[bytes]:
        archive = self._files.enter_context(NpzWriter(self._files.enter_context(atomic(self._path))))
        archive.add("roles", self._roles)
        archive.add("cell_ids", self._ids.astype(str))
        return self._files.enter_context(archive.open("embedding", np.float32, (len(self._ids), dimensions)))

    def __enter__(self) -> "EmbeddingWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._files.__exit__(kind, error, trace)
            return
        with self._files:
            if self._done < len(self._ids):
                raise PredictionError(f"an embedding of {self._done} cells, expected {len(self._ids)}")
            geometry = (self._geometry or GeometryOfParts(0)).result()
            if geometry.is_constant:
                raise PredictionError(
                    "the embedding is the same for every cell"
                    if geometry.largest_deviation == 0
                    else "the embedding is the same for every cell but for rounding: no dimension has a standard "
                    f"deviation above {geometry.largest_deviation:.1g}, beside values of {geometry.largest_value:.2g}"
                )
            self.written = Written(geometry, self._digest.hexdigest())


def write_embedding(path: Path, cell_ids: "dict[str, NDArray[np.object_]]", parts: Iterable[Embedding]) -> Written:
    """Write embedding.npz of parts that come in the order of `cell_ids` (role -> ids); returns what was found."""
    with EmbeddingWriter(path, cell_ids) as writer:
        for part in parts:
            writer.add(part)
    return writer.written


class StoredEmbedding(NamedTuple):
    """What embedding.npz holds.

    Parameters
    ----------
    values
        (n, dimensions) float32, mapped into memory.
    cell_ids
        (n,) text.
    roles
        (n,) text: `train`, `val` or `test`.
    """

    values: "NDArray[np.float32]"
    cell_ids: "NDArray[np.object_]"
    roles: "NDArray[np.object_]"

    def of(self, role: str) -> "StoredEmbedding":
        """Cells of one role."""
        rows = np.flatnonzero(self.roles == role)
        return StoredEmbedding(self.values[rows], self.cell_ids[rows], self.roles[rows])


def read_embedding(path: str | Path) -> StoredEmbedding:
    """Open embedding.npz; the matrix is mapped into memory."""
    ids, roles = (mapped(path, name).astype(object) for name in ("cell_ids", "roles"))
    return StoredEmbedding(mapped(path, "embedding"), ids, roles)
