"""Counts in other files than h5ad, converted once: Cell Ranger, loom, Zarr, and tables of counts.

What is read becomes an h5ad with the names that the source has; nothing is chosen or dropped here but what is counted
in the step of the record.
"""

import csv
import gzip
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from annobench.cells.genes import strip_version
from annobench.cells.not_h5ad import not_h5ad
from annobench.core.errors import AnnobenchError, DataError
from annobench.core.files import atomic, sha256_of
from annobench.core.progress import Report
from annobench.data.spec import Step

if TYPE_CHECKING:
    import h5py
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

H5AD = "h5ad"
_ROWS = 1000  # lines of a table of counts that are read at a time
_GENE_NAMES = ("Gene", "gene", "var_names", "gene_name", "gene_names", "GeneName", "Accession")  # attributes of loom
_CELL_NAMES = ("CellID", "cell_id", "obs_names", "cell_names", "barcode", "barcodes")


def converted(
    path: Path, target: Path, format_: str, *, genes: str = "rows", observations: Path | None = None, report: Report
) -> Step:
    """Write the cells of a file as h5ad; returns the step for the record.

    Parameters
    ----------
    path
        A file; a folder for `tenx_mtx` and `zarr`.
    target
        Where the h5ad file goes.
    format_
        `h5ad_gz`, `tenx_h5`, `tenx_mtx`, `loom`, `zarr`, `csv` or `tsv`.
    genes
        Of a table of counts: whether its rows or its columns are genes.
    observations
        A table (CSV, TSV, Parquet) of the cells, whose first column holds their ids.
    report
        Says one line of progress.

    Raises
    ------
    DataError
        For what is not of this format, and a table that lists none of the cells.
    """
    step: Step = {"step": "convert", "format": format_, "files": _hashes(path)}
    if format_ == "h5ad_gz":
        _unpack(path, target)
        return step
    readers: dict[str, Callable[[], AnnData]] = {
        "tenx_h5": lambda: _tenx_h5(path),
        "tenx_mtx": lambda: _tenx_mtx(path),
        "loom": lambda: _loom(path),
        "zarr": lambda: _zarr(path),
        "csv": lambda: _table(path, ",", genes),
        "tsv": lambda: _table(path, "\t", genes),
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names of genes that occur twice are resolved when the data is prepared
            cells = readers[format_]()
    except (AnnobenchError, MemoryError):
        raise
    except Exception as error:  # whatever the readers raise on other files
        raise _not_of_format(path, format_, error) from error
    if not cells.n_obs or not cells.n_vars:
        raise DataError(f"{path.name}: is empty ({cells.n_obs} cells, {cells.n_vars} genes)")
    if observations is not None:
        step["observations"] = _observed(cells, observations, report)
    cells.obs_names, cells.var_names = cells.obs_names.astype(str), cells.var_names.astype(str)
    with atomic(target) as file:
        cells.write_h5ad(file)
    report(f"{path.name} ({format_}): {cells.n_obs:,} cells, {cells.n_vars:,} features written to {target.name}")
    return {**step, "cells": cells.n_obs, "features": cells.n_vars}


def files_of(path: Path) -> list[Path]:
    """The files that a source is read from: itself, or all files of a folder."""
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _hashes(path: Path) -> dict[str, str]:
    root = path if path.is_dir() else path.parent
    return {str(file.relative_to(root)): sha256_of(file) for file in files_of(path)}


def _not_of_format(path: Path, format_: str, error: Exception) -> DataError:
    what = str(not_h5ad(path)).split(": it ", 1)[-1] if path.exists() else "does not exist"
    return DataError(
        f"{path.name}: source.format says {format_}, but it cannot be read as such ({type(error).__name__}: {error}); "
        f"this file {what}"
    )


def _unpack(path: Path, target: Path) -> None:
    try:
        with gzip.open(path) as packed, atomic(target) as file, open(file, "wb") as handle:
            shutil.copyfileobj(packed, handle)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path.name}: is no whole gzip file ({error}); fetch it again") from error


def _tenx_h5(path: Path) -> "AnnData":
    import scanpy

    return scanpy.read_10x_h5(path, gex_only=False)


def _zarr(path: Path) -> "AnnData":
    import anndata

    return anndata.io.read_zarr(path)


# a matrix of Cell Ranger, STARsolo or alevin


def _tenx_mtx(path: Path) -> "AnnData":
    import pandas as pd
    from anndata import AnnData
    from scipy.io import mmread
    from scipy.sparse import csr_matrix

    matrix, barcodes, features = _parts_of(path)
    cells, genes = _names(barcodes)[0].tolist(), _names(features)
    values = mmread(matrix)
    if values.shape == (len(cells), len(genes)) and len(cells) != len(genes):
        counts = csr_matrix(values)
    elif values.shape == (len(genes), len(cells)):
        counts = csr_matrix(values.T)
    else:
        raise DataError(
            f"{matrix.name}: is a matrix of {values.shape[0]} x {values.shape[1]}, but {features.name} lists "
            f"{len(genes)} features and {barcodes.name} {len(cells)} cells; the files do not belong together"
        )
    var = pd.DataFrame({"gene_ids": genes[0].tolist()}, index=genes[min(1, genes.shape[1] - 1)].tolist())
    if genes.shape[1] > 2:
        var["feature_types"] = genes[2].tolist()
    return AnnData(counts.astype("float32"), obs=pd.DataFrame(index=cells), var=var)


