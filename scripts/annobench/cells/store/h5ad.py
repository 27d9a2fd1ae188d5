"""Reading an h5ad file of any size, a few thousand cells at a time."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from annobench.core.errors import DataError, nearest

if TYPE_CHECKING:
    import h5py
    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix, spmatrix

    Column: TypeAlias = NDArray[np.generic] | pd.Categorical

MEMORY = 128 * 2**20  # bytes of values and indices that are read at a time
_WIDE = 8  # bytes of a value that holds sums


class H5adFile:
    """Counts of a slot and annotations of an h5ad file, read in parts. Use it as a context manager.

    Parameters
    ----------
    path
        The file.
    slot
        `X`, `raw` or `layers/NAME`.

    Attributes
    ----------
    n, genes
        Numbers of cells and of genes.
    var
        Table of the genes of the slot.
    columns
        Names of the columns of obs.

    Raises
    ------
    DataError
        For a file that is not a readable h5ad file, and for a slot that it does not have.
    """

    def __init__(self, path: Path, slot: str = "X") -> None:
        import h5py
        from anndata.io import read_elem

        self.path = Path(path)
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise DataError(
                f"{self.path.name}: not a readable h5ad file ({self.path.stat().st_size} bytes; {error}); it may be "
                "cut off or of another format, fetch it again"
            ) from error
        try:
            where = {"X": "X", "raw": "raw/X"}.get(slot, slot)
            if where not in self._file:
                known = ["X", "raw", *(f"layers/{name}" for name in self._file.get("layers", ()))]
                raise DataError(f"{self.path.name}: matrix.slot: there is no {slot}{nearest(slot, known)}")
            self._values = self._file[where]
            self.kind = str(self._values.attrs.get("encoding-type", "array"))
            if self.kind not in ("csr_matrix", "csc_matrix", "array"):
                raise DataError(f"{self.path.name}: {slot} is stored as {self.kind}, expected a sparse or dense matrix")
            self.n, self.genes = map(int, self._values.attrs.get("shape", getattr(self._values, "shape", (0, 0))))
            self.var: pd.DataFrame = read_elem(self._file["raw/var" if slot == "raw" else "var"])
            self._obs = self._file["obs"]
            self._index = str(self._obs.attrs["_index"])
            self.columns = [str(name) for name in self._obs.attrs["column-order"]]
        except KeyError as error:
            raise DataError(f"{self.path.name}: not a readable h5ad file: {error}; fetch it again") from error
        if self.n == 0 or self.genes == 0:
            raise DataError(f"{self.path.name}: is empty ({self.n} cells, {self.genes} genes)")

    def __enter__(self) -> "H5adFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def nbytes(self) -> int:
        """Size of the values and indices, decompressed."""
        if self.kind == "array":
            return int(self._values.size * self._values.dtype.itemsize)
        return int(self._values["data"].size * (self._values["data"].dtype.itemsize + 4))

    def chunks(self, start: int = 0, columns: list[str] | None = None) -> "Iterator[tuple[csr_matrix, pd.DataFrame]]":
        """Cells from `start` on as (CSR matrix, annotations), as many at a time as fit into a few times `MEMORY`.

        A matrix stored by columns is read once for every part.
        """
        while start < self.n:
            matrix, stop = self._part(start)
            yield matrix, self.obs(start, stop, columns)
            start = stop

    def read(self) -> "spmatrix | NDArray[np.number]":
        """The whole matrix in the form in which it is stored."""
        from anndata.io import read_elem

        return read_elem(self._values)

    def _part(self, start: int) -> "tuple[csr_matrix, int]":
        """The cells from `start` on that fit into memory, as CSR, and where they end."""
        from scipy.sparse import csr_matrix

        if self.kind == "array":
            stop = min(self.n, start + max(1, MEMORY // (self.genes * self._values.dtype.itemsize)))
            return csr_matrix(self._numbers(self._values, slice(start, stop))), stop
        if self.kind == "csc_matrix":
            return self._columns(start)
        width = self._values["data"].dtype.itemsize + self._values["indices"].dtype.itemsize
        indptr = self._values["indptr"][start : min(self.n, start + 65_536) + 1].astype(np.int64)
        fitting = int(np.searchsorted(indptr, indptr[0] + MEMORY // width, side="right") - 1)
        indptr = indptr[: max(fitting, 1) + 1]
        part = slice(int(indptr[0]), int(indptr[-1]))
        data, indices = self._numbers(self._values["data"], part), self._values["indices"][part]
        if len(data) < part.stop - part.start or _outside(indices, self.genes) or (np.diff(indptr) < 0).any():
            raise DataError(f"{self.path.name}: the matrix is damaged near cell {start}; fetch the file again")
        return csr_matrix((data, indices, indptr - indptr[0]), shape=(len(indptr) - 1, self.genes)), start + len(
            indptr
        ) - 1

    def _numbers(self, element: "h5py.Dataset", part: slice) -> "NDArray[np.number]":
        """Values in a type that sparse matrices support; nothing is lost."""
        values: NDArray[np.number] = element[part]
        return values.astype(np.float32) if values.dtype == np.float16 else values

    def _columns(self, start: int) -> "tuple[csr_matrix, int]":
        """Rows of a matrix stored by columns: a pass over the whole matrix, in pieces of whole columns."""
        from scipy.sparse import coo_matrix

        values = self._values
        width = 2 * (_WIDE + 8)  # as triplets, and as rows
        rows = max(1, int(MEMORY // width / max(values["data"].size / self.n, 1)))
        stop = min(self.n, start + rows)
        indptr = values["indptr"][:].astype(np.int64)
        if len(indptr) != self.genes + 1 or (np.diff(indptr) < 0).any() or indptr[-1] != values["data"].size:
            raise DataError(f"{self.path.name}: the matrix is damaged: its columns do not add up; fetch the file again")
        pieces: list[tuple[NDArray[np.number], NDArray[np.int32], NDArray[np.int32]]] = []
        first = 0
        while first < self.genes:
            last = max(first + 1, int(np.searchsorted(indptr, indptr[first] + MEMORY // width, side="right") - 1))
            part = slice(int(indptr[first]), int(indptr[last]))
            row = values["indices"][part]
            if len(row) < part.stop - part.start or _outside(row, self.n):
                raise DataError(f"{self.path.name}: the matrix is damaged near column {first}; fetch the file again")
            gene = np.repeat(np.arange(first, last, dtype=np.int32), np.diff(indptr[first : last + 1]))
            inside = (row >= start) & (row < stop)
            number = self._numbers(values["data"], part)[inside]  # in a type that holds sums of duplicate entries
            number = number.astype(np.float64 if number.dtype.kind == "f" else np.int64)
            pieces.append((number, (row[inside] - start).astype(np.int32), gene[inside]))
            first = last
        data, row, gene = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        del pieces
        return coo_matrix((data, (row, gene)), shape=(stop - start, self.genes)).tocsr(), stop

    def obs(self, start: int = 0, stop: int | None = None, columns: list[str] | None = None) -> "pd.DataFrame":
        """Annotations of some cells, indexed by cell id."""
        import pandas as pd

        part = slice(start, self.n if stop is None else stop)
        names = self.columns if columns is None else columns
        table = {name: _column(self._obs[name], part) for name in names}
        return pd.DataFrame(table, index=pd.Index(_texts(self._obs[self._index], part), name="cell_id"))


def _outside(indices: "NDArray[np.integer]", bound: int) -> bool:
    return len(indices) > 0 and (int(indices.min()) < 0 or int(indices.max()) >= bound)


def _column(element: "h5py.Dataset | h5py.Group", part: slice) -> "Column":
    """Some values of a column of obs, in any of the encodings of the h5ad format."""
    import h5py
    import pandas as pd

    if isinstance(element, h5py.Dataset):
        return _texts(element, part) if h5py.check_string_dtype(element.dtype) else element[part]
    if "codes" in element:
        categories = _column(element["categories"], slice(None))
        return pd.Categorical.from_codes(element["codes"][part], categories=pd.Index(categories))
    values = pd.Series(_column(element["values"], part), dtype=object)  # nullable numbers and texts
    return values.mask(element["mask"][part]).infer_objects().to_numpy()


def _texts(element: "h5py.Dataset", part: slice) -> "NDArray[np.generic]":
    return element.asstr()[part] if hasattr(element, "asstr") else element[part]
