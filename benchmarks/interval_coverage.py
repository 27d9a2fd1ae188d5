"""How often the confidence intervals of macro F1 cover the truth, in simulations where it is known.

Command: `.venv/bin/python benchmarks/interval_coverage.py [--trials 400] [--case folds]`

Cells of a class are predicted with its recall; a wrong cell is taken for one of the next two classes. Where donors are
the units, the odds of a correct prediction differ between them (standard deviation of the logit 0.5). The truth is the
macro F1 of infinitely many cells, of infinitely many donors, of the same classes; for folds the mean of that over the
folds, each with the classes that it tests. Differences are between two methods that answer a part of the cells each on
its own.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from annobench.core.counts import f1
from annobench.ontology import Ontology
from annobench.score import statistics as stats
from annobench.score.counts import Classes, UnitCounts
from annobench.score.registry import METRICS

MACRO_F1 = METRICS["macro_f1"]
TEN = np.array([240, 129, 95, 68, 54, 43, 31, 19, 13, 8]) / 700
FIVE = np.array([40, 25, 20, 10, 5]) / 100
SIZES = np.array([48, 40, 32, 26, 20, 14, 10, 6, 4, 2])
FALLING = np.linspace(0.95, 0.5, 10)
SPREAD = 0.5  # standard deviation of the logit between donors
ALONE = 0.5  # share of the cells that two methods answer independently
REPLICATES = 1000


@dataclass(frozen=True)
class Case:
    """A simulated evaluation.

    Parameters
    ----------
    title
        For people.
    recalls
        (classes,) probability of a right answer.
    shares, cells
        Shares of the classes, and how many cells are drawn; or
    sizes
        cells of every class.
    folds
        Splits that the cells are dealt to, class by class.
    donors
        How many donors there are; None where cells are the units.
    """

    title: str
    recalls: np.ndarray
    shares: np.ndarray | None = None
    cells: int = 0
    sizes: np.ndarray | None = None
    folds: int = 1
    donors: int | None = None

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """True class, fold and donor of every cell."""
        if self.sizes is None:
            truth = np.sort(rng.choice(len(self.recalls), self.cells, p=self.shares))
        else:
            truth = np.repeat(np.arange(len(self.sizes)), self.sizes)
        donor = np.arange(len(truth)) if self.donors is None else rng.integers(self.donors, size=len(truth))
        return truth, np.arange(len(truth)) % self.folds, donor

    def chances(self, truth: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Probability of a right answer for every cell."""
        if self.donors is None:
            return self.recalls[truth]
        logit = np.log(self.recalls / (1 - self.recalls))[truth] + rng.normal(0, SPREAD, self.donors)[donor]
        return 1 / (1 + np.exp(-logit))

    def target(self, truth: np.ndarray, fold: np.ndarray) -> float:
        """The true value."""
        recalls = self.recalls
        if self.donors is not None:
            effects = np.random.default_rng(0).normal(0, SPREAD, 10**5)
            recalls = np.array([(1 / (1 + np.exp(-np.log(p / (1 - p)) - effects))).mean() for p in recalls])
        if self.shares is not None:
            return expected_macro_f1(self.shares, recalls)
        counts = [np.bincount(truth[fold == one], minlength=len(recalls)) for one in range(self.folds)]
        return float(np.mean([expected_macro_f1(sizes, recalls) for sizes in counts]))


def expected_macro_f1(sizes: np.ndarray, recalls: np.ndarray) -> float:
    """Macro F1 of infinitely many cells in these proportions."""
    hits = sizes * recalls
    wrong = (sizes - hits) / 2
    predicted = hits + np.roll(wrong, 1) + np.roll(wrong, 2)
    return float(f1(hits, sizes, predicted)[sizes > 0].mean())


CASES = {
    "60": Case("60 cells, five classes, the rarest 5 %", np.linspace(0.95, 0.6, 5), shares=FIVE, cells=60),
    "right": Case("the same, recall 0.98", np.full(5, 0.98), shares=FIVE, cells=60),
    "140": Case("140 cells, ten classes, the rarest 1 %", FALLING, shares=TEN, cells=140),
    "700": Case("700 cells, ten classes, the rarest 1 %", FALLING, shares=TEN, cells=700),
    "fit": Case("ten classes of 2 to 48 cells, one fit", FALLING, sizes=SIZES),
    "folds": Case("ten classes of 2 to 48 cells, five folds", FALLING, sizes=SIZES, folds=5),
    "right_folds": Case("the same, recall 0.97", np.full(10, 0.97), sizes=SIZES, folds=5),
} | {
    f"donors_{n}": Case(f"{n} donors, 1500 cells, ten classes", FALLING, shares=TEN, cells=1500, donors=n)
    for n in (3, 4, 5, 8, 20)
}