def _parts_of(path: Path) -> tuple[Path, Path, Path]:
    """The matrix of a folder, and the names of its cells and features, which may have a prefix."""
    found = [path] if path.is_file() else sorted(path.glob("*matrix.mtx*")) or sorted(path.glob("*/*matrix.mtx*"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:5])
        raise DataError(
            f"{path.name}: has {len(found)} files matrix.mtx{f' ({names})' if found else ''}, expected one; name "
            "the one to read in source.path"
        )
    matrix = found[0]
    prefix = matrix.name.split("matrix.mtx")[0]

    def beside(*names: str) -> Path:
        for name in names:
            for ending in (".gz", ""):
                if (file := matrix.parent / f"{prefix}{name}.tsv{ending}").is_file():
                    return file
        raise DataError(f"{matrix.name}: there is no {prefix}{names[0]}.tsv(.gz) beside it, which names its rows")

    return matrix, beside("barcodes", "cells"), beside("features", "genes")


def _names(path: Path) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE)


# loom


def _loom(path: Path) -> "AnnData":
    import h5py
    import numpy as np
    from anndata import AnnData
    from scipy.sparse import csr_matrix, vstack

    with h5py.File(path, "r") as file:
        values = file["matrix"]  # features by cells
        var, obs = _attributes(file["row_attrs"], _GENE_NAMES), _attributes(file["col_attrs"], _CELL_NAMES)
        width = max(1, (1 << 26) // (8 * values.shape[0]))
        parts = [
            csr_matrix(np.asarray(values[:, first : first + width], dtype="float32").T)
            for first in range(0, values.shape[1], width)
        ]
    return AnnData(vstack(parts, format="csr"), obs=obs, var=var)


def _attributes(group: "h5py.Group", names: Sequence[str]) -> "pd.DataFrame":
    """Attributes of loom with one value per row (or column) of the matrix, indexed by the one with their names."""
    import pandas as pd

    from annobench.cells.elements import values

    table = pd.DataFrame({name: values(part, where=name) for name, part in group.items() if part.ndim == 1})
    index = next((name for name in names if name in table), None)
    if index is None:
        raise DataError(
            f"{group.file.filename.rsplit('/', 1)[-1]}: {group.name} has no names (one of {', '.join(names)}), but "
            f"{', '.join(table) or 'nothing'}"
        )
    return table.set_index(index)


# tables of counts


def _table(path: Path, delimiter: str, genes: str) -> "AnnData":
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix, vstack

    with _text(path) as handle:
        lines = csv.reader(handle, delimiter=delimiter)
        header, first = next(lines, []), next(lines, [])
    if len(first) < 2 or len(header) not in (len(first), len(first) - 1):
        raise DataError(
            f"{path.name}: its header has {len(header)} fields and its first row {len(first)}, expected names in the "
            "first column and one number for each name of the header; csv has commas, tsv has tabs"
        )
    columns = header if len(header) == len(first) - 1 else header[1:]  # R leaves out the name of the first one
    rows: list[str] = []
    parts: list[csr_matrix] = []
    kinds = {0: str} | dict.fromkeys(range(1, len(first)), "float32")
    with pd.read_csv(
        path, sep=delimiter, header=None, skiprows=1, dtype=kinds, chunksize=_ROWS, encoding="utf-8-sig"
    ) as blocks:
        for block in blocks:
            rows += block[0].astype(str).tolist()
            parts.append(csr_matrix(block.iloc[:, 1:].to_numpy(dtype="float32")))
    named, other = (rows, columns) if genes == "rows" else (columns, rows)
    if _ids(other) > _ids(named):
        turned = "columns" if genes == "rows" else "rows"
        raise DataError(
            f"{path.name}: source.genes says {genes}, but the {turned} have names of genes (such as {other[0]}); set "
            f"source.genes to {turned}"
        )
    matrix = vstack(parts, format="csr")
    if not np.isfinite(matrix.data).all():
        raise DataError(f"{path.name}: {int((~np.isfinite(matrix.data)).sum())} values are missing; write zeros as 0")
    matrix = matrix if genes == "columns" else matrix.T.tocsr()
    return AnnData(matrix, obs=pd.DataFrame(index=other), var=pd.DataFrame(index=named))


def _ids(names: Sequence[str]) -> int:
    """How many names are Ensembl ids."""
    return sum(bool(strip_version(name)) for name in names)


def _text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast("TextIO", gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return open(path, encoding="utf-8-sig", newline="")


# observations


def _observed(cells: "AnnData", path: Path, report: Report) -> dict[str, object]:
    """Add the columns of a table to obs, by the ids of the cells in its first column."""
    import pandas as pd

    from annobench.core.tables import Wanted, column_names, read_table

    ids, *texts = column_names(path)
    table = read_table(path, Wanted(ids=ids, texts=texts))
    names: NDArray[np.object_] = table.ids.to_numpy(zero_copy_only=False)
    listed = pd.DataFrame({name: values.to_text() for name, values in table.texts.items()}, index=names)
    if not listed.index.is_unique:
        raise DataError(
            f"{path.name}: lists {listed.index[listed.index.duplicated()][0]} twice; every cell has one row"
        )
    found = cells.obs_names.isin(listed.index)
    if not found.any():
        raise DataError(
            f"{path.name}: source.observations: column '{ids}' has none of the {cells.n_obs:,} cells (there "
            f"'{names[0] if len(names) else ''}', here '{cells.obs_names[0]}'); write the ids alike"
        )
    joined = listed.reindex(cells.obs_names).replace("", None)
    for name in joined:
        cells.obs[name] = pd.Categorical(joined[name])
    counts = {"cells_without_row": int((~found).sum()), "rows_without_cell": len(listed) - int(found.sum())}
    if any(counts.values()):
        report(
            f"{path.name}: {counts['cells_without_row']:,} cells have no row (their values are unknown), "
            f"{counts['rows_without_cell']:,} rows have no cell"
        )
    return {"file": path.name, "sha256": sha256_of(path), **counts}
