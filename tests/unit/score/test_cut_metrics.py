"""What is promised: the cut of validation cells is held against test cells and unrelated ones."""

import numpy as np
import pytest

from annobench.core.parquet import Categorical, to_arrow
from annobench.fit.cuts import Ladder
from annobench.fit.decisions import Decisions
from annobench.score.confidence_rules import RuleConfidences
from annobench.score.evidence import Evidence, Rules
from annobench.score.metrics.cuts import compute
from annobench.score.truths import Truths
from helpers import scored

CLASSES = ["A", "A1", "B"]


def evidence(validation: int = 400, **options: object) -> Evidence:
    """Right with the chance that the confidence says; test cells a little worse than validation cells."""
    rng = np.random.default_rng(0)
    n = 300
    sure, of_test = rng.random(validation), rng.random(n)
    right, right_test = rng.random(validation) < sure**0.2, rng.random(n) < of_test**0.3
    rule = RuleConfidences("calibrated", of_test, right_test, sure, {"noise": np.full(50, 0.99)}, right)
    made = Evidence(scored(["A"] * n, np.where(right_test, "A", "B").tolist()))
    made.rules = Rules(np.arange(n), [RuleConfidences("raw", of_test, right_test, None, {}), rule])
    ids = np.array([f"c{i}" for i in range(n + validation)], dtype=object)
    values = rng.normal(size=(len(ids), 3))
    labels = rng.choice(3, len(ids), p=[0.4, 0.3, 0.3])
    values[np.arange(len(ids)), labels] += 2
    names = np.array(CLASSES, dtype=object)[labels]
    names[:3] = ["unknown", "new", "A"]
    part = np.array(["test"] * n + ["validation"] * validation, dtype=object)
    made.decided = Decisions(
        decisions=values,
        classes=np.array(CLASSES, dtype=object),
        cell_ids=ids,
        part=part,
        labels=names,
        confidence=np.full(len(ids), np.nan),
    )
    made.truths = Truths(
        ids=to_arrow(ids[:n]),
        labels=Categorical.of(names[:n]),
        known=names[:n] != "unknown",
        columns={},
        places=np.arange(n),
        cells=len(ids),
        validation=(to_arrow(ids[n:]), Categorical.of(names[n:])),
        training=CLASSES,
        class_sizes={},
    )
    made.given_options = {"cuts": options} if options else {}
    return made


def found(made: Evidence) -> dict[tuple[str, str, str], float]:
    return {(row.metric, row.label_set, row.group): row.value for row in compute(made)}


def test_values_are_those_of_the_cells_above_the_cut() -> None:
    made = evidence(errors=[0.1, 0.2])
    values, rule = found(made), made.rules.confidences[1]
    assert rule.validation is not None
    assert rule.validation_right is not None
    cut = Ladder.of(rule.validation, rule.validation_right).cut(0.2)
    assert cut is not None
    above = rule.test >= cut.confidence
    assert values["cut_confidence", "-", "0.2"] == cut.confidence
    assert values["cut_kept", "-", "0.2"] == above.mean()
    assert values["cut_error", "-", "0.2"] == (~rule.right[above]).mean()
    assert values["cut_accepted", "noise", "0.2"] == 1
    assert values["cut_validation_low", "-", "0.2"] <= cut.error <= values["cut_validation_high", "-", "0.2"]
    assert values["cut_confidence", "-", "0.1"] > values["cut_confidence", "-", "0.2"]


def test_where_no_cut_passes_nothing_is_kept() -> None:
    values = found(evidence(errors=[0.001]))
    assert values["cut_kept", "-", "0.001"] == values["cut_accepted", "noise", "0.001"] == 0
    assert not {("cut_error", "-", "0.001"), ("cut_confidence", "-", "0.001")} & values.keys()
    assert found(evidence(validation=0)) == {}


def test_conformal_sets() -> None:
    values = found(evidence())
    for error in (0.05, 0.1):
        assert values["conformal_coverage", "-", f"{error:g}"] == pytest.approx(1 - error, abs=0.04)
    assert 1 < values["conformal_size", "-", "0.1"] < values["conformal_size", "-", "0.05"] < 3
    assert values["conformal_single", "-", "0.1"] > values["conformal_single", "-", "0.05"] > 0
