"""The verdict on a metric, from its values on controls and on methods.

Rules, in this order; the first that holds decides:

1. A metric without a best value describes (`descriptive`); time, memory, size and status are costs (`cost`).
2. `no information`: a control that knows nothing of the cell scores at least as well as the truth; or as the best
   method, where the methods do know something, that is where one of them has a higher accuracy than every such
   control.
3. `merging`: the true labels with subtypes merged score better than the true labels, though no cell changed its place.
   The yardstick stays: where a metric compares with the truth, that is not merged. Merging truth and predictions alike
   improves nearly every metric, so that numbers of two granularities are not comparable; `effects` shows by how much.
4. `circular`: labels by the highest markers score better than the truth.
5. `unrelated tissue`: a model of another tissue scores at least as well as the best method, where the methods do know
   something, or as the truth.
6. `unrelated cells`: for the share of unknown cells, the same rule with the same cut accepts half or more of noise, of
   shuffled cells or of cells of another tissue (median method).

A metric for which one of 2 to 6 holds is `not evidence` of good annotation. Otherwise it is `informative`, or
`untested` where there was neither a method nor a control to compare. Sampling noise is not judged here: values are
means over the splits and seeds of an evaluation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isinf

from annobench.score.audit.controls import NO_INFORMATION
from annobench.score.metrics.base import Metric

INFORMATIVE, NOT_EVIDENCE = "informative", "not evidence"
COST, DESCRIPTIVE, UNTESTED = "cost", "descriptive", "untested"
COSTS = ("resources", "status")
ACCEPTS_FOREIGN = 0.5
_RULE_OF = {"merged": "merging", "marker_argmax": "circular", "unrelated_tissue": "unrelated tissue"}
_TIE = 1e-9


@dataclass(frozen=True)
class Verdict:
    """What a metric is worth, the rule that says so, and the numbers behind it."""

    verdict: str
    rule: str
    reason: str


def loss(metric: Metric, value: float) -> float:
    """How far a value is from the best one: smaller is better."""
    assert metric.best is not None
    if isinf(metric.best):
        return -value if metric.best > 0 else value
    return abs(value - metric.best)


def judge(
    metric: Metric,
    controls: Mapping[str, float],
    methods: Sequence[float],
    accepted: Mapping[str, float] | None = None,
    *,
    informed: bool = True,
) -> Verdict:
    """The verdict on one metric in one evaluation; values that are not numbers are left out.

    `accepted`: kind of unrelated cells -> share that the rule behind the metric accepts, for a share of unknown cells.
    `informed`: whether a method is more accurate than every control without information; where none is, losing to such
    a control says something of the methods and nothing of the metric.
    """
    if metric.family in COSTS:
        return Verdict(COST, "", "says what a method takes, not whether it is right")
    if metric.best is None:
        return Verdict(DESCRIPTIVE, "", "no value is better than another")
    found = {name: value for name, value in controls.items() if isfinite(value)}
    losses = {name: loss(metric, value) for name, value in found.items()}
    of_methods = sorted(loss(metric, value) for value in methods if isfinite(value))
    best = of_methods[0] if of_methods else None
    truth = losses.get("oracle")

    def said(control: str, than: str, other: float) -> str:
        return f"{control.replace('_', ' ')} {found[control]:.3g}, {than} {other:.3g}"

    def shown(of: float) -> float:
        return next(value for value in methods if isfinite(value) and loss(metric, value) == of)

    for control in NO_INFORMATION:
        if control in losses and best is not None and informed and losses[control] <= best + _TIE:
            return Verdict(NOT_EVIDENCE, "no information", said(control, "the best method", shown(best)))
        if control in losses and truth is not None and losses[control] <= truth + _TIE:
            return Verdict(NOT_EVIDENCE, "no information", said(control, "the truth", found["oracle"]))
    for control, rule in (("merged", "merging"), ("marker_argmax", "circular")):
        if control in losses and truth is not None and losses[control] < truth - _TIE:
            return Verdict(NOT_EVIDENCE, rule, said(control, "the truth", found["oracle"]))
    if "unrelated_tissue" in losses:
        if best is not None and informed and losses["unrelated_tissue"] <= best + _TIE:
            return Verdict(NOT_EVIDENCE, "unrelated tissue", said("unrelated_tissue", "the best method", shown(best)))
        if truth is not None and losses["unrelated_tissue"] <= truth + _TIE:
            return Verdict(NOT_EVIDENCE, "unrelated tissue", said("unrelated_tissue", "the truth", found["oracle"]))
    for kind, share in (accepted or {}).items():
        if isfinite(share) and share >= ACCEPTS_FOREIGN:
            return Verdict(NOT_EVIDENCE, "unrelated cells", f"{share:.0%} of {kind.replace('_', ' ')} accepted")
    if not set(losses) - {"oracle"} or (truth is None and not of_methods):
        return Verdict(UNTESTED, "", "no control, or nothing to compare it with")
    notes = [] if informed else ["no method is more accurate than chance here"]
    open_rules = [rule for control, rule in _RULE_OF.items() if control not in losses]
    if open_rules and metric.family != "confidence":
        notes.append(f"not tested: {', '.join(open_rules)}")
    return Verdict(INFORMATIVE, "", "; ".join(notes))
