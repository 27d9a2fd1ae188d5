"""What is promised: each verdict is given where it is right, by the intervals of margins."""

import numpy as np
import pytest

from annobench.core.parquet import Categorical
from annobench.score.audit.margins import Margins, Samples, values_of
from annobench.score.audit.verdict import INFORMATIVE, NOT_EVIDENCE, UNDECIDED, Margin, Verdict, judge
from annobench.score.evidence import Evidence
from annobench.score.registry import METRICS, rows_of
from annobench.score.units import Units
from helpers import scored, toy_ontology

ACCURACY = ("flat", "accuracy", "-", "-")
MACRO = ("flat", "macro_f1", "either", "-")


def verdict(truth: list[str], controls: dict[str, list[str]], methods: dict[str, list[str]]) -> Verdict:
    """The verdict on accuracy, over cells."""
    units = Units("cell", Categorical.of([str(i) for i in range(len(truth))]))
    samples, rows = Samples(toy_ontology()), []
    for kind, of_kind in (("control", {"oracle": truth, **controls}), ("method", methods)):
        for name, labels in of_kind.items():
            evidence = Evidence(scored(truth, labels))
            evidence.units = units
            samples.add((kind, name), ("s", 1), evidence, units)
            for row in rows_of(evidence):
                if row.level == "overall":
                    about = ("s", 1, "training", kind, name)
                    rows.append((*about, row.family, row.metric, row.label_set, "-", row.value))
    values = values_of(rows)
    found = {
        row[4:6]: Margin(*row[6:9]) for row in Margins(values, samples, "cells", 0.95).rows() if row[:4] == ACCURACY
    }
    assert all(np.isfinite(one.low) and one.low <= one.margin <= one.high for one in found.values())
    means = {name: of["s", 1] for (kind, name), of in values[ACCURACY].items() if kind == "control"}
    of_methods = [of["s", 1] for (kind, _), of in values[ACCURACY].items() if kind == "method"]
    return judge(METRICS["accuracy"], means, of_methods, margins=found)


def right(share: float, n: int) -> list[str]:
    return ["A1" if i < round(share * n) else "B" for i in range(n)]


@pytest.mark.parametrize(
    ("n", "control", "method", "expected"),
    [
        (200, 0.5, 0.9, INFORMATIVE),
        (200, 0.9, 0.5, NOT_EVIDENCE),
        (200, 0.895, 0.9, UNDECIDED),
        (12, 0.75, 0.9, UNDECIDED),  # the same margin of few cells
        (400, 0.75, 0.9, INFORMATIVE),
        (50, 0.8, 0.8, NOT_EVIDENCE),  # the same answers: a tie, of which nothing is left open
    ],
)
def test_verdicts_on_cases_that_are_built_for_them(n: int, control: float, method: float, expected: str) -> None:
    answers = right(control, n)
    # a control whose errors are others than those of the method, but where both are the same
    answers = answers if control == method else answers[::-1]
    found = verdict(["A1"] * n, {"random_stratified": answers}, {"m": right(method, n)})
    assert found.verdict == expected, found
    assert found.rule == ("" if expected == INFORMATIVE else "no information")


def test_a_metric_that_is_known_by_its_value_is_resampled_over_seeds_or_splits() -> None:
    def rows(control: list[float], method: list[float]) -> list[tuple[object, ...]]:
        return [
            ("s", seed, "training", kind, name, "markers", "marker_log2fc", "fair", "-", value)
            for kind, name, values in (("control", "shuffled", control), ("method", "m", method))
            for seed, value in enumerate(values)
        ]

    def margin(control: list[float], method: list[float]) -> tuple[object, ...]:
        values = values_of(rows(control, method))
        return next(iter(Margins(values, Samples(toy_ontology()), "cells", 0.95).rows()))

    clear = margin([0.1, 0.12, 0.11], [0.9, 0.91, 0.92])
    assert clear[4:6] == ("shuffled", "methods")
    assert clear[7] > 0
    assert clear[9] == "seeds"
    unclear = margin([0.1, 0.9, 0.5], [0.9, 0.2, 0.7])
    assert unclear[7] < 0 < unclear[8]
    assert np.isnan(margin([0.1], [0.9])[7])  # one value


def test_rules_and_margins() -> None:
    assert Margin(0.1).below(ties=True) is False  # without interval the value decides
    assert Margin(0.0).below(ties=True) is True
    assert Margin(0.0).below(ties=False) is False
    assert Margin(0.1, -0.1, 0.3).below(ties=True) is None
    assert Margin(0.1, 0.0, 0.3).below(ties=True) is None
    assert Margin(0.1, 0.0, 0.3).below(ties=False) is False
    assert Margin(-0.2, -0.3, -0.1).below(ties=False) is True
    high = METRICS["accuracy"]
    controls = {"oracle": 1.0, "majority": 0.6, "shuffled": 0.3}
    sure = {("majority", "methods"): Margin(-0.1, -0.2, -0.05)}
    assert judge(high, controls, [0.5], margins=sure).verdict == NOT_EVIDENCE
    # it is not sure that the methods know anything: losing says something of them
    assert judge(high, controls, [0.5], margins=sure, informed=None).verdict == UNDECIDED
    assert judge(high, controls, [0.5], margins=sure, informed=False).verdict == INFORMATIVE
    # what is sure of a later control counts more than what is open of an earlier one
    both = {("majority", "methods"): Margin(0.1, -0.1, 0.2), ("shuffled", "methods"): Margin(-0.1, -0.2, -0.1)}
    found = judge(high, controls, [0.65], margins=both)
    assert (found.verdict, found.reason) == (NOT_EVIDENCE, "shuffled 0.3, the best method 0.65, margin -0.2 to -0.1")
    rate = METRICS["unknown_rate"]
    for low, high_end, said in ((-0.2, -0.1, NOT_EVIDENCE), (-0.1, 0.1, UNDECIDED), (0.1, 0.3, INFORMATIVE)):
        margin = {("noise", "half"): Margin((low + high_end) / 2, low, high_end)}
        found = judge(rate, {"noise": 0.9}, [0.1], {"noise": 0.5 - (low + high_end) / 2}, margins=margin)
        assert (found.verdict, found.rule) == (said, "" if said == INFORMATIVE else "unrelated cells")
