"""Calibration: does the confidence say how likely a prediction is right?

ECE and the Brier score need probabilities; AUROC of correctness and the risk-coverage curve only need an order.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.counts import ratio
from annobench.core.parquet import Categorical
from annobench.score.evidence import Evidence
from annobench.score.metric import Family, Metric, Row
from annobench.score.metrics.shared.sums import mean_over_cells, total
from annobench.score.ranks import (
    COVERAGE,
    auroc,
    auroc_of_counts,
    bin_number,
    reliability,
    risk_coverage,
)
from annobench.score.scored import Probabilities, Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def gap_of_bins(sums: "Mapping[str, Array]") -> "Array":
    """ECE (Guo et al. 2017): |right - confidence|, summed over the cells of every bin, over all cells."""
    return ratio(sum(np.abs(gap) for part, gap in sums.items() if part != "n"), sums["n"])


METRICS = [
    Metric(
        name="ece",
        label="ECE",
        meaning="expected calibration error: mean gap of confidence and accuracy over equally wide bins",
        low=0,
        high=1,
        best=0,
        needs=("probabilities",),
        from_sums=gap_of_bins,
    ),
    Metric(
        name="brier",
        label="Brier score",
        meaning="multi-class Brier score: squared distance of probabilities and truth",
        low=0,
        high=2,
        best=0,
        needs=("probabilities",),
        from_sums=mean_over_cells,
    ),
    Metric(
        name="auroc_ovr",
        label="AUROC, one against rest",
        meaning="mean one-against-rest AUROC over classes of truth that were trained",
        low=0,
        high=1,
        best=1,
        label_set="shared",
        needs=("probabilities",),
    ),
    Metric(
        name="auroc_correct",
        label="AUROC of correctness",
        meaning="AUROC of the confidence for telling right from wrong predictions",
        low=0,
        high=1,
        best=1,
        needs=("confidence",),
    ),
    Metric(
        name="aurc",
        label="AURC",
        meaning="area under the risk-coverage curve: mean error over all coverages",
        low=0,
        high=1,
        best=0,
        needs=("confidence",),
    ),
    Metric(
        name="selective_accuracy",
        label="selective accuracy",
        meaning="accuracy of the 80% most confident cells",
        low=0,
        high=1,
        best=1,
        needs=("confidence",),
    ),
    Metric(
        name="bin_accuracy",
        label="accuracy of a bin",
        meaning="accuracy of the cells of one confidence bin",
        low=0,
        high=1,
        best=None,
        level="bin",
        needs=("probabilities",),
    ),
    Metric(
        name="bin_confidence",
        label="confidence of a bin",
        meaning="mean confidence of the cells of one confidence bin",
        low=0,
        high=1,
        best=None,
        level="bin",
        needs=("probabilities",),
    ),
]


def unit_sums(evidence: Evidence) -> "dict[str, Mapping[str, Array]]":
    """What ECE and Brier score are made of, for every unit, as far as the method gives it."""
    scored, units = evidence.scored, evidence.units
    sums: dict[str, Mapping[str, Array]] = {}
    if scored.confidence is not None and _calibrated(scored):
        bins = bin_number(scored.confidence, scored.bins)
        gaps = units.sum_by(bins, scored.bins, scored.correct - scored.confidence)
        sums["ece"] = {f"{i:02d}": gaps[:, i] for i in range(scored.bins)} | {"n": units.cells}
    if scored.probabilities is not None:
        distances = squared_distances(scored.probabilities, _true_columns(scored, scored.probabilities))
        sums["brier"] = {"sum": units.sum(distances), "n": units.cells}
    return sums


def compute(evidence: Evidence) -> Iterator[Row]:
    """What the confidence and the probabilities of the method allow; undefined values are left out."""
    scored = evidence.scored

    def row(metric: str, value: float, label_set: str = "-") -> Row:
        return Row("calibration", metric, label_set, "overall", "all", float(value), scored.n)

    if scored.confidence is not None:
        right = scored.correct
        if right.any() and not right.all():
            yield row("auroc_correct", auroc(scored.confidence, right))
        risks = risk_coverage(scored.confidence, right)
        yield row("aurc", float(risks.mean()))
        yield row("selective_accuracy", 1 - float(risks[max(1, round(COVERAGE * scored.n)) - 1]))
        if _calibrated(scored):
            bins = reliability(scored.confidence, right, scored.bins)
            gaps = {name: np.asarray((accuracy - confidence) * n) for name, accuracy, confidence, n in bins}
            yield row("ece", float(gap_of_bins({**gaps, "n": np.asarray(scored.n)})))
            for name, accuracy, confidence, n in bins:
                yield Row("calibration", "bin_accuracy", "-", "bin", name, accuracy, n)
                yield Row("calibration", "bin_confidence", "-", "bin", name, confidence, n)
    if scored.probabilities is not None:
        yield row("brier", float(mean_over_cells(total(evidence.sums("calibration", unit_sums)["brier"]))))
        values = aurocs(scored.probabilities, _true_columns(scored, scored.probabilities))
        if len(values):
            yield row("auroc_ovr", float(np.mean(values)), "shared")


def _calibrated(scored: Scored) -> bool:
    """Whether the confidence is a probability, and lies within its range."""
    confidence = scored.confidence
    return confidence is not None and scored.is_probability and confidence.min() >= 0 and confidence.max() <= 1 + 1e-6


def _true_columns(scored: Scored, probabilities: Probabilities) -> "NDArray[np.int32]":
    """Column of the true class of every cell; -1 for a class without a probability."""
    return Categorical(scored.true_codes, list(scored.names)).recode(probabilities.classes)


def squared_distances(probabilities: Probabilities, truth: "NDArray[np.integer]") -> "Array":
    """Squared distance of the probabilities and the truth, (cells,); `truth` holds class numbers or -1.

    The multi-class score of Brier (1950), from 0 to 2. The whole probability mass of a cell whose class has no
    probability lies elsewhere.
    """
    distances = (truth < 0).astype(np.float64)
    for cells, values in probabilities.blocks():
        true = truth[cells]
        known = np.flatnonzero(true >= 0)
        values[known, true[known]] -= 1
        distances[cells] += np.square(values, out=values).sum(axis=1)
    return distances


def aurocs(probabilities: Probabilities, truth: "NDArray[np.integer]") -> "NDArray[np.float64]":
    """AUROC of every class against the rest, for classes that some of the cells have, but not all."""
    number = np.bincount(truth[truth >= 0], minlength=len(probabilities.classes))
    columns = np.flatnonzero((number > 0) & (number < len(truth)))
    if probabilities.values.dtype == np.float16 and probabilities.groups is None:
        positive, every = _histograms(probabilities, truth)
        return np.array([auroc_of_counts(positive[i], every[i] - positive[i]) for i in columns])
    return np.array([auroc(probabilities.column(i), truth == i) for i in columns.tolist()])


_ONE = 0x3C00  # 1 as a float16: as integers, the bits of floats from 0 to 1 have the order of the floats


def _histograms(
    probabilities: Probabilities, truth: "NDArray[np.integer]"
) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    """For every class and every number of 16 bit: cells of the class, and all cells; (classes, numbers) each."""
    size = len(probabilities.classes)
    positive, every = (np.zeros(size * (_ONE + 1), dtype=np.int64) for _ in range(2))
    place = np.arange(size) * (_ONE + 1)
    for cells, values in probabilities.stored():
        bits = np.minimum(values.view(np.uint16) & 0x7FFF, _ONE) + place
        true = truth[cells]
        known = np.flatnonzero(true >= 0)
        every += np.bincount(bits.ravel(), minlength=len(every))
        positive += np.bincount(bits[known, true[known]], minlength=len(positive))
    return positive.reshape(size, -1), every.reshape(size, -1)


FAMILY = Family("calibration", tuple(METRICS), needs=("predictions",), compute=compute, order=6, unit_sums=unit_sums)
