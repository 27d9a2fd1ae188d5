"""Promises: texts do not overlap, all numbers are on the axes, looks do not repeat, legends have one order.

Checked on few methods and classes, and on many with long names, among them one that LaTeX would trip over.
"""

import importlib
import io
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from test_figures import OTHERS, SETTINGS, tables

from annobench.config.figures import figure_facts
from annobench.figures.shared.pages import in_rows
from annobench.figures.shared.points import point_intervals
from annobench.figures.shared.style import COLOURS, MARKERS, THEME, Looks, legend_below

LONG = "a network of many words, hierarchical cross-entropy"
CLASS = "CD4-positive, alpha-beta memory T cell of a long name"
NAMED = ("markers", "types", "degs", "spatial", "places")  # tables whose column `name` holds methods
SHOWN = [name for name in OTHERS if name != "perturbation"]  # that has tables of its own
BY_ID = {"classes": "label_id", "error_relations": "label_id", "trees": "label_id"}


def named(i: int) -> str:
    return "costs $x_{$" if i == 2 else f"{LONG} {i}" if i % 3 else f"short {i}"


def larger(methods: int, classes: int) -> dict[str, pd.DataFrame]:
    """The tables of a study with more methods like `one`, and more classes like `cell one`."""
    found = tables()
    for name, table in found.items():
        key = "name" if name in NAMED else "method"
        if key in table and name not in ("splits", "trees"):
            like = table[table[key] == "one"]
            more = [like.assign(**{key: f"m{i}"}) for i in range(methods - 2)]
            if "label" in table and name == "ranking":
                more = [part.assign(label=named(i)) for i, part in enumerate(more)]
            if "score" in table:
                more = [part.assign(score=part["score"] - 0.02 * i) for i, part in enumerate(more)]
            table = pd.concat([table, *more], ignore_index=True)
        found[name] = _more_classes(name, table, classes - 2)
    return found


def _more_classes(name: str, table: pd.DataFrame, n: int) -> pd.DataFrame:
    ids = [(f"CL:{10 + i}", f"{CLASS} {i}" if i % 2 else f"cell {i}") for i in range(n)]
    if name in BY_ID:
        like = table[table["label_id"] == "CL:1"]
        return pd.concat([table, *(like.assign(label_id=key, label=label) for key, label in ids)], ignore_index=True)
    if name == "confusion":
        like = table[table["true"] == "CL:1"]
        return pd.concat([table, *(like.assign(true=key, predicted=key) for key, _ in ids)], ignore_index=True)
    if name == "confusion_depths":
        like = table[(table["true_label"] == "cell one") & (table["depth"] == 2)]
        more = [like.assign(true_label=label, predicted_label=label) for _, label in ids]
        return pd.concat([table, *more], ignore_index=True)
    if name in ("types", "probe_classes"):
        like = table[table["label"] == "cell one"]
        return pd.concat([table, *(like.assign(label_id=key, label=label) for key, label in ids)], ignore_index=True)
    if name == "degs":
        like = table[(table["label"] == "cell one") & (table["gene_of"] == "cell one")]
        more = [like.assign(gene_of=x, gene_of_label=x, gene=f"GENE{i}", label=x) for i, (_, x) in enumerate(ids)]
        return pd.concat([table, *more], ignore_index=True)
    return table


def drawn(name: str, found: dict[str, pd.DataFrame]) -> Figure:
    with plt.rc_context(THEME):
        draw = importlib.import_module(f"annobench.figures.{name}").draw
        read = {t: pd.read_csv(io.StringIO(found[t].to_csv(index=False))) for t in figure_facts(name).tables}
        figure: Figure | None = draw(read, SETTINGS)
        assert figure is not None
        figure.canvas.draw()
    plt.close(figure)
    return figure


def shown_axes(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_visible()]


