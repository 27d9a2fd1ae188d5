"""Shuffled, normalised batches of 2,048 cells: our loader beside the peers, in turn, each in a fresh process.

Command: `.venv/bin/python benchmarks/loader.py [--cells 200000] [--rounds 3] [--folder FOLDER] [--only NAME,...]`
         `.venv/bin/python benchmarks/loader.py --cold [--cells 6400000]`: an atlas larger than memory, from the disk

Files are read once before every measurement, so that they are in the page cache; with --cold they are dropped from it.
A loader that takes more than a minute for an epoch is stopped. Opening lasts from the start of the imports to the first
batch, and is not part of the rate: loaders that keep all cells in memory read them then. The peers need their own
environment: see benchmarks/requirements.txt. The ratio is the median over the rounds of ours to the peer's in the same
round.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.atlas import formats, measure
from benchmarks.atlas.peers import FORMATS

BATCH = 2_048
DENSE = ["ours", "memory", "backed h5ad", "scDataset h5ad, as shipped", "scDataset h5ad, CSR call-backs"]
DENSE += ["scDataset zarr, CSR call-backs", "tiledbsoma-ml"]
SPARSE = ["ours", "memory", "scDataset h5ad, CSR call-backs", "tiledbsoma-ml"]
ONCE = ("scDataset zarr", "tiledbsoma")  # the slow ones


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="time for which epochs are repeated")
    parser.add_argument("--folder", type=Path, help="folder of the atlas, which is made where it is missing")
    parser.add_argument("--only", help="names of loaders, separated by semicolons")
    parser.add_argument("--memory-mb", type=float, default=800, help="memory of our loader for cells")
    parser.add_argument("--cores", help="cores to use, as for taskset")
    parser.add_argument("--cold", action="store_true")
    arguments = parser.parse_args()
    cells = arguments.cells or (6_400_000 if arguments.cold else 200_000)
    folder = arguments.folder or Path(tempfile.gettempdir()) / f"annobench-atlas-{cells}"
    names = {True: ["ours"], False: ["ours"]} if arguments.cold else {True: DENSE, False: SPARSE}
    if arguments.only:
        names = {dense: [name for name in some if name in arguments.only.split(";")] for dense, some in names.items()}
    needed = {"store"} if arguments.cold else {"h5ad", "csr", "zarr", "soma", "store"}
    measure.worker("make", folder=str(folder), cells=cells, formats=sorted(needed))
    jobs = {}
    for name in sorted({FORMATS[name] for some in names.values() for name in some}):
        jobs[f"sequential read, {name}"] = partial(read, folder, name, cells, arguments.cold)
    for dense, some in names.items():
        for name in some:
            jobs[f"{name} | {'dense' if dense else 'CSR'}"] = partial(load, folder, name, dense, arguments)
    records = measure.in_turn(jobs, arguments.rounds, [name for name in jobs if name.startswith(ONCE)])
    report(records)


def read(folder: Path, name: str, cells: int, cold: bool) -> measure.Record:
    """Read a format from its first byte to its last."""
    path = formats.path(folder, name)
    measure.cool(path) if cold else measure.warm(path)
    return measure.worker("read", path=str(path), cells=cells)


def load(folder: Path, name: str, dense: bool, arguments: argparse.Namespace) -> measure.Record:
    """Measure one loader."""
    if not arguments.cold:
        measure.warm(formats.path(folder, FORMATS[name]))
    ours = name == "ours"
    return measure.worker(
        "load",
        peer=not ours and name != "memory",
        cores=arguments.cores,
        name=name,
        folder=str(folder),
        batch=BATCH,
        dense=dense,
        seconds=arguments.seconds,
        limit=60 if not arguments.cold else 120,
        cold=arguments.cold,
        **({"memory_mb": arguments.memory_mb} if ours else {}),
    )


def report(records: dict[str, list[measure.Record]]) -> None:
    """Print the table."""
    rows = []
    for name, found in records.items():
        kind = name.rpartition(" | ")[2]
        own = records.get(f"ours | {kind}", [])
        ratios = [a["cells_per_second"] / b["cells_per_second"] for a, b in zip(own, found, strict=False)]
        peaks = [
            f"{measure.middle(found, key):,.0f}" if key in found[0] else ""
            for key in ("opened", "peak_mb", "peak_anonymous_mb")
        ]
        speed = f"{measure.middle(found, 'cells_per_second'):,.0f}"
        rows.append([name.replace(" | ", ", "), len(found), speed, f"{median(ratios):.2f}" if ratios else "", *peaks])
    measure.table(
        ["loader, output", "runs", "cells/s", "ours is faster by", "opening, s", "peak MB", "anonymous MB"], rows
    )


if __name__ == "__main__":
    main()
