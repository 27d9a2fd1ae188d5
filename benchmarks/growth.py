"""How our store and loader scale, from 20,000 cells to 2 million.

Command: `.venv/bin/python benchmarks/growth.py [--cells 20000,63000,200000,632000,2000000] [--peers] [--folder FOLDER]`

For each size, the store is written from an h5ad, then read in shuffled CSR batches, both in fresh processes, with files
in the page cache as far as they fit. With --peers, scDataset reads the h5ad as well, up to 200,000 cells. 2 million
cells need 40 GB of disk during the measurement; files are removed afterwards unless --keep is given.
"""

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.atlas import formats, measure

BATCH, PEER, PEER_CELLS = 2_048, "scDataset h5ad, CSR call-backs", 200_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", default="20000,63000,200000,632000,2000000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--memory-mb", type=float, default=800, help="memory of our loader for cells")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for cells in map(int, arguments.cells.split(",")):
        folder = arguments.folder / f"annobench-growth-{cells}"
        measure.worker("make", folder=str(folder), cells=cells, formats=["h5ad"])
        written = measure.worker("convert", folder=str(folder), format="store")
        jobs = {f"ours, {cells}": partial(load, folder, "ours", arguments.memory_mb)}
        if arguments.peers and cells <= PEER_CELLS:
            jobs[f"{PEER}, {cells}"] = partial(load, folder, PEER)
        found = measure.in_turn(jobs, arguments.rounds)
        if not arguments.keep:
            shutil.rmtree(folder)
        own = found[f"ours, {cells}"]
        peer = f"{measure.middle(found[f'{PEER}, {cells}'], 'cells_per_second'):,.0f}" if len(found) > 1 else ""
        speed, *peaks = (measure.middle(own, key) for key in ("cells_per_second", "peak_mb", "peak_anonymous_mb"))
        writing = [f"{written['seconds']:.1f}", f"{written['peak_mb']:,.0f}", f"{written['bytes'] / cells:,.0f}"]
        rows.append([f"{cells:,}", *writing, f"{speed:,.0f}", *(f"{peak:,.0f}" for peak in peaks), peer])
    head = ["cells", "seconds to write", "peak MB", "bytes/cell", "cells/s", "peak MB", "anonymous MB"]
    measure.table([*head, f"cells/s of {PEER}"], rows)


def load(folder: Path, name: str, memory_mb: float | None = None) -> measure.Record:
    """Measure shuffled CSR batches."""
    measure.warm(formats.path(folder, "store" if name == "ours" else "h5ad"))
    options = {} if memory_mb is None else {"memory_mb": memory_mb}
    common = {"folder": str(folder), "batch": BATCH, "dense": False, "seconds": 8, "limit": 120}
    return measure.worker("load", peer=name != "ours", name=name, **common, **options)


if __name__ == "__main__":
    main()
