"""Confidence rules compared: what a rule says of right and wrong cells, and of cells that do not belong.

A share of cells below a cut says nothing by itself: any rule may be made to call every cell known. Beside it stands
what the same rule with the same cut accepts of noise, of shuffled cells and of cells of another tissue. `published` is
the cut that was published for a rule, `fair` the one above which 95 % of the validation cells lie.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.parquet import Categorical, positions, to_arrow
from annobench.fit.calibration import Groups, Platt, strength
from annobench.fit.decisions import KINDS
from annobench.ontology import UNKNOWN
from annobench.score.confidence import PUBLISHED, by_rule
from annobench.score.ranks import COVERAGE, auroc, bin_number, reliability, risk_coverage
from annobench.score.scored import Scored
from annobench.score.truths import Truths, rolled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Mask = NDArray[np.bool_]
    Values = NDArray[np.floating]

    from annobench.fit.decisions import Decisions

ACCEPTED = 0.95  # share of the validation cells above the fair cut
MIXED = 0.2  # share of unrelated cells in a mixed query
COVERAGES = np.round(np.arange(0.05, 1.0001, 0.05), 2)
_CHUNK = 25  # replicates at a time, which bounds the memory
MIN_EACH = 10  # right and wrong cells that an AUROC of correctness needs
BINS = 25  # of the histograms of confidences
RESAMPLED = ("auroc_correct", "aurc", "selective_accuracy", "ece", "unrelated_tissue_auroc", "unrelated_tissue_found")


@dataclass
class Judged:
    """Confidences of one fit by one rule: of test cells (with what was right) and of cells that do not belong.

    test, right: (n,). validation: (m,) or None. unrelated: kind -> (k,).
    """

    rule: str
    test: "Array"
    right: "Mask"
    validation: "Array | None"
    unrelated: Mapping[str, "Array"]

    def cuts(self) -> dict[str, float]:
        """The cuts that the rule has: `published`, `fair`."""
        found = {"published": PUBLISHED[self.rule]} if self.rule in PUBLISHED else {}
        if self.validation is not None and len(self.validation):
            found["fair"] = float(np.quantile(self.validation, 1 - ACCEPTED))
        return found

    def values(self, bins: int) -> dict[tuple[str, str], float]:
        """(metric, variant) -> value; what is undefined is left out."""
        found: dict[tuple[str, str], float] = {}
        if min(self.right.sum(), (~self.right).sum()) >= MIN_EACH:
            found["auroc_correct", "-"] = auroc(self.test, self.right)
        risks = risk_coverage(self.test, self.right)
        found["aurc", "-"] = float(risks.mean())
        found["selective_accuracy", "-"] = 1 - float(risks[max(1, round(COVERAGE * len(risks))) - 1])
        if self.test.min() >= 0 and self.test.max() <= 1:
            parts = reliability(self.test, self.right, bins)
            found["ece", "-"] = sum(abs(a - c) * n for _, a, c, n in parts) / len(self.test)
        for kind, values in self.unrelated.items():
            own = np.r_[np.ones(len(self.test), bool), np.zeros(len(values), bool)]
            found[f"{kind}_auroc", "-"] = auroc(np.r_[self.test, values], own)
        if "unrelated_tissue" in self.unrelated:
            weights = np.ones((1, len(self.test) + len(self.unrelated["unrelated_tissue"])))
            found["unrelated_tissue_found", "-"] = float(
                share_found(self.test, self.unrelated["unrelated_tissue"], weights)[0]
            )
        for variant, cut in self.cuts().items():
            found["unknown_rate", variant] = float((self.test < cut).mean())
            for kind, values in self.unrelated.items():
                found[f"accepted_{kind}", variant] = float((values >= cut).mean())
        return found

    def replicates(self, weights: "Array", of_unrelated: "Array", bins: int) -> dict[str, "Array"]:
        """Values under random weights of the test cells (replicates, n) and of unrelated cells (replicates, >= k)."""
        parts = [
            self._replicates(weights[start : start + _CHUNK], of_unrelated[start : start + _CHUNK], bins)
            for start in range(0, len(weights), _CHUNK)
        ]
        return {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}

    def _replicates(self, weights: "Array", of_unrelated: "Array", bins: int) -> dict[str, "Array"]:
        found = {}
        ties = self._ties
        if min(self.right.sum(), (~self.right).sum()) >= MIN_EACH:
            found["auroc_correct"] = weighted_auroc(self.test, self.right, weights, ties)
        found["aurc"], found["selective_accuracy"] = weighted_risk(self.test, self.right, weights, COVERAGE, ties)
        if self.test.min() >= 0 and self.test.max() <= 1:
            found["ece"] = weighted_ece(self.test, self.right, weights, bins)
        if "unrelated_tissue" in self.unrelated:
            values = self.unrelated["unrelated_tissue"]
            both = np.hstack([weights, of_unrelated[:, : len(values)]])
            own = np.r_[np.ones(len(self.test), bool), np.zeros(len(values), bool)]
            found["unrelated_tissue_auroc"] = weighted_auroc(np.r_[self.test, values], own, both, self._mixed_ties)
            found["unrelated_tissue_found"] = share_found(self.test, values, both, self._mixed_ties)
        return found

    @cached_property
    def _ties(self) -> "Ties":
        return Ties(self.test)

    @cached_property
    def _mixed_ties(self) -> "Ties":
        return Ties(np.r_[self.test, self.unrelated["unrelated_tissue"]])

    def curve(self) -> dict[str, float]:
        """Error among the most confident cells, by coverage."""
        risks = risk_coverage(self.test, self.right)
        return {f"{c:.2f}": float(risks[max(1, round(c * len(risks))) - 1]) for c in COVERAGES}

    def histograms(self) -> dict[str, "Array"]:
        """Share of right, wrong and unrelated cells in each of 25 bins of confidence from 0 to 1."""
        groups = {"right": self.test[self.right], "wrong": self.test[~self.right], **self.unrelated}
        return {
            name: np.histogram(np.clip(values, 0, 1), BINS, (0, 1))[0] / len(values)
            for name, values in groups.items()
            if len(values)
        }


def rules_of(decisions: "Decisions", scored: Scored, truths: Truths) -> "tuple[NDArray[np.intp], list[Judged]]":
    """Scored cells with decision values (their positions), and every confidence rule on them.

    Validation cells of unknown type are left out. Of a large test set only a sample has decision values.

    Parameters
    ----------
    decisions
        What `read_decisions` gives.
    scored, truths
        The cells, and what is known of them.
    """
    part, ids = decisions["part"], decisions["cell_ids"]
    test = np.flatnonzero(part == "test")
    place = positions(to_arrow(ids[test]), truths.ids)
    test, place = test[place >= 0], place[place >= 0]
    order = np.argsort(place, kind="stable")
    at, cells = test[order], place[order]
    if not len(cells):  # none of the few cells that have a known label was drawn
        return cells, []
    answered = rolled(decisions["labels"], truths.rollup, scored.ontology)
    chosen = np.flatnonzero(part == "validation")
    row = positions(to_arrow(ids[chosen]), truths.validation[0])
    chosen, row = chosen[row >= 0], row[row >= 0]
    expected = truths.validation[1][row].to_text()
    known = expected != UNKNOWN
    groups = None
    if truths.rollup is not None:
        targets = rolled(decisions["classes"], truths.rollup, scored.ontology)
        names = sorted({*targets, *answered})
        groups = Groups(Categorical.of(targets).recode(names), Categorical.of(answered).recode(names))
    right = (answered[chosen] == expected)[known]
    return cells, judge(scored.correct[cells], decisions, at=at, validation=chosen[known], right=right, groups=groups)


def judge(
    correct: "Mask",
    decisions: "Decisions",
    *,
    at: "NDArray[np.intp]",
    validation: "NDArray[np.intp]",
    right: "Mask",
    groups: Groups | None = None,
) -> list[Judged]:
    """One entry per rule. `decisions` is what read_decisions gives, `at` its rows for the cells that `correct` is of.

    `validation` are its rows of validation cells with a known label, and `right` says which of them are right. `groups`
    are the targets of its classes and answers, where labels are rolled up.
    """
    values, part = decisions["decisions"].astype(np.float64), decisions["part"]
    calibration = Platt(strength(values, groups)[validation], right) if len(validation) else None
    own = decisions["confidence"]
    rules = by_rule(values, None if np.isnan(own[at]).any() else own, calibration, groups)
    return [
        Judged(
            rule,
            confidence[at],
            correct,
            confidence[validation] if len(validation) else None,
            {kind: confidence[part == kind] for kind in KINDS if (part == kind).any()},
        )
        for rule, confidence in rules.items()
    ]


class Ties:
    """Scores in order, lowest first, with equal ones together: made once, used for every metric and set of weights."""

    def __init__(self, score: "Values") -> None:
        self.order = np.argsort(score, kind="stable")
        ordered = score[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])

    def sums(self, weights: "Array", member: "Mask | None" = None) -> "Array":
        """Weight at every score that occurs, of all cells or of some; (replicates, n) -> (replicates, scores)."""
        found = np.take(weights, self.order, axis=1)
        if member is not None:
            found *= member[self.order]
        return found if len(self.starts) == len(self.order) else np.add.reduceat(found, self.starts, axis=1)


def weighted_auroc(
    score: "Values",
    positive: "Mask",
    weights: "Array",
    ties: Ties | None = None,
) -> "Array":
    """AUROC with weighted cells, ties counting half; weights (replicates, n) -> (replicates,)."""
    ties = ties or Ties(score)
    up, down = ties.sums(weights, positive), ties.sums(weights, ~positive)
    below = np.cumsum(down, axis=1)
    below -= down / 2
    return np.einsum("ij,ij->i", up, below) / (up.sum(axis=1) * down.sum(axis=1))


def weighted_risk(
    confidence: "Values",
    right: "Mask",
    weights: "Array",
    coverage: float,
    ties: Ties | None = None,
) -> "tuple[Array, Array]":
    """Area under the risk-coverage curve and accuracy at a coverage, weighted cells, expected over orders of ties."""
    ties = ties or Ties(confidence)
    size, wrong = (found[:, ::-1] for found in (ties.sums(weights), ties.sums(weights, ~right)))
    before, errors = np.cumsum(size, axis=1) - size, np.cumsum(wrong, axis=1) - wrong
    rate = np.divide(wrong, size, out=np.zeros_like(size), where=size > 0)  # cells may weigh nothing
    # the integral of (errors + rate * (c - before)) / c over the group
    log = np.log1p(np.divide(size, before, out=np.zeros_like(size), where=before > 0))
    area = (rate * size + (errors - rate * before) * log).sum(axis=1) / size.sum(axis=1)
    target = coverage * size.sum(axis=1, keepdims=True)
    taken = np.clip(target - before, 0, size)
    return area, 1 - (rate * taken).sum(axis=1) / target[:, 0]


def weighted_ece(confidence: "Values", right: "Mask", weights: "Array", bins: int) -> "Array":
    """Expected calibration error with weighted cells; bins as in `reliability`."""
    number = bin_number(confidence, bins)
    member = np.zeros((len(number), bins))
    member[np.arange(len(number)), number] = right.astype(float) - confidence
    return np.abs(weights @ member).sum(axis=1) / weights.sum(axis=1)


def share_found(
    own: "Values",
    unrelated: "Values",
    weights: "Array",
    ties: Ties | None = None,
) -> "Array":
    """Share of unrelated cells among the 20 % least confident of a mix that holds 20 % of them; ties count in part.

    weights: (replicates, own + unrelated) before mixing.
    """
    n = len(own)
    mixed = np.hstack(
        [
            weights[:, :n] * ((1 - MIXED) / weights[:, :n].sum(axis=1, keepdims=True)),
            weights[:, n:] * (MIXED / weights[:, n:].sum(axis=1, keepdims=True)),
        ]
    )
    ties = ties or Ties(np.r_[own, unrelated])
    size, strange = ties.sums(mixed), ties.sums(mixed, np.arange(mixed.shape[1]) >= n)
    before = np.cumsum(size, axis=1) - size
    taken = np.clip(MIXED - before, 0, size)
    return (strange * np.divide(taken, size, out=np.zeros_like(size), where=size > 0)).sum(axis=1) / MIXED
