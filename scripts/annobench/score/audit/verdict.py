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

Values are means over the splits and seeds of an evaluation. How sure a rule is, the interval of its margin says: of how
much worse the control is than what it is compared with (`annobench.score.audit.margins`).

- `not evidence` of good annotation: for one of the rules the whole interval lies where the rule holds.
- `undecided`: for none of them, but for one it holds in a part of the interval; or a control wins against the best
  method, and it is not sure that any method is better than chance.
- `informative`: every interval excludes that. A margin without interval (one value) is taken for sure.
- `untested`: there was neither a method nor a control to compare.

The margin is against the method that is best on the cells at hand, and chance has a part in that: where twelve methods
are equally good, it is too large by about its standard error, and its lower end lies above the true margin in 18 % of
the cases in place of 2.5 % (simulated, 100 and 400 cells; four methods: 8 %). An interval of the best in every
replicate is no better. So `informative` is least sure where many methods are about as good and a control is close.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan

from annobench.score.audit.controls import NOTHING_KNOWN, made_for
from annobench.score.metric import Metric

INFORMATIVE, NOT_EVIDENCE, UNDECIDED = "informative", "not evidence", "undecided"
COST, DESCRIPTIVE, UNTESTED = "cost", "descriptive", "untested"
COSTS = ("resources", "status")
ACCEPTS_UNRELATED = 0.5
_TIE = 1e-9
METHODS, TRUTH, HALF = "methods", "truth", "half"  # what a margin is against
_CHANCE = {False: "no method does better than chance here", None: "it is not sure that a method beats chance here"}


@dataclass(frozen=True)
class Margin:
    """How much worse a control is than what it is compared with; `low` and `high` are not numbers without interval."""

    margin: float
    low: float = nan
    high: float = nan

    def below(self, *, ties: bool) -> bool | None:
        """Whether the control does better, or as well where `ties` count; None where the interval leaves it open."""
        low, high = (self.low, self.high) if isfinite(self.low) and isfinite(self.high) else (self.margin,) * 2
        if ties:
            return True if high <= _TIE else None if low <= _TIE else False
        return True if high < -_TIE else None if low < -_TIE else False

    @property
    def text(self) -> str:
        """The interval, for people; empty without one."""
        return f", margin {self.low:.3g} to {self.high:.3g}" if isfinite(self.low) else ""


@dataclass(frozen=True)
class Verdict:
    """What a metric is worth.

    Parameters
    ----------
    verdict
        informative, not evidence, undecided, untested, descriptive or cost.
    rule
        The rule that decides, or leaves it open; empty for none.
    reason
        The numbers behind it, in one line.
    at
        The control whose margin decides, or leaves it open, and what that is against; None for no control.
    """

    verdict: str
    rule: str
    reason: str
    at: tuple[str, str] | None = None


def judge(
    metric: Metric,
    controls: Mapping[str, float],
    methods: Sequence[float],
    accepted: Mapping[str, float] | None = None,
    *,
    informed: bool | None = True,
    margins: Mapping[tuple[str, str], Margin] | None = None,
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
        Where none is, losing to such a control says something of the methods and nothing of the metric. None where
        that is not sure.
    margins
        (control, `methods` or `truth`) -> margin with its interval, and (kind of unrelated cells, `half`) -> how far
        the accepted share lies below a half. What is missing is taken from the values.
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
    margins, open_rule = margins or {}, None
    for name, control in of_family.items():
        if name not in losses or control.rule is None:
            continue
        against: dict[str, float] = {}
        if control.blind and informed is not False and best is not None:
            against[METHODS] = best
        if truth is not None:
            against[TRUTH] = truth
        for other, value in against.items():
            margin = margins.get((name, other), Margin(losses[name] - metric.loss(value)))
            won = margin.below(ties=control.blind)
            if won is False:
                continue
            what = f"the best method {value:.3g}" if other == METHODS else f"the truth {value:.3g}"
            reason = f"{name.replace('_', ' ')} {known[name]:.3g}, {what}{margin.text}"
            if won and (informed or other == TRUTH):
                return Verdict(NOT_EVIDENCE, control.rule, reason, (name, other))
            open_rule = open_rule or Verdict(UNDECIDED, control.rule, reason, (name, other))
    for kind, share in (accepted or {}).items():
        if isfinite(share):
            margin = margins.get((kind, HALF), Margin(ACCEPTS_UNRELATED - share))
            won = margin.below(ties=True)
            reason = f"{share:.0%} of {kind.replace('_', ' ')} accepted{margin.text}"
            if won:
                return Verdict(NOT_EVIDENCE, "unrelated cells", reason, (kind, HALF))
            if won is None:
                open_rule = open_rule or Verdict(UNDECIDED, "unrelated cells", reason, (kind, HALF))
    if open_rule:
        return open_rule
    if not set(losses) - {"oracle"} or (truth is None and not of_methods):
        return Verdict(UNTESTED, "", "no control, or nothing to compare it with")
    notes = [] if informed else [_CHANCE[informed]]
    open_rules = [
        control.rule
        for name, control in of_family.items()
        if control.rule not in (None, NOTHING_KNOWN) and name not in losses
    ]
    if open_rules and metric.family != "confidence":
        notes.append(f"not tested: {', '.join(open_rules)}")
    return Verdict(INFORMATIVE, "", "; ".join(notes))
