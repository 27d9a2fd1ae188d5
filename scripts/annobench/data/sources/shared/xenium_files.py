"""Reading the files of a Xenium bundle: three forms of the matrix, two of the table of cells, JSON.

Errors of libraries on damaged files become a DataError that names the file.
"""

import csv
import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from annobench.core.errors import DataError
from annobench.core.files import disk_full, is_disk_full

if TYPE_CHECKING:
    import h5py
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix, spmatrix

Json: TypeAlias = dict[str, Any]  # a file of 10x, whose form is checked where it is used
_CONTROLS = ("control_probe", "genomic_control", "control_codeword", "unassigned_codeword", "deprecated_codeword")
_COUNTS = tuple(f"{kind}_counts" for kind in ("transcript", *_CONTROLS, "total"))
_NUMBERS = (*_COUNTS, "cell_area", "nucleus_area", "nucleus_count")  # areas in square micrometres


@dataclass(frozen=True)
class Matrix:
    """Counts, float32 (cells, features), and their rows and columns; `file` is named in errors."""

    counts: "csr_matrix"
    cells: list[str]
    ids: list[str]
    names: list[str]
    types: list[str]
    file: str


class _Stored(NamedTuple):
    """A matrix as it is stored: features by cells; types are empty text where the file has none."""

    values: "spmatrix"
    cells: list[str]
    ids: list[str]
    names: list[str]
    types: list[str]


