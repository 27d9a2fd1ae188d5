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
5. `unrelated tissue`: a model of an unrelated tissue scores at least as well as the best method, where the methods do
   know something, or as the truth.
6. `batch alone`, `depth alone`: an embedding of nothing but the batch, or the depth, of a cell does as well as the best
   method, or as one of nothing but the labels.
7. `unrelated cells`: for the share of unknown cells, the same rule with the same cut accepts half or more of noise, of
   shuffled cells or of cells of an unrelated tissue (median method).
7. Of predicted expression: `no effect`, `mean effect`, `wrong condition` and `wrong direction`. The mean of the
   controls, the mean effect of the training conditions, the cells of another condition or the effect turned round score
   at least as well as the truth, which is a technical duplicate; or as the best method, where one of them tells
   conditions apart better than every such control.

A metric for which one of 2 to 7 holds is `not evidence` of good annotation. Otherwise it is `informative`, or
`untested` where there was neither a method nor a control to compare. Sampling noise is not taken into account: values
are means over the splits and seeds of an evaluation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from annobench.score.audit.controls import NOTHING_KNOWN, made_for
from annobench.score.metric import Metric

INFORMATIVE, NOT_EVIDENCE = "informative", "not evidence"
COST, DESCRIPTIVE, UNTESTED = "cost", "descriptive", "untested"
COSTS = ("resources", "status")
ACCEPTS_UNRELATED = 0.5
_TIE = 1e-9


@dataclass(frozen=True)
class Verdict:
    """What a metric is worth.

    Parameters
    ----------
    verdict
        informative, not evidence, untested, descriptive or cost.
    rule
        The rule that decides; empty for none.
    reason
        The numbers behind it, in one line.
    """

    verdict: str
    rule: str
    reason: str


def judge(
    metric: Metric,
    controls: Mapping[str, float],
    methods: Sequence[float],
    accepted: Mapping[str, float] | None = None,
    *,
    informed: bool = True,
) -> Verdict:
    """The verdict on one metric in one evaluation, by the rules of this module.

    Parameters
    ----------
    metric
        Its best value decides what is better.
    controls
        Control -> value; values that are not numbers are left out.
    methods
        Values of the methods.
    accepted
        Of a share of unknown cells: kind of unrelated cells -> share that the rule behind the metric accepts.
    informed
        Whether a method is more accurate than every control without information, or tells conditions apart better.
        Where none is, losing to such a control says something of the methods and nothing of the metric.
    """
    if metric.family in COSTS:
        return Verdict(COST, "", "says what a method takes, not whether it is right")
    if metric.best is None:
        return Verdict(DESCRIPTIVE, "", "no value is better than another")
    of_family = made_for(metric.family)
    known = {name: value for name, value in controls.items() if name in of_family and isfinite(value)}
    losses = {name: metric.loss(value) for name, value in known.items()}
    of_methods = [value for value in methods if isfinite(value)]
    best = min(of_methods, key=metric.loss, default=None)
    truth = known.get("oracle")
    for name, control in of_family.items():
        if name not in losses or control.rule is None:
            continue
        won = None
        if control.blind and informed and best is not None and losses[name] <= metric.loss(best) + _TIE:
            won = f"the best method {best:.3g}"
        elif truth is not None and losses[name] < metric.loss(truth) + (_TIE if control.blind else -_TIE):
            won = f"the truth {truth:.3g}"
        if won:
            return Verdict(NOT_EVIDENCE, control.rule, f"{name.replace('_', ' ')} {known[name]:.3g}, {won}")
    for kind, share in (accepted or {}).items():
        if isfinite(share) and share >= ACCEPTS_UNRELATED:
            return Verdict(NOT_EVIDENCE, "unrelated cells", f"{share:.0%} of {kind.replace('_', ' ')} accepted")
    if not set(losses) - {"oracle"} or (truth is None and not of_methods):
        return Verdict(UNTESTED, "", "no control, or nothing to compare it with")
    notes = [] if informed else ["no method does better than chance here"]
    open_rules = [
        control.rule
        for name, control in of_family.items()
        if control.rule not in (None, NOTHING_KNOWN) and name not in losses
    ]
    if open_rules and metric.family != "confidence":
        notes.append(f"not tested: {', '.join(open_rules)}")
    return Verdict(INFORMATIVE, "", "; ".join(notes))
