"""One epoch of training with the HCE loss, linear and MLP: ours beside the peers' loaders with dense PyTorch.

Command: `.venv/bin/python benchmarks/epoch.py [--cells 200000] [--rounds 3] [--folder FOLDER] [--only NAME;...]`

Loader and step share the cores, as in a fit. Files are read once before every measurement; each runs in a fresh
process, in turn; tiledbsoma-ml runs once. The loss is the mean of the last ten batches, by which all must have learned
the same.
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
NAMES = ["ours", "memory", "scDataset h5ad, as shipped", "scDataset h5ad, CSR call-backs", "tiledbsoma-ml"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="folder of the atlas, which is made where it is missing")
    parser.add_argument("--networks", default="linear,mlp")
    parser.add_argument("--only", help="names of loaders, separated by semicolons")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.gettempdir()) / f"annobench-atlas-{arguments.cells}"
    names = arguments.only.split(";") if arguments.only else NAMES
    measure.worker("make", folder=str(folder), cells=arguments.cells, formats=["h5ad", "csr", "soma", "store"])
    jobs = {
        f"{name} | {network}": partial(train, folder, name, network)
        for network in arguments.networks.split(",")
        for name in names
    }
    records = measure.in_turn(jobs, arguments.rounds, [job for job in jobs if job.startswith("tiledbsoma")])
    rows = []
    for job, found in records.items():
        name, network = job.split(" | ")
        own = records.get(f"ours | {network}", [])
        ratios = [a["cells_per_second"] / b["cells_per_second"] for a, b in zip(own, found, strict=False)]
        figures = [measure.middle(found, key) for key in ("cells_per_second", "waiting", "loss", "peak_mb")]
        speed, waiting, loss, peak = figures
        ratio = f"{median(ratios):.2f}" if ratios else ""
        rows.append(
            [name, network, len(found), f"{speed:,.0f}", ratio, f"{waiting:.0%}", f"{loss:.3f}", f"{peak:,.0f}"]
        )
    head = ["loader", "network", "runs", "cells/s", "ours is faster by", "waiting for the loader", "loss", "peak MB"]
    measure.table(head, rows)


def train(folder: Path, name: str, network: str) -> measure.Record:
    """Train one epoch."""
    measure.warm(formats.path(folder, FORMATS[name]))
    peer = name not in ("ours", "memory")
    return measure.worker("train", peer=peer, name=name, network=network, folder=str(folder), batch=BATCH, seconds=120)


if __name__ == "__main__":
    main()
