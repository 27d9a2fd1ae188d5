"""Size and writing time of an atlas: our store beside h5ad, zarr, TileDB-SOMA and raw 16-bit CSR, all from one h5ad.

Command: `.venv/bin/python benchmarks/store_size.py [--cells 200000] [--rounds 3] [--folder FOLDER]`

Each is written by a fresh process, in turn, with the h5ad in the page cache; gzip and SOMA only once. Seconds include
reading the h5ad and, in the second column, flushing to the disk.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.atlas import formats, measure

NAMES = {
    "store": "annobench store",
    "csr": "raw CSR, 16 + 16 bit",
    "copy": "h5ad, uncompressed",
    "zarr": "zarr, anndata's defaults",
    "gzip": "h5ad, gzip",
    "soma": "TileDB-SOMA, settings of the Census",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="folder of the atlas, which is made where it is missing")
    parser.add_argument("--only", default=",".join(NAMES), help="formats, separated by commas")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.gettempdir()) / f"annobench-atlas-{arguments.cells}"
    measure.worker("make", folder=str(folder), cells=arguments.cells, formats=["h5ad"])
    jobs = {name: partial(convert, folder, name) for name in arguments.only.split(",")}
    records = measure.in_turn(jobs, arguments.rounds, ["gzip", "soma"])
    rows = []
    for name, found in records.items():
        size = found[0]["bytes"]
        own = records.get("store", [])
        ratios = [b["seconds"] / a["seconds"] for a, b in zip(own, found, strict=False)]
        seconds = [f"{measure.middle(found, key):.1f}" for key in ("seconds", "synced_seconds")]
        smaller = f"{size / own[0]['bytes']:.2f}" if own else ""
        per_cell = f"{size / arguments.cells:,.0f}"
        faster, peak = f"{median(ratios):.2f}" if ratios else "", f"{measure.middle(found, 'peak_mb'):,.0f}"
        rows.append([NAMES[name], f"{size / 1e9:.2f}", per_cell, smaller, *seconds, faster, peak])
    head = ["format", "GB", "bytes/cell", "of ours", "seconds", "on disk", "of ours", "peak MB"]
    measure.table(head, rows)


def convert(folder: Path, name: str) -> measure.Record:
    """Write one format."""
    measure.warm(formats.path(folder, "h5ad"))
    return measure.worker("convert", peer=name in formats.PEERS, folder=str(folder), format=name)


if __name__ == "__main__":
    main()