def shown_texts(figure: Figure) -> Iterator[Text]:
    """All texts that are drawn: no tick labels beyond the limits, no parts of hidden panels."""
    for axes in figure.findobj(Axes):
        if not axes.get_visible():
            continue
        yield from axes.texts
        yield from (axes.title, axes._left_title, axes._right_title)  # type: ignore[attr-defined]
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            if not axes.axison:
                continue
            yield axis.label
            yield from (
                text
                for tick in axis.get_major_ticks()
                for text in (tick.label1, tick.label2)
                if min(limits) - 1e-9 <= tick.get_loc() <= max(limits) + 1e-9
            )
    for part in (figure, *figure.findobj(type(figure.subfigures()))):
        yield from part.texts
        for legend in part.legends:
            yield from [*legend.get_texts(), legend.get_title()]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that lie on each other; slanted ones, whose boxes are larger than they are, are left out."""
    unique = {id(text): text for text in shown_texts(figure)}.values()
    texts = [t for t in unique if t.get_visible() and t.get_text().strip() and t.get_rotation() % 90 == 0]
    boxes = np.array(
        [
            (box.x0 + 1, box.y0 + 1, box.x1 - 1, box.y1 - 1)
            for box in (Text.get_window_extent(t) for t in texts)  # of an annotation without its arrow
        ]
    )
    x = (boxes[:, None, 0] < boxes[None, :, 2]) & (boxes[None, :, 0] < boxes[:, None, 2])
    y = (boxes[:, None, 1] < boxes[None, :, 3]) & (boxes[None, :, 1] < boxes[:, None, 3])
    return [(texts[i].get_text(), texts[j].get_text()) for i, j in zip(*np.triu(x & y, 1).nonzero(), strict=True)]


def outside(axes: Axes) -> list[tuple[float, float]]:
    """Points of an axis that lie beyond its limits."""
    points = [line.get_xydata() for line in axes.lines if line.get_transform() == axes.transData]
    points += [one.get_offsets() for one in axes.collections if isinstance(one, PathCollection)]
    every = np.concatenate([np.asarray(one, dtype=float).reshape(-1, 2) for one in [*points, np.empty((0, 2))]])
    every = every[np.isfinite(every).all(axis=1)]
    (left, right), (low, high) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    within = (every[:, 0] >= left - 1e-6) & (every[:, 0] <= right + 1e-6)
    within &= (every[:, 1] >= low - 1e-6) & (every[:, 1] <= high + 1e-6)
    return [tuple(point) for point in every[~within]]


def legends(figure: Figure) -> list[Legend]:
    parts = [figure, *figure.subfigs, *(sub for part in figure.subfigs for sub in part.subfigs)]
    return [legend for part in parts for legend in part.legends]


def check(name: str, figure: Figure) -> None:
    assert not overlaps(figure)
    for axes in shown_axes(figure):
        assert not outside(axes)
    for legend in legends(figure):
        looks = [
            (one.get_color(), one.get_marker(), one.get_linestyle(), one.get_markerfacecolor())
            for one in legend.legend_handles
            if isinstance(one, Line2D)
        ]
        assert len(set(map(str, looks))) == len(looks)
    for axes in shown_axes(figure):
        words = " ".join(text.get_text() for text in [axes.xaxis.label, axes.yaxis.label, axes.title])
        assert not any(key in words for key in ("_", "CL:", "macro_f1", "kfold"))


@pytest.mark.parametrize("name", SHOWN)
def test_few_methods_and_classes_are_legible(name: str) -> None:
    check(name, drawn(name, larger(3, 5)))


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_many_methods_and_classes_are_legible(name: str) -> None:
    figure = drawn(name, larger(20, 40))
    check(name, figure)
    assert figure.get_figwidth() <= 13


@pytest.mark.slow
def test_legends_name_methods_in_one_order_and_one_look() -> None:
    found = larger(20, 5)
    known = found["ranking"].drop_duplicates("method")["label"].tolist()
    seen: dict[str, list[tuple[str, object]]] = {}
    orders = []
    for name in ("low_label", "pareto", "effects", "marker_validation"):
        for legend in legends(drawn(name, found)):
            labels = [text.get_text() for text in legend.get_texts()]
            of_methods = [(i, label) for i, label in enumerate(labels) if label in known]
            orders.append([label for _, label in of_methods])
            for i, label in of_methods:
                handle = legend.legend_handles[i]
                assert isinstance(handle, Line2D)
                seen.setdefault(label, []).append((str(handle.get_color()), handle.get_marker()))
    first = max(orders, key=len)
    assert len(first) >= 20
    for order in orders:
        assert order == [label for label in first if label in order]
    assert all(len(set(looks)) == 1 for looks in seen.values())
    assert len({looks[0] for looks in seen.values()}) == len(seen)


def test_the_palette_tells_colours_and_markers_apart() -> None:
    assert len(set(COLOURS)) == len(COLOURS) == len(set(MARKERS)) == len(MARKERS)
    names = [f"m{i}" for i in range(len(COLOURS) ** 2)]
    looks = Looks(names, [])
    assert len({tuple(looks.point(name).values()) for name in names}) == len(names)


def test_intervals_are_those_of_the_table_and_seaborn_computes_none() -> None:
    # a value outside of its interval, one without an interval, and no value
    table = pd.DataFrame({"v": [0.5, 0.9, 0.4, None], "y": [0, 1, 2, 3], "low": [0.1, 0.2, None, 0.1]})
    table["high"] = [0.6, 0.3, None, 0.2]
    _, axes = plt.subplots()
    point_intervals(axes, table, x="v", y="y", color="black")
    points, *lines = axes.lines
    assert points.get_xydata().tolist() == [[0.5, 0], [0.9, 1], [0.4, 2]]
    ends = [line.get_xdata().tolist() for line in lines if len(line.get_xdata())]
    assert ends == [[0.1, 0.6], [0.2, 0.3], [0.4, 0.4]]
    plt.close()


def test_a_legend_has_as_many_columns_as_fit_the_figure() -> None:
    with plt.rc_context(THEME):
        figure = plt.figure(figsize=(6, 3), layout="constrained")
        handles = [Line2D([], [], label=f"a rather long name of a method {i}") for i in range(7)]
        legend = legend_below(figure, handles)
        figure.canvas.draw()
        assert legend.get_window_extent().width <= figure.bbox.width
        assert legend._ncols == 2  # type: ignore[attr-defined]
    plt.close()


def test_panels_fill_rows_in_their_order() -> None:
    assert in_rows("abcd", [3, 3, 5, 9], 6) == [["a", "b"], ["c"], ["d"]]
    assert in_rows("", [], 6) == []


def test_the_check_of_overlaps_finds_them() -> None:
    with plt.rc_context(THEME):
        figure = plt.figure()
        axes = figure.subplots()
        axes.text(0.5, 0.5, "one")
        axes.annotate("two", (0.5, 0.51))
        figure.canvas.draw()
    assert overlaps(figure) == [("one", "two")]
    plt.close()
