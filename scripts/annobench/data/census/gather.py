"""The chunks of a dataset as one store, checked against the selection; counts are linked where possible."""

from collections.abc import Sequence
from pathlib import Path

from annobench.cells.store.link import link_stores
from annobench.cells.store.manifest import Manifest
from annobench.core.errors import DataError
from annobench.core.files import read_json
from annobench.data.census.chunks import chunk_bounds
from annobench.data.spec import Step

KEPT = ("release", "build_date", "uri", "filters", "datasets_sha256", "new_since", "exclude", "dropped", "genes")
COUNTED = ("cells", "types")


def gather_chunks(planned: int, chunks: Sequence[Path], record_file: Path, folder: Path) -> tuple[Path, Step]:
    """Write the store `folder/store` of all chunks, in their order.

    Parameters
    ----------
    planned
        Number of chunks into which the selection was cut.
    chunks
        Their stores.
    record_file
        The record of the selection.
    folder
        Where the store goes.

    Returns
    -------
    The store, and the step for the record of the source.

    Raises
    ------
    DataError
        Where a chunk is of another selection, or cells are missing.
    """
    record = read_json(record_file)
    bounds = chunk_bounds(record["cells"], planned)
    if len(chunks) != len(bounds):
        raise DataError(f"{record_file}: {len(bounds)} chunks were planned, {len(chunks)} are given")
    for number, (chunk, (start, stop)) in enumerate(zip(chunks, bounds, strict=True)):
        manifest = Manifest.read(chunk)
        origin = manifest.sources[-1]["source"]
        if origin.get("selection") != record["sha256"] or origin.get("chunk") != number:
            raise DataError(
                f"{chunk}: is not chunk {number} of the selection in {record_file}; delete it, and it is fetched again"
            )
        if manifest.cells != stop - start:
            raise DataError(f"{chunk}: has {manifest.cells} cells, expected {stop - start}; delete it and run again")
    origin = {"release": record["release"], "selection": record["sha256"]}
    store = folder / "store"
    manifest = link_stores(chunks, store, uns={"matrix": "counts"}, source=origin)
    if manifest.cells != record["cells"]:
        raise DataError(f"{store}: has {manifest.cells} cells, {record['cells']} were selected; select and fetch again")
    about = {key: record[key] for key in (*KEPT, *COUNTED) if key in record}
    return store, {"step": "census", **about, "datasets": len(record["datasets"]), "chunks": len(chunks)}