@contextmanager
def readable(path: Path, what: str) -> Iterator[None]:
    """Turn errors of libraries on a damaged file into a DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{path.name}: does not fit into memory; give the job more in resources.memory_mb") from error
    except Exception as error:
        if is_disk_full(error):
            raise disk_full(path) from error
        size = f"{path.stat().st_size} bytes; " if path.is_file() else ""
        raise DataError(
            f"{path.name}: not a readable {what} ({size}{type(error).__name__}: {error}); it may be cut off, or not as "
            "10x writes it: copy or fetch the bundle again"
        ) from error


def read_matrix(path: Path) -> Matrix:
    """Read a form of the matrix by its name: .h5, .zarr.zip or .zarr, else a folder with matrix.mtx.gz."""
    from scipy.sparse import csr_matrix

    read = _read_h5 if path.suffix == ".h5" else _read_zarr if ".zarr" in path.suffixes else _read_mtx
    with readable(path, "10x matrix"):
        stored, cells, ids, names, types = read(path)
        lengths = {"ids": len(ids), "names": len(names), "types": len(types)}
        if set(lengths.values()) != {stored.shape[0]} or len(cells) != stored.shape[1]:
            raise DataError(
                f"{path.name}: the matrix has {stored.shape[0]} features and {stored.shape[1]} cells, but there are "
                f"{', '.join(f'{n} {what}' for what, n in lengths.items())} of features and {len(cells)} cell ids; "
                "copy the bundle again"
            )
        if stored.format != "coo":  # COO is checked when it is made
            stored.check_format(full_check=True)
        counts = csr_matrix(stored.T, dtype="float32")
        counts.sum_duplicates()
        if counts.nnz != stored.nnz:
            raise DataError(
                f"{path.name}: {stored.nnz - counts.nnz} duplicate entries for the same cell and feature; the file "
                "is damaged, copy the bundle again"
            )
        counts.eliminate_zeros()
    _refuse_repeated(cells, path.name)
    return Matrix(counts, cells, ids, names, types, path.name)


def _read_h5(path: Path) -> _Stored:
    """The matrix from HDF5.

    scanpy.read_10x_h5 refuses files without types and names that are not ASCII.
    """
    import h5py
    from scipy.sparse import csc_matrix

    with h5py.File(path) as file:
        group = file["matrix"]
        features = group["features"]

        def text(part: "h5py.Dataset") -> list[str]:
            return [value.decode() if isinstance(value, bytes) else str(value) for value in part[:]]

        ids = text(features["id"])
        types = text(features["feature_type"]) if "feature_type" in features else [""] * len(ids)
        parts = [group[name][:] for name in ("data", "indices", "indptr")]
        counts = csc_matrix(tuple(parts), shape=tuple(int(n) for n in group["shape"][:]))
        return _Stored(counts, text(group["barcodes"]), ids, text(features["name"]), types)


def _read_zarr(path: Path) -> _Stored:
    """The matrix from Zarr, whose rows are features; a zip or a folder."""
    import zarr
    from scipy.sparse import csr_matrix

    store = zarr.storage.ZipStore(path, mode="r") if path.is_file() else zarr.storage.LocalStore(path, read_only=True)
    try:
        group: Any = zarr.open_group(store, mode="r")["cell_features"]
        about = dict(group.attrs)
        data, indices, indptr = (group[name][:] for name in ("data", "indices", "indptr"))
        cells = cell_names(group["cell_id"][:])
    finally:
        store.close()
    if (data == 0).any():
        # Zarr reads a missing chunk as zeros
        raise DataError(
            f"{path.name}: {int((data == 0).sum())} stored counts are zero, which a sparse matrix does not hold; a "
            "part of it is missing, copy the bundle again"
        )
    ids = [str(value) for value in about["feature_ids"]]
    names = [str(value) for value in about["feature_keys"]]
    types = [str(value) for value in about.get("feature_types", [""] * len(ids))]
    indptr = indptr.astype("int64")
    counts = csr_matrix((data, indices.astype("int64"), indptr), shape=(len(indptr) - 1, len(cells)))
    return _Stored(counts, cells, ids, names, types)


def cell_names(codes: "NDArray[np.integer]") -> list[str]:
    """Cell ids as text: (n, 2) numbers become eight letters a to p, one per hexadecimal digit, and `-<suffix>`.

    The first bundles numbered their cells: (n,) numbers stay numbers.
    """
    import numpy as np

    if codes.ndim == 1 or codes.shape[1] == 1:
        return [str(int(code)) for code in codes.ravel()]
    digits = (codes[:, :1].astype("uint32") >> np.arange(28, -1, -4, dtype="uint32")) & 15
    letters = (digits + ord("a")).astype("uint8")
    return [f"{bytes(word).decode()}-{int(suffix)}" for word, suffix in zip(letters, codes[:, 1], strict=True)]


def _read_mtx(folder: Path) -> _Stored:
    """The matrix from Matrix Market.

    scanpy.read_10x_mtx takes a gene called NA for a missing value and needs a column of types.
    """
    from scipy.io import mmread

    def rows(name: str) -> list[list[str]]:
        with gzip.open(folder / name, "rt", encoding="utf-8", newline="") as handle:
            return [row for row in csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE) if row]

    features = rows("features.tsv.gz")
    types = [row[2] if len(row) > 2 else "" for row in features]
    cells = [row[0] for row in rows("barcodes.tsv.gz")]
    values = mmread(folder / "matrix.mtx.gz")
    return _Stored(values, cells, [row[0] for row in features], [row[1] for row in features], types)


def read_cells(path: Path) -> "pd.DataFrame":
    """The table of cells, indexed by cell id (text): x_centroid, y_centroid and the columns that are kept."""
    import numpy as np
    import pandas as pd

    name = path.name
    with readable(path, "table of cells"):
        if name.endswith(".parquet"):
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype={"cell_id": str}, float_precision="round_trip")
    missing = [column for column in ("cell_id", "x_centroid", "y_centroid") if column not in table]
    if missing:
        raise DataError(
            f"{name}: there is no column {', '.join(missing)} (columns: {', '.join(map(str, table.columns))}); "
            "expected the table of cells as 10x writes it"
        )
    # older versions write the ids as bytes or as numbers
    ids = [value.decode() if isinstance(value, bytes) else str(value) for value in table["cell_id"]]
    _refuse_repeated(ids, name)
    kept = pd.DataFrame(index=pd.Index(ids, name="cell_id"))
    with readable(path, "table of cells"):
        for column in ("x_centroid", "y_centroid", *_NUMBERS):
            if column in table:
                values = pd.to_numeric(table[column]).to_numpy(dtype=float)
                whole = column.endswith(("_counts", "_count")) and (values == np.floor(values)).all()
                kept[column] = values.astype("int64") if whole else values
    if "segmentation_method" in table:
        kept["segmentation_method"] = list(table["segmentation_method"].fillna("").astype(str))
    for column in ("x_centroid", "y_centroid"):
        bad = ~np.isfinite(kept[column].to_numpy())
        if bad.any():
            raise DataError(
                f"{name}: {column} is not a number for {int(bad.sum())} cells (such as {kept.index[bad][0]}); "
                "every cell needs a place: repair the table or copy the bundle again"
            )
    return kept


def read_json(path: Path) -> Json:
    """Read a JSON file of the bundle that holds one object; raises DataError."""
    with readable(path, "JSON file"):
        document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise DataError(f"{path.name}: expected a JSON object, found {type(document).__name__}; copy the bundle again")
    return document


def _refuse_repeated(ids: list[str], file: str) -> None:
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(cell for cell in ids if cell in seen or seen.add(cell))  # type: ignore[func-returns-value]
        raise DataError(
            f"{file}: {len(ids) - len(set(ids))} duplicate cell ids (such as {twice}); cells are matched by id, copy "
            "the bundle again"
        )
