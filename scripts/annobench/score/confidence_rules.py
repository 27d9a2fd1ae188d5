"""Confidence rules compared: what each says of right and wrong cells, and of unrelated cells.

A share of cells below a cut means nothing by itself: any rule can be made to call every cell known. It is therefore
shown beside what the same rule with the same cut accepts of noise, of shuffled cells and of cells of an unrelated
tissue. `published` is the cut that was published for a rule, `fair` the one above which 95 % of the validation cells
are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.parquet import Categorical, positions, to_arrow
from annobench.fit.calibration import Groups, Platt, strength
from annobench.fit.decisions import KINDS, ON_REQUEST
from annobench.ontology import UNKNOWN
from annobench.score.confidence import PUBLISHED, by_rule
from annobench.score.ranks import COVERAGE, auroc, reliability, risk_coverage
from annobench.score.scored import Scored
from annobench.score.truths import Truths, rolled
from annobench.score.weighted import Ties, share_found, weighted_auroc, weighted_ece, weighted_risk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Mask = NDArray[np.bool_]

    from annobench.fit.decisions import Decisions

ACCEPTED = 0.95  # share of the validation cells above the fair cut
COVERAGES = np.round(np.arange(0.05, 1.0001, 0.05), 2)
_CHUNK = 25  # replicates at a time, which bounds the memory
MIN_EACH = 10  # right and wrong cells that an AUROC of correctness needs
BINS = 25  # of the histograms of confidences
RESAMPLED = ("auroc_correct", "aurc", "selective_accuracy", "ece", "unrelated_tissue_auroc", "unrelated_tissue_found")


@dataclass
class RuleConfidences:
    """Confidences of one fit by one rule.

    Parameters
    ----------
    rule
        Name of the rule.
    test
        Of the test cells, (n,).
    right
        Which test cells are predicted right, (n,).
    validation
        Of the validation cells, (m,); None where there are none.
    unrelated
        Kind of unrelated cells -> their confidences, (k,).
    validation_right
        Which validation cells are predicted right, (m,); None where it is not known.
    """

    rule: str
    test: "Array"
    right: "Mask"
    validation: "Array | None"
    unrelated: Mapping[str, "Array"]
    validation_right: "Mask | None" = None

    def cuts(self) -> dict[str, float]:
        """The cuts that the rule has: `published`, `fair`."""
        cuts = {"published": PUBLISHED[self.rule]} if self.rule in PUBLISHED else {}
        if self.validation is not None and len(self.validation):
            cuts["fair"] = float(np.quantile(self.validation, 1 - ACCEPTED))
        return cuts

    def values(self, bins: int) -> dict[tuple[str, str], float]:
        """(metric, variant) -> value; undefined values are left out."""
        values: dict[tuple[str, str], float] = {}
        if min(self.right.sum(), (~self.right).sum()) >= MIN_EACH:
            values["auroc_correct", "-"] = auroc(self.test, self.right)
        risks = risk_coverage(self.test, self.right)
        values["aurc", "-"] = float(risks.mean())
        values["selective_accuracy", "-"] = 1 - float(risks[max(1, round(COVERAGE * len(risks))) - 1])
        if self.test.min() >= 0 and self.test.max() <= 1:
            parts = reliability(self.test, self.right, bins)
            values["ece", "-"] = sum(abs(a - c) * n for _, a, c, n in parts) / len(self.test)
        for kind, unrelated in self.unrelated.items():
            own = np.r_[np.ones(len(self.test), bool), np.zeros(len(unrelated), bool)]
            values[f"{kind}_auroc", "-"] = auroc(np.r_[self.test, unrelated], own)
        if "unrelated_tissue" in self.unrelated:
            unrelated = self.unrelated["unrelated_tissue"]
            weights = np.ones((1, len(self.test) + len(unrelated)))
            values["unrelated_tissue_found", "-"] = float(share_found(self.test, unrelated, weights)[0])
        for variant, cut in self.cuts().items():
            values["unknown_rate", variant] = float((self.test < cut).mean())
            for kind, unrelated in self.unrelated.items():
                values[f"accepted_{kind}", variant] = float((unrelated >= cut).mean())
        return values

    def replicates(self, weights: "Array", of_unrelated: "Array", bins: int) -> dict[str, "Array"]:
        """Values under random weights, metric -> (replicates,).

        Parameters
        ----------
        weights
            Of the test cells, (replicates, n).
        of_unrelated
            Of unrelated cells, (replicates, at least k).
        bins
            Number of confidence bins.
        """
        parts = [
            self._replicates(weights[start : start + _CHUNK], of_unrelated[start : start + _CHUNK], bins)
            for start in range(0, len(weights), _CHUNK)
        ]
        return {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}

    def _replicates(self, weights: "Array", of_unrelated: "Array", bins: int) -> dict[str, "Array"]:
        values = {}
        if min(self.right.sum(), (~self.right).sum()) >= MIN_EACH:
            values["auroc_correct"] = weighted_auroc(self.test, self.right, weights, self._ties)
        risk = weighted_risk(self.test, self.right, weights, COVERAGE, self._ties)
        values["aurc"], values["selective_accuracy"] = risk
        if self.test.min() >= 0 and self.test.max() <= 1:
            values["ece"] = weighted_ece(self.test, self.right, weights, bins)
        if "unrelated_tissue" in self.unrelated:
            unrelated = self.unrelated["unrelated_tissue"]
            both = np.hstack([weights, of_unrelated[:, : len(unrelated)]])
            own = np.r_[np.ones(len(self.test), bool), np.zeros(len(unrelated), bool)]
            mixed = np.r_[self.test, unrelated]
            values["unrelated_tissue_auroc"] = weighted_auroc(mixed, own, both, self._mixed_ties)
            values["unrelated_tissue_found"] = share_found(self.test, unrelated, both, self._mixed_ties)
        return values

    @cached_property
    def _ties(self) -> Ties:
        return Ties(self.test)

    @cached_property
    def _mixed_ties(self) -> Ties:
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


def compared_rules(
    decisions: "Decisions", scored: Scored, truths: Truths
) -> "tuple[NDArray[np.intp], list[RuleConfidences]]":
    """Every confidence rule on the scored cells that have decision values.

    Validation cells of unknown type are left out. Of a large test set only a sample has decision values.

    Parameters
    ----------
    decisions
        As `read_decisions` gives them.
    scored, truths
        The scored cells.

    Returns
    -------
    Positions of the cells among the scored ones, and one entry per rule.
    """
    part, ids = decisions["part"], decisions["cell_ids"]
    test = np.flatnonzero(part == "test")
    place = positions(to_arrow(ids[test]), truths.ids)
    test, place = test[place >= 0], place[place >= 0]
    order = np.argsort(place, kind="stable")
    at, cells = test[order], place[order]
    if not len(cells):  # none of the few cells with a known label was drawn
        return cells, []
    predicted = rolled(decisions["labels"], truths.rollup, scored.ontology)
    validation = np.flatnonzero(part == "validation")
    row = positions(to_arrow(ids[validation]), truths.validation[0])
    validation, row = validation[row >= 0], row[row >= 0]
    expected = truths.validation[1][row].to_text()
    known = expected != UNKNOWN
    groups = None
    if truths.rollup is not None:
        targets = rolled(decisions["classes"], truths.rollup, scored.ontology)
        names = sorted({*targets, *predicted})
        groups = Groups(Categorical.of(targets).recode(names), Categorical.of(predicted).recode(names))
    right = (predicted[validation] == expected)[known]
    correct = scored.correct[cells]
    return cells, apply_rules(correct, decisions, at=at, validation=validation[known], right=right, groups=groups)


def apply_rules(
    correct: "Mask",
    decisions: "Decisions",
    *,
    at: "NDArray[np.intp]",
    validation: "NDArray[np.intp]",
    right: "Mask",
    groups: Groups | None = None,
) -> list[RuleConfidences]:
    """Confidences by every rule.

    Parameters
    ----------
    correct
        Which test cells are predicted right.
    decisions
        As `read_decisions` gives them.
    at
        Rows of `decisions` that the test cells have.
    validation, right
        Rows of the validation cells with a known label, and which of them are predicted right.
    groups
        Targets of the classes and predictions, where labels are rolled up.
    """
    values, part = decisions["decisions"].astype(np.float64), decisions["part"]
    calibration = Platt(strength(values, groups)[validation], right) if len(validation) else None
    own = decisions["confidence"]
    rules = by_rule(values, None if np.isnan(own[at]).any() else own, calibration, groups)
    return [
        RuleConfidences(
            rule,
            confidence[at],
            correct,
            confidence[validation] if len(validation) else None,
            {kind: confidence[part == kind] for kind in (*KINDS, *ON_REQUEST) if (part == kind).any()},
            right if len(validation) else None,
        )
        for rule, confidence in rules.items()
    ]
