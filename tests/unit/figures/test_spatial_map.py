"""Promises: a map shows right and wrong only where there is a truth, and its axes name the unit of the dataset."""

from dataclasses import replace

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Text

from annobench.figures import spatial_map
from annobench.figures.shared.settings import FigureSettings
from annobench.workflow.figures import coordinate_units
from annobench.workflow.launch import resolve

SETTINGS = FigureSettings("A title", "macro_f1", {}, {"q": "A query"}, {"q/pair": "pair"})
# one is better over the study, two comes first in the table of cells
RANKING = [("all", "all", "one", 1, "One"), ("all", "all", "two", 2, "Two"), ("q", "pair", "one", None, "One")]


def tables(truth: list[str]) -> dict[str, pd.DataFrame]:
    rows = [
        ("q", "pair", name, f"c{i}", float(i), float(i % 2), true, "T cell", 0.1 * i)
        for name in ("two", "one")
        for i, true in enumerate(truth)
    ]
    spatial = ["dataset", "evaluation", "name", "cell_id", "x", "y", "true", "predicted", "confidence"]
    ranking = ["dataset", "evaluation", "method", "rank", "label"]
    return {"spatial": pd.DataFrame(rows, columns=spatial), "ranking": pd.DataFrame(RANKING, columns=ranking)}


def drawn(truth: list[str], settings: FigureSettings = SETTINGS) -> tuple[Figure, set[str]]:
    figure = spatial_map.draw(tables(truth), settings)
    assert figure is not None
    figure.canvas.draw()
    plt.close(figure)
    return figure, {text.get_text() for text in figure.findobj(Text) if text.get_visible()}


def test_a_query_without_labels_has_neither_truth_nor_errors() -> None:
    figure, words = drawn(["unknown"] * 4)
    maps = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in maps] == ["One\nno cell has a known type", "Confidence"]
    assert not [word for word in words if word.startswith(("Errors", "Truth"))]
    assert "unknown" not in words  # no type of that name is in the legend


def test_cells_without_a_known_type_are_neither_right_nor_wrong() -> None:
    # of five cells three have a type, and one of these is called another
    figure, words = drawn(["T cell", "T cell", "B cell", "unknown", "unknown"])
    assert {"Errors: 33 % of 3 cells", "Truth (2 of 5 cells unknown)"} <= words
    wrong = next(axes for axes in figure.axes if axes.get_title().startswith("Errors"))
    assert len(wrong.collections[0].get_offsets()) == 3


@pytest.mark.parametrize(("units", "expected"), [({"q": "µm"}, "x (µm)"), ({}, "x (unit not stated)")])
def test_axes_name_the_unit(units: dict[str, str], expected: str) -> None:
    _, words = drawn(["T cell", "B cell"], replace(SETTINGS, units=units))
    assert {expected, expected.replace("x", "y")} <= words


def test_units_are_those_that_datasets_state_and_a_pair_has_that_of_its_query() -> None:
    study = resolve("spatial")
    base = study.datasets["merfish_lung"]
    states = {**base, "spatial": True, "spatial_unit": "µm"}
    pair = {**base, "spatial": False, "spatial_unit": None, "pair": {"references": ["b"], "query": "a"}}
    datasets = {"a": states, "b": {**states, "spatial_unit": None}, "c": pair}
    assert coordinate_units(replace(study, datasets=datasets)) == {"a": "µm", "c": "µm"}
