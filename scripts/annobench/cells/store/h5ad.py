"""Reading an h5ad file of any size, whole or a few thousand cells at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.elements import Frame, text_of
from annobench.cells.not_h5ad import not_h5ad
from annobench.core.errors import DataError, nearest

if TYPE_CHECKING:
    import h5py
    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix, spmatrix

MEMORY = 128 * 2**20  # bytes of values and indices that are read at a time
_WIDE = 8  # bytes of a value that holds sums
_RAW = ("raw/X", "raw.X")  # in the file; the second in files of anndata before 0.7
_FORMATS = {"csr": "csr_matrix", "csc": "csc_matrix", "": "array"}  # attribute h5sparse_format -> encoding-type


class H5adFile:
    """Values of a slot and annotations of an h5ad file, read in parts. Use it as a context manager.

    Only what is asked for is read: an element of uns, of obsm, or a column that nobody needs may be unreadable.

    Parameters
    ----------
    path
        The file.
    slot
        `X`, `raw` or `layers/NAME`; None where no value is read, `n` is then that of obs and there are no genes.

    Attributes
    ----------
    n, genes
        Numbers of cells and of genes.
    var
        Table of the genes of the slot, without columns of unknown encodings.
    columns
        Names of the columns of obs.

    Raises
    ------
    DataError
        For a file that is not a readable h5ad file, and for a slot that it does not have.
    """

    def __init__(self, path: Path, slot: str | None = "X") -> None:
        self.path = Path(path)
        self._file = opened_h5ad(self.path)
        try:
            self._open(slot)
        except BaseException:
            self._file.close()
            raise

    def _open(self, slot: str | None) -> None:
        import pandas as pd

        name = self.path.name
        self._obs = Frame(self._file["obs"], f"{name}: obs", self._file.get("uns"))
        self.columns = self._obs.columns
        self.n, self.genes, self.kind = self._obs.n, 0, "none"
        self.var = pd.DataFrame()
        if slot is not None:
            where = _place(self._file, slot)
            known = slots_of(self._file)
            if slot not in known or where is None:
                raise DataError(
                    f"{name}: matrix.slot: there is no matrix {slot}"
                    f"{nearest(slot, known) if known else '; the file holds no matrix at all'}"
                )
            self._values = self._file[where]
            self.kind = _kind_of(self._values)
            if self.kind not in _FORMATS.values():
                raise DataError(f"{name}: {slot} is stored as {self.kind}, expected a sparse or dense matrix")
            genes = self._file[where.replace("X", "var") if where in _RAW else "var"]
            var = Frame(genes, f"{name}: {'raw.var' if slot == 'raw' else 'var'}", self._file.get("uns"))
            self.var = var.table(columns=var.readable())
            self.genes = var.n
            self._check_shape(slot)
        if self.n == 0 or (slot is not None and self.genes == 0):
            raise DataError(f"{name}: is empty ({self.n} cells, {self.genes} genes)")

    def _check_shape(self, slot: str) -> None:
        """Raise DataError unless the matrix has a row for every cell and a column for every gene."""
        attributes = self._values.attrs
        stated = attributes.get("shape", attributes.get("h5sparse_shape", getattr(self._values, "shape", None)))
        shape = (self.n, self.genes) if stated is None else tuple(int(size) for size in np.ravel(stated))
        if shape != (self.n, self.genes):
            raise DataError(
                f"{self.path.name}: {slot} has the shape {' x '.join(map(str, shape))}, but there are {self.n} cells "
                f"in obs and {self.genes} genes in var"
                + ("; it is turned round, write it again" if shape == (self.genes, self.n) else "; write it again")
            )
        kind = self._dtype.kind
        if kind not in "biuf":
            raise DataError(f"{self.path.name}: {slot} holds values of type {self._dtype}, expected numbers")

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
    def _dtype(self) -> "np.dtype[np.generic]":
        return (self._values if self.kind == "array" else self._values["data"]).dtype

    @property
    def nbytes(self) -> int:
        """Size of the values and indices, decompressed."""
        if self.kind == "none":
            return 0
        if self.kind == "array":
            return int(self._values.size * self._dtype.itemsize)
        return int(self._values["data"].size * (self._dtype.itemsize + 4))

    @property
    def slots(self) -> list[str]:
        """Slots of the file that hold a matrix."""
        return slots_of(self._file)

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
        from scipy.sparse import csc_matrix, csr_matrix

        if self.kind == "array":
            return self._numbers(self._values, slice(None))
        by_rows = self.kind == "csr_matrix"
        data, indices = self._numbers(self._values["data"], slice(None)), self._positions("indices")
        indptr = self._positions("indptr").astype(np.int64)
        ends, bound = (self.n, self.genes) if by_rows else (self.genes, self.n)
        if (
            len(indptr) != ends + 1
            or (np.diff(indptr) < 0).any()
            or not len(data) == len(indices) >= indptr[-1]
            or _outside(indices, bound)
        ):
            raise DataError(f"{self.path.name}: the matrix is damaged; fetch the file again")
        # without a copy in a type that everything works with; files may hold positions of two types
        made: spmatrix = (csr_matrix if by_rows else csc_matrix)((data, indices, indptr), shape=(self.n, self.genes))
        return made

    def _positions(self, name: str, part: slice = slice(None)) -> "NDArray[np.integer]":
        """Positions; R writes them as floating point numbers at times."""
        found: NDArray[np.generic] = self._values[name][part]
        kind = np.int32 if found.dtype.itemsize <= 4 and found.dtype.kind == "i" else np.int64
        return found.astype(kind)

    def _part(self, start: int) -> "tuple[csr_matrix, int]":
        """The cells from `start` on that fit into memory, as CSR, and where they end."""
        from scipy.sparse import csr_matrix

        if self.kind == "array":
            stop = min(self.n, start + max(1, MEMORY // (self.genes * self._dtype.itemsize)))
            return csr_matrix(self._numbers(self._values, slice(start, stop))), stop
        if self.kind == "csc_matrix":
            return self._columns(start)
        width = self._dtype.itemsize + self._values["indices"].dtype.itemsize
        indptr = self._positions("indptr", slice(start, min(self.n, start + 65_536) + 1)).astype(np.int64)
        if len(indptr) < 2:
            raise DataError(f"{self.path.name}: the matrix is damaged near cell {start}; fetch the file again")
        fitting = int(np.searchsorted(indptr, indptr[0] + MEMORY // width, side="right") - 1)
        indptr = indptr[: max(fitting, 1) + 1]
        part = slice(int(indptr[0]), int(indptr[-1]))
        data, indices = self._numbers(self._values["data"], part), self._positions("indices", part)
        if len(data) < part.stop - part.start or _outside(indices, self.genes) or (np.diff(indptr) < 0).any():
            raise DataError(f"{self.path.name}: the matrix is damaged near cell {start}; fetch the file again")
        return csr_matrix((data, indices, indptr - indptr[0]), shape=(len(indptr) - 1, self.genes)), start + len(
            indptr
        ) - 1

    def _numbers(self, element: "h5py.Dataset", part: slice) -> "NDArray[np.number]":
        """Values in a type that sparse matrices support, in the order of bytes of this machine."""
        values: NDArray[np.number] = element[part]
        if values.dtype == np.float16:
            return values.astype(np.float32)
        if values.dtype.kind == "f" and values.dtype.itemsize > 8:
            return values.astype(np.float64)
        return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))

    def _columns(self, start: int) -> "tuple[csr_matrix, int]":
        """Rows of a matrix stored by columns: a pass over the whole matrix, in pieces of whole columns."""
        from scipy.sparse import coo_matrix

        values = self._values
        width = 2 * (_WIDE + 8)  # as triplets, and as rows
        rows = max(1, int(MEMORY // width / max(values["data"].size / self.n, 1)))
        stop = min(self.n, start + rows)
        indptr = self._positions("indptr").astype(np.int64)
        if len(indptr) != self.genes + 1 or (np.diff(indptr) < 0).any() or indptr[-1] != values["data"].size:
            raise DataError(f"{self.path.name}: the matrix is damaged: its columns do not add up; fetch the file again")
        pieces: list[tuple[NDArray[np.number], NDArray[np.int32], NDArray[np.int32]]] = []
        first = 0
        while first < self.genes:
            last = max(first + 1, int(np.searchsorted(indptr, indptr[first] + MEMORY // width, side="right") - 1))
            part = slice(int(indptr[first]), int(indptr[last]))
            row = self._positions("indices", part)
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
        table = self._obs.table(slice(start, self.n if stop is None else stop), columns)
        table.index.name = "cell_id"
        return table

    def coordinates(self) -> "h5py.Dataset | NDArray[np.floating] | None":
        """Coordinates of the cells (cells, dimensions), to be read in parts; None where the file has none.

        Raises DataError for what does not hold numbers for every cell.
        """
        import h5py

        element = self._file.get("obsm/spatial") if isinstance(self._file.get("obsm"), h5py.Group) else None
        if element is None:
            return None
        where = f"{self.path.name}: obsm['spatial']"
        if isinstance(element, h5py.Group):
            frame = Frame(element, where)
            numbers = [np.asarray(frame.column(name)) for name in frame.columns]
            if any(of.dtype.kind not in "biuf" for of in numbers):
                raise DataError(f"{where}: has columns that hold no numbers")
            return np.column_stack(numbers).astype(np.float64)
        kind = text_of(element.attrs.get("encoding-type", ""))
        fits = element.ndim == 2 and len(element) == self.n and element.dtype.kind in "biuf"
        if kind not in ("", "array") or not fits:
            raise DataError(f"{where}: is no array of numbers with a row for every cell")
        return element


def opened_h5ad(path: Path, needed: Sequence[str] = ("obs", "var")) -> "h5py.File":
    """An h5ad file with the needed parts; raises DataError for anything else, which says what it is and what to do."""
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise not_h5ad(path, error) from error
    if all(part in file for part in needed):
        return file
    file.close()
    raise not_h5ad(path)


def slots_of(file: "h5py.File") -> list[str]:
    """Slots of an h5ad file that hold a matrix: `X`, `raw` and `layers/NAME`."""
    import h5py

    layers = file.get("layers")
    names = [f"layers/{name}" for name in layers] if isinstance(layers, h5py.Group) else []
    return [slot for slot in ("X", "raw", *names) if _place(file, slot) is not None]


def _place(file: "h5py.File", slot: str) -> str | None:
    """Where the matrix of a slot lies; None where there is none."""
    for where in _RAW if slot == "raw" else (slot,):
        element = file.get(where)
        if element is None:
            continue
        empty = getattr(element, "shape", ()) in ((), None) if hasattr(element, "dtype") else not len(element)
        if text_of(element.attrs.get("encoding-type", "")) != "null" and not empty:
            return where
    return None


def _kind_of(element: "h5py.Dataset | h5py.Group") -> str:
    """`csr_matrix`, `csc_matrix` or `array`; anything else by the name that the file gives it."""
    kind = text_of(element.attrs.get("encoding-type", ""))
    if kind:
        return kind
    stored = text_of(element.attrs.get("h5sparse_format", ""))
    if not stored and not hasattr(element, "dtype"):
        return "a group of unknown encoding"
    return _FORMATS.get(stored, stored)


def _outside(indices: "NDArray[np.integer]", bound: int) -> bool:
    return len(indices) > 0 and (int(indices.min()) < 0 or int(indices.max()) >= bound)
