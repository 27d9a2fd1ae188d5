"""What is promised: metrics are drawn on one scale, from no effect to a technical duplicate, with the verdict."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from annobench.config.controls import CONTROLS
from annobench.figures.perturbation import LIMITS, Scale, draw
from annobench.figures.shared.settings import FigureSettings

PLACE = {"dataset": "d", "evaluation": "conditions", "regime": "conditions"}
SETTINGS = FigureSettings(
    title="t", primary="discrimination", metrics={}, datasets={"d": "Data"}, evaluations={"d/conditions": "unseen"}
)


def tables(**audit: Any) -> dict[str, pd.DataFrame]:
    values = {"linear": 0.8, "control_mean": 0.5, "failed": np.nan}
    summary = [
        {
            **PLACE,
            "split": "all",
            "method": name,
            "metric": metric,
            "value": value,
            "low": value - 0.1,
            "high": value + 9,
        }
        for metric in ("discrimination", "mse_expression")
        for name, value in values.items()
    ]
    controls = {
        "oracle": 1.0,
        "control_mean": 0.5,
        "perturbed_mean": 0.6,
        "shuffled_conditions": 0.4,
        "sign_flipped": 0.0,
    }
    verdicts = [
        {"metric": "discrimination", "verdict": "informative", "because": np.nan},
        {"metric": "mse_expression", "verdict": "not evidence", "because": "mean effect"},
    ]
    rows = [
        {**PLACE, "family": "perturbation", **dict.fromkeys(CONTROLS, np.nan), **controls, **v, **audit}
        for v in verdicts
    ]
    kinds = {"linear": "method", "control_mean": "control", "failed": "method"}
    ranking = [
        {**PLACE, "method": m, "label": m.title(), "kind": k, "score": values[m], "rank": 1} for m, k in kinds.items()
    ]
    return {"summary": pd.DataFrame(summary), "audit": pd.DataFrame(rows), "ranking": pd.DataFrame(ranking)}


def test_the_scale() -> None:
    higher, lower = Scale(0.5, 0.4, 0.9), Scale(3.0, 4.0, 2.0)
    assert (higher.of(0.5), higher.of(0.75), higher.of_control(0.9)) == pytest.approx((0, 0.5, 1))
    assert (lower.of(3.0), lower.of(2.0), lower.of_control(2.0)) == pytest.approx((0, 0.5, 1))


def test_what_is_drawn() -> None:
    figure = draw(tables(), SETTINGS)
    assert figure is not None
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["✓", "mean effect"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["discrimination", "mse expression"]
    assert axes.get_title() == "Data\nunseen"
    points = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert len(points) == 2 * (3 + 1)  # three controls and the one method that has values
    assert all(LIMITS[0] <= x <= LIMITS[1] for line in axes.lines for x in np.atleast_1d(line.get_xdata()))
    (legend,) = figure.legends
    assert "Linear" in [text.get_text() for text in legend.get_texts()]
    assert "Failed" not in [text.get_text() for text in legend.get_texts()]


def test_without_an_audit_of_perturbations_there_is_no_figure() -> None:
    assert draw(tables(family="flat"), SETTINGS) is None
    same = draw(tables(oracle=0.5), SETTINGS)  # no scale: the duplicate is no better than nothing
    assert same is not None
    assert not [line for line in same.axes[0].lines if line.get_linestyle() == "None"]