def answers(truth: np.ndarray, chances: np.ndarray, rng: np.random.Generator, classes: int) -> np.ndarray:
    """Predicted class of every cell."""
    wrong = (truth + rng.integers(1, 3, len(truth))) % classes
    return np.where(rng.random(len(truth)) < chances, truth, wrong)


def count(case: Case, truth: np.ndarray, predicted: np.ndarray, fold: np.ndarray, donor: np.ndarray) -> stats.Samples:
    """Counts of one method, as the tables use them."""
    names = [f"c{i}" for i in range(len(case.recalls))]
    classes = Classes(names, Ontology("none", {}))
    samples: dict[stats.Key, UnitCounts] = {}
    for one in range(case.folds):
        cells = np.flatnonzero(fold == one)
        table = {
            "unit": donor[cells].astype(str).astype(object),
            "true": np.array(names, dtype=object)[truth[cells]],
            "predicted": np.array(names, dtype=object)[predicted[cells]],
            "n": np.ones(len(cells)),
            "unit_kind": np.full(len(cells), "cell" if case.donors is None else "donor", dtype=object),
        }
        samples[f"fold{one}", 1] = UnitCounts.of_table(table, classes)
    return samples


Trial = Callable[[Case, np.random.Generator, int], tuple[float, float, float]]


def of_value(case: Case, rng: np.random.Generator, seed: int) -> tuple[float, float, float]:
    """Interval of the value of one method, and the truth."""
    truth, fold, donor = case.draw(rng)
    predicted = answers(truth, case.chances(truth, donor, rng), rng, len(case.recalls))
    counts = count(case, truth, predicted, fold, donor)
    drawn = stats.replicates(counts, MACRO_F1, stats.Weights(REPLICATES, 0.95, seed), "d")
    return (*stats.interval(drawn, stats.estimate(counts, MACRO_F1), 0.95), case.target(truth, fold))


def of_difference(case: Case, rng: np.random.Generator, seed: int) -> tuple[float, float, float]:
    """Interval of the difference of two equally good methods, and the truth, which is 0."""
    truth, fold, donor = case.draw(rng)
    chances, classes = case.chances(truth, donor, rng), len(case.recalls)
    first = answers(truth, chances, rng, classes)
    second = np.where(rng.random(len(truth)) < ALONE, answers(truth, chances, rng, classes), first)
    weights = stats.Weights(REPLICATES, 0.95, seed)
    a, b = (count(case, truth, predicted, fold, donor) for predicted in (first, second))
    moved = stats.replicates(a, MACRO_F1, weights, "d") - stats.replicates(b, MACRO_F1, weights, "d")
    difference = stats.estimate(a, MACRO_F1) - stats.estimate(b, MACRO_F1)
    ends = stats.interval(moved, difference, 0.95, (-1, 1))
    if case.donors is None:
        p = stats.swap_test(a, b, MACRO_F1, weights, dataset="d", number=stats.swaps_needed(1, 0.95))
        ends = stats.agreeing(ends, p, 0.95)
    return (*ends, 0.0)


def coverage(case: Case, trial: Trial, trials: int) -> tuple[float, float]:
    """Share of intervals that cover the truth, and their mean width."""
    rng = np.random.default_rng(0)
    found = np.array([trial(case, rng, seed) for seed in range(trials)])
    low, high, truth = found.T
    return float(((low <= truth) & (truth <= high)).mean()), float((high - low).mean())


def main() -> None:
    """Simulate and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--trials", type=int, default=400)
    arguments.add_argument("--case", choices=list(CASES), action="append")
    given = arguments.parse_args()
    print(f"{given.trials} trials{'':<34} value: covers, width   difference: covers, width")
    for name in given.case or CASES:
        case = CASES[name]
        of_case = [coverage(case, trial, given.trials) for trial in (of_value, of_difference)]
        print(f"{case.title:<46}" + "".join(f"{hits:8.1%} {width:9.3f}        " for hits, width in of_case), flush=True)


if __name__ == "__main__":
    main()
