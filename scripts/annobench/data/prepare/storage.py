"""Whether the cells of a dataset are kept in one file that is read whole, or in a store."""

from pathlib import Path

from annobench.cells.not_h5ad import not_h5ad
from annobench.cells.store.h5ad import H5adFile
from annobench.cells.store.manifest import MANIFEST
from annobench.cells.store.source import StoreFile
from annobench.config.names import STORE_BYTES, STORE_CELLS
from annobench.core.errors import AnnobenchError, DataError
from annobench.data.prepare.spec import DatasetSpec


def wants_store(spec: DatasetSpec, source: Path) -> bool:
    """Whether a dataset is kept in a store: by `storage` or, where that is auto, by the size of its file."""
    storage, matrix, counts = spec.storage, spec.matrix, spec.matrix.holds_counts
    if storage == "store" and not counts:
        what = "matrix.counts_from is set" if matrix.counts_from else f"matrix.state is {matrix.state}"
        raise DataError(
            f"{source.name}: storage: a store holds raw counts as they are in the file, but {what}; name the slot with "
            "the counts in `matrix.slot`, or set storage to memory"
        )
    if storage != "auto" or not counts:
        return storage == "store"
    with opened(source, matrix.slot) as file:
        return file.n > STORE_CELLS or file.nbytes > STORE_BYTES


def opened(source: Path, slot: str | None) -> H5adFile | StoreFile:
    """A source to be read, whole or in parts. Raises DataError, for whatever h5py raises on broken files."""
    if (source / MANIFEST).is_file():
        if slot not in ("X", None):
            raise DataError(f"{source.name}: matrix.slot: a store has one matrix, X; it has no {slot}")
        return StoreFile(source)
    try:
        return H5adFile(source, slot)
    except AnnobenchError:
        raise
    except Exception as error:
        raise not_h5ad(source, error) from error
