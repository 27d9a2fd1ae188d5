"""Time for balancing a million cells of 200 types and 40 sources.

Command: `.venv/bin/python benchmarks/balance.py`
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from annobench.config.split import BalanceSettings
from annobench.splits.balance.select import SHARES, select_cells
from annobench.splits.spec import BalanceSpec

CELLS, TYPES, SOURCES = 10**6, 200, 40


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rng = np.random.default_rng(0)
    labels = np.array([f"CL:{i:07d}" for i in range(TYPES)], dtype=object)[rng.integers(TYPES, size=CELLS)]
    sources = np.array([f"study{i}" for i in range(SOURCES)], dtype=object)[rng.integers(SOURCES, size=CELLS)]
    cap = BalanceSettings("cap", max_cells=1000, min_cells=50, min_per_source=10)
    policies = {share: replace(cap, share=share) for share in SHARES}
    wanted = {f"CL:{i:07d}": 0.001 * (i % 5 + 1) for i in range(TYPES // 2)}
    policies["target_proportions"] = replace(cap, target_proportions=wanted)
    policies["spatialcore"] = replace(cap, policy="spatialcore")
    for name, policy in policies.items():
        times = []
        for seed in range(5):
            begin = time.perf_counter()
            chosen = select_cells(labels, sources, BalanceSpec(policy, seed))
            times.append(time.perf_counter() - begin)
        print(f"{name:<18} {median(times):.2f} s (median of {len(times)}), {len(chosen)} cells kept")


if __name__ == "__main__":
    main()
