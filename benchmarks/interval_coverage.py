"""How often the confidence intervals cover the truth, in a simulation where it is known.

Command: `.venv/bin/python benchmarks/interval_coverage.py [--trials 400]`

Ten classes of 34 % to 1 % of the cells are predicted with recalls of 0.95 down to 0.5. Where donors are the units, the
odds of a correct prediction differ between them (standard deviation of the logit 0.5), and the truth is the macro F1
over all donors.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from annobench.ontology import Ontology
from annobench.score import statistics as stats
from annobench.score.counts import Classes, UnitCounts
from annobench.score.registry import METRICS

SHARE = np.array([240, 129, 95, 68, 54, 43, 31, 19, 13, 8]) / 700
LOGIT = np.log(np.linspace(0.95, 0.5, 10) / (1 - np.linspace(0.95, 0.5, 10)))
NAMES = [f"c{i}" for i in range(10)]
CASES = [(140, None), (700, None), (1500, 4), (1500, 5), (1500, 8), (1500, 20)]


def draw(rng: np.random.Generator, cells: int, donors: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit, true and predicted class of every cell."""
    unit = np.arange(cells) if donors is None else rng.integers(donors, size=cells)
    effect = 0 if donors is None else rng.normal(0, 0.5, donors)[unit]
    truth = rng.choice(10, cells, p=SHARE)
    hit = rng.random(cells) < 1 / (1 + np.exp(-LOGIT[truth] - effect))
    return unit, truth, np.where(hit, truth, (truth + rng.integers(1, 3, cells)) % 10)


def count(unit: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> stats.Samples:
    """Counts of one fit, as the tables use them."""
    pairs = {
        "unit": [str(u) for u in unit],
        "true": [NAMES[t] for t in truth],
        "predicted": [NAMES[p] for p in predicted],
        "n": np.ones(len(unit)),
    }
    return {("split", 1): UnitCounts.of_table(pairs, Classes(NAMES, Ontology("none", {})))}


def main() -> None:
    """Simulate and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--trials", type=int, default=400)
    trials = arguments.parse_args().trials
    rng = np.random.default_rng(0)
    many = {
        donors: stats.estimate(count(np.zeros(10**6, dtype=int), *draw(rng, 10**6, donors)[1:]), METRICS["macro_f1"])
        for donors in (None, 10**5)
    }
    for cells, donors in CASES:
        truth = many[None if donors is None else 10**5]
        hits, width = 0, 0.0
        for trial in range(trials):
            counts = count(*draw(rng, cells, donors))
            values = stats.replicates(counts, METRICS["macro_f1"], stats.Weights(1000, 0.95, trial), "d")
            low, high = stats.interval(values, stats.estimate(counts, METRICS["macro_f1"]), 0.95)
            hits += low <= truth <= high
            width += (high - low) / trials
        over = f"{cells} cells" if donors is None else f"{donors} donors, {cells} cells"
        print(f"{over:<22} 95 % intervals cover {hits / trials:4.0%}, mean width {width:.3f}", flush=True)


if __name__ == "__main__":
    main()
