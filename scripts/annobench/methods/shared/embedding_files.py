"""Embeddings as models write them: an array of NumPy, a key of obsm, or the columns of a table; read in parts.

Nothing else of a file is touched: of an h5ad file, neither the matrix nor a column of obs that is not asked for.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.obs_columns import read_obs
from annobench.cells.store.h5ad import opened_h5ad
from annobench.core.delimited import DELIMITERS, INDEX, column_positions
from annobench.core.errors import ConfigError, DataError, nearest
from annobench.core.npz import mapped
from annobench.core.records import lines_of, plain, read_text
from annobench.core.tables import Table, Wanted, column_names, read_table, table_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 8192  # rows that are read together
_IN_MEMORY = 1 << 30  # bytes of gathered values beyond which they lie in a file
_ID_LISTS = (".txt",)  # one id a line, without a header


@dataclass(frozen=True)
class Matrix:
    """Values of an embedding in a file, one row per cell.

    Parameters
    ----------
    where
        File, and key within it, for messages.
    shape, dtype
        Of the values.
    blocks
        Gives the rows in their order, a few thousand at a time.
    """

    where: str
    shape: tuple[int, int]
    dtype: str
    blocks: "Callable[[], Iterator[NDArray[np.generic]]]"


def read_matrix(path: Path, key: str | None, cell_id: str | None, ignore: Sequence[str]) -> Matrix:
    """Open the values of an embedding.

    Parameters
    ----------
    path
        .npy, .npz, .h5ad, or a table (see `annobench.core.tables`).
    key
        Key of obsm, or name of an array of an .npz; None where there is but one.
    cell_id
        Column of the ids of a table, or array of those of an .npz; None where they are in another file.
    ignore
        Further columns of a table that are no dimensions; nor is that of row names.

    Raises
    ------
    DataError
        For what is not a matrix of numbers, and for a key that is not there.
    """
    if path.suffix not in (".npz", ".h5ad") and key is not None:
        raise ConfigError(f"parameters.key is '{key}', but {path.name} is no .h5ad or .npz file and has no keys")
    if path.suffix == ".npy":
        return _of_array(path.name, _loaded(path))
    if path.suffix == ".npz":
        return _of_npz(path, key, cell_id)
    if path.suffix == ".h5ad":
        return _of_obsm(path, key)
    return _of_table(path, cell_id, ignore)


def read_ids(path: Path, cell_id: str, checked: str | None = None) -> Table:
    """Ids of the rows of a file, and a column of texts besides.

    Parameters
    ----------
    path
        A .txt file with one id a line, an .npz, an h5ad file or a table.
    cell_id
        Column (or array) of the ids; `index` for row names.
    checked
        Column of texts; None for none.
    """
    texts = [] if checked is None else [checked]
    if path.suffix in (*_ID_LISTS, ".npz", ".npy"):
        if texts:
            raise ConfigError(f"parameters.checked is '{checked}', but {path.name} has no columns")
        return _listed(path) if path.suffix in _ID_LISTS else _ids_of_npz(path, cell_id)
    wanted = Wanted(ids=cell_id, texts=texts)
    return read_obs(path, wanted) if path.suffix == ".h5ad" else read_table(path, wanted)


def read_texts(path: Path, column: str) -> Table:
    """A column of texts of an h5ad file or a table."""
    wanted = Wanted(texts=[column])
    return read_obs(path, wanted) if path.suffix == ".h5ad" else read_table(path, wanted)


def gathered(matrix: Matrix, rows: "NDArray[np.intp]") -> "NDArray[np.float32]":
    """Some rows, (n, dimensions) float32; a row -1 is NaN. The file is read once, in its own order.

    Beyond 1 GB they lie in a temporary file that is mapped into memory.
    """
    shape = (len(rows), matrix.shape[1])
    found: NDArray[np.float32]
    if 4 * shape[0] * shape[1] <= _IN_MEMORY:
        found = np.empty(shape, dtype=np.float32)
    else:
        with tempfile.TemporaryFile() as file:  # the mapping keeps it, and its end removes it
            found = np.memmap(file, np.float32, "w+", shape=shape)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    found[order[: np.searchsorted(ordered, 0)]] = np.nan
    start = 0
    for block in matrix.blocks():
        begin, end = np.searchsorted(ordered, [start, start + len(block)])
        if end > begin:
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is reported as such
                found[order[begin:end]] = block[ordered[begin:end] - start]
        start += len(block)
    return found


# arrays


def _loaded(path: Path) -> "NDArray[np.generic]":
    try:
        values: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _unreadable(path, error) from error
    return values


def _unreadable(path: Path, error: Exception) -> DataError:
    hint = "save numbers, not Python objects" if "ickle" in str(error) or "bject" in str(error) else "write it again"
    return DataError(f"{path.name}: is not a readable {path.suffix} file ({error}); {hint}")


def _of_array(where: str, values: "NDArray[np.generic]") -> Matrix:
    shape = _checked(where, values.shape, values.dtype)
    return Matrix(where, shape, str(values.dtype), lambda: (values[i : i + _BLOCK] for i in range(0, shape[0], _BLOCK)))


def _checked(where: str, shape: tuple[int, ...], dtype: "np.dtype[np.generic]") -> tuple[int, int]:
    """The shape of a matrix of numbers; raises DataError for anything else."""
    if dtype.kind not in "fiu":
        raise DataError(f"{where}: holds values of type {dtype}, expected numbers")
    if len(shape) != 2 or 0 in shape:
        raise DataError(f"{where}: has shape {tuple(shape)}, expected (cells, dimensions)")
    return (int(shape[0]), int(shape[1]))


def _of_npz(path: Path, key: str | None, cell_id: str | None) -> Matrix:
    with _archive(path) as names:
        others = [name for name in names if name != cell_id]
        chosen = key or (others[0] if len(others) == 1 else None)
        if chosen is None:
            raise DataError(f"{path.name}: has the arrays {', '.join(names)}; name that of the values in `key`")
        _check_name(path, chosen, names)
        return _of_array(f"{path.name}: array '{chosen}'", mapped(path, chosen))


def _ids_of_npz(path: Path, cell_id: str) -> Table:
    import pyarrow as pa

    if path.suffix == ".npy":
        ids = _loaded(path)
    else:
        with _archive(path) as names:
            _check_name(path, cell_id, names)
            ids = np.asarray(mapped(path, cell_id))
    if ids.ndim != 1 or ids.dtype.kind not in "UiuS":
        raise DataError(
            f"{path.name}: the ids have shape {ids.shape} and type {ids.dtype}, expected one text for each cell"
        )
    texts = [one.decode() if isinstance(one, bytes) else str(one) for one in ids.tolist()]
    columns = {cell_id: pa.array(texts, pa.large_string())}
    return table_of(path.name, columns, Wanted(ids=cell_id), np.arange(1, len(ids) + 1), "row")


@contextmanager
def _archive(path: Path) -> Iterator[list[str]]:
    """Names of the arrays of an .npz, within which errors of reading it are reported."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
        yield names
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _check_name(path: Path, name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise DataError(f"{path.name}: has no array '{name}'{nearest(name, names)}")


def _listed(path: Path) -> Table:
    """A text file with one id a line."""
    import pyarrow as pa

    lines = [plain(line) for line in lines_of(read_text(path))]
    while lines and not lines[-1]:
        lines.pop()
    if lines and all(len(line) > 1 and line[0] == line[-1] == '"' for line in lines):  # R writes quotes
        lines = [line[1:-1] for line in lines]
    columns = {INDEX: pa.array(lines, pa.large_string())}
    return table_of(path.name, columns, Wanted(ids=INDEX), np.arange(1, len(lines) + 1), "line")


# h5ad


def _of_obsm(path: Path, key: str | None) -> Matrix:
    import h5py
    from anndata.io import read_elem

    with opened_h5ad(path, ()) as file:
        names = sorted(file["obsm"]) if "obsm" in file else []
        if not names:
            raise DataError(f"{path.name}: has no obsm, so there is no embedding in it")
        chosen = key or (names[0] if len(names) == 1 else None)
        if chosen is None:
            raise DataError(f"{path.name}: obsm has the keys {', '.join(names)}; name one in `key`")
        if chosen not in names:
            raise DataError(f"{path.name}: obsm has no key '{chosen}'{nearest(chosen, names)}")
        where, element = f"{path.name}: obsm['{chosen}']", file["obsm"][chosen]
        if isinstance(element, h5py.Group):  # a sparse matrix, or a table
            values = read_elem(element)
            return _of_array(where, values.toarray() if hasattr(values, "toarray") else values.to_numpy())
        shape, dtype = _checked(where, element.shape, element.dtype), str(element.dtype)

    def blocks() -> "Iterator[NDArray[np.generic]]":
        with opened_h5ad(path, ()) as file:
            values = file["obsm"][chosen]
            yield from (values[start : start + _BLOCK] for start in range(0, shape[0], _BLOCK))

    return Matrix(where, shape, dtype, blocks)


# tables


def _of_table(path: Path, cell_id: str | None, ignore: Sequence[str]) -> Matrix:
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if kind not in (*DELIMITERS, ".parquet"):
        known = ", ".join([".npy", ".npz", ".h5ad", ".parquet", *DELIMITERS])
        raise DataError(f"{path.name}: ends in '{path.suffix}', expected one of {known} (text also with .gz)")
    names = column_names(path)
    others = [*([] if cell_id is None else [cell_id]), *ignore]
    column_positions(path.name, names, others)
    dimensions = [name for name in names if name not in (INDEX, *others)]
    if not dimensions:
        raise DataError(f"{path.name}: has no columns but {', '.join(names)}; expected one for each dimension")
    if kind == ".parquet":
        return _of_parquet(path, dimensions)
    try:
        table = read_table(path, Wanted(numbers=dimensions))
    except DataError as error:
        raise DataError(f"{error}; columns that are no dimensions are named in `ignore`") from error
    return _of_array(path.name, np.column_stack([table.numbers[name].astype(np.float32) for name in dimensions]))


def _of_parquet(path: Path, dimensions: Sequence[str]) -> Matrix:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        kinds = {name: file.schema_arrow.field(name).type for name in dimensions}
        odd = next((name for name, kind in kinds.items() if not _is_number(str(kind))), None)
        if odd is not None:
            raise DataError(
                f"{path.name}: column '{odd}' holds {kinds[odd]}, expected numbers; columns that are no dimensions are "
                "named in `ignore`"
            )
        cells = file.metadata.num_rows

    def blocks() -> "Iterator[NDArray[np.generic]]":
        with pq.ParquetFile(path) as file:
            for part in file.iter_batches(_BLOCK, columns=list(dimensions), use_threads=False):
                columns = [part.column(name).to_numpy(zero_copy_only=False) for name in dimensions]
                yield np.column_stack([column.astype(np.float32) for column in columns])

    return Matrix(path.name, (cells, len(dimensions)), str(next(iter(kinds.values()))), blocks)


def _is_number(kind: str) -> bool:
    return kind in ("float", "double", "halffloat") or kind.startswith(("int", "uint"))
