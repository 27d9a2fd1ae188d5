"""How well an atlas sorted by study is shuffled: variance of the composition of batches, relative to uniform sampling.

Command: `.venv/bin/python benchmarks/shuffle_quality.py [--cells 200000,15240192] [--memory-mb 800]`

Positions are simulated. Ours are those that the loader visits. The peers draw blocks of adjacent cells in random order,
collect them in a buffer, shuffle it and cut it into batches, according to their documentation. The variance is the mean
over batches of the sum over studies of (share in the batch - share in the atlas)^2; that of uniform sampling without
replacement is sum(p (1 - p)) / batch * (n - batch) / (n - 1).
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.atlas.measure import table
from benchmarks.atlas.synthetic import Atlas

from annobench.cells.store.order import Layout, layout, windows

BATCH = 2_048
CELL = 4_000  # bytes of a cell in our store
PEERS = {  # rows of a block, rows of a buffer
    "scDataset, block 16, factor 8": (16, 8 * BATCH),
    "scDataset, block 16, factor 32": (16, 32 * BATCH),
    "tiledbsoma-ml, defaults": (64, 65_536),
    "sequential through a buffer": (None, 65_536),
}


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", default="200000,15240192")
    parser.add_argument("--memory-mb", type=float, default=800)
    arguments = parser.parse_args()
    for n in map(int, arguments.cells.split(",")):
        atlas = Atlas(n)
        rows = [figures("a permutation of all cells", 1, n, atlas, blocks(n, 1, n, 0))]
        for memory in (arguments.memory_mb, arguments.memory_mb / 4):
            fitting = int(memory * 1e6 / 2 / CELL)  # of two windows; all cells stay where they fit
            plan = Layout(1, n) if n * CELL <= memory * 1e6 else layout(n, BATCH, fitting)
            visits = windows(n, plan, np.random.default_rng(0))
            rows.append(figures(f"ours, {memory:,.0f} MB", plan.block, plan.window, atlas, visits))
        for name, (block, buffer) in PEERS.items():
            rows.append(figures(name, block or n, buffer, atlas, blocks(n, block or n, buffer, 0)))
        studies, donors = atlas.study.max() + 1, atlas.donor.max() + 1
        print(f"\n{n:,} cells of {studies} studies and {donors} donors, batches of {BATCH:,}")
        table(["order", "block", "buffer", "by study", "by donor", "rule", "studies per batch", "TV"], rows)


def blocks(n: int, block: int, buffer: int, seed: int) -> Iterator[np.ndarray]:
    """Positions buffer by buffer: blocks in random order, fetched together and shuffled."""
    rng = np.random.default_rng(seed)
    starts = rng.permutation(-(-n // block)) * block
    order = (starts[:, None] + np.arange(min(block, n))).ravel()
    order = order[order < n]
    for start in range(0, n, buffer):
        yield rng.permutation(order[start : start + buffer])


def figures(name: str, block: int, buffer: int, atlas: Atlas, visits: Iterator[np.ndarray]) -> list[str]:
    """One row of the table."""
    order = np.concatenate(list(visits))
    whole = len(order) // BATCH * BATCH
    study, seen, distance = inflation(atlas.study, order[:whole])
    donor, *_ = inflation(atlas.donor, order[:whole])
    rule = f"{1 + BATCH * block / buffer:.2f}" if block < buffer < atlas.n else ""
    cells = [f"{study:,.2f}", f"{donor:,.2f}", rule, f"{seen:.1f}", f"{distance:.3f}"]
    return [name, "all" if block == atlas.n else f"{block:,}", f"{buffer:,}", *cells]


def inflation(group: np.ndarray, order: np.ndarray) -> tuple[float, float, float]:
    """Variance of the composition relative to uniform, groups per batch, total-variation distance from the atlas."""
    n, groups = len(group), int(group.max()) + 1
    share = np.bincount(group, minlength=groups) / n
    variance = seen = distance = 0.0
    batches = order.reshape(-1, BATCH)
    for batch in batches:
        counts = np.bincount(group[batch], minlength=groups)
        difference = counts / BATCH - share
        variance += np.square(difference).sum()
        seen += np.count_nonzero(counts)
        distance += np.abs(difference).sum() / 2
    uniform = (share * (1 - share)).sum() / BATCH * (n - BATCH) / (n - 1)
    return variance / len(batches) / uniform, seen / len(batches), distance / len(batches)


if __name__ == "__main__":
    main()
