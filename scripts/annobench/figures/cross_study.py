"""Unseen studies

Score on studies, or organisms, that contribute no training cells, with the half width of its interval. Below each
column: the number of test cells, and the share whose class is missing from the training cells, which no closed-set
method can get right.
"""

import textwrap

import pandas as pd
from matplotlib.figure import Figure

from annobench.figures.shared.labels import NOT_EVIDENCE, method_labels, ordered_methods, primary_axis
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import SEQUENTIAL, Tables, clean_axes, new_figure

TABLES = ("ranking", "summary", "splits")
REGIMES = ("cross_study", "pair", "cross_organism")
ORDER = 30
_WIDTH = 18  # letters of a line below a column


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A heat map, methods in rows and held-out families in columns."""
    summary = tables["summary"]
    chosen = summary[
        (summary["metric"] == settings.primary) & summary["regime"].isin(REGIMES) & (summary["split"] != "all")
    ]
    methods, controls = ordered_methods(tables["ranking"], settings)
    labels = method_labels(tables["ranking"])
    columns = list(dict.fromkeys(zip(chosen["dataset"], chosen["split"], strict=True)))
    rows = [m for m in [*methods, *controls] if m in set(chosen["method"])]
    if not columns:
        return None
    figure = new_figure(3.2 + 1.25 * len(columns), 1.3 + 0.3 * len(rows))
    axes = figure.subplots()
    values = chosen.set_index(["method", "dataset", "split"])
    grid = pd.DataFrame([[values["value"].get((m, *c)) for c in columns] for m in rows], index=rows, dtype=float)
    low, high = settings.metric(settings.primary).limits(grid.to_numpy().ravel())
    image = axes.imshow(grid, cmap=SEQUENTIAL, vmin=low, vmax=high, aspect="auto")
    for i, method in enumerate(rows):
        for j, column in enumerate(columns):
            if (method, *column) not in values.index:
                axes.text(j, i, "–", ha="center", va="center")
                continue
            row = values.loc[(method, *column)]
            colour = "white" if row["value"] < (low + high) / 2 else "black"
            half = (row["high"] - row["low"]) / 2
            axes.text(
                j,
                i,
                f"{row['value']:.2f}" + (f" ±{half:.2f}" if pd.notna(half) else ""),
                ha="center",
                va="center",
                color=colour,
                fontsize=7.5,
            )
    verdicts = chosen.drop_duplicates(["dataset", "split"]).set_index(["dataset", "split"])["verdict"]
    doubted = (
        set(verdicts[verdicts == NOT_EVIDENCE].index) if verdicts.nunique() > 1 else set()
    )  # else the axis says it
    axes.set_xticks(range(len(columns)), [_column_label(tables["splits"], settings, c, c in doubted) for c in columns])
    axes.set_yticks(range(len(rows)), [labels[m] for m in rows])
    axes.axhline(len([m for m in rows if m in methods]) - 0.5, color="white", linewidth=3)
    clean_axes(axes)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label(primary_axis(chosen, settings))
    bar.outline.set_visible(False)
    return figure


def _column_label(splits: pd.DataFrame, settings: FigureSettings, column: tuple[str, str], doubted: bool) -> str:
    dataset, split = column
    part = splits[(splits["dataset"] == dataset) & (splits["split"] == split)]
    cells, unseen = part["test"].mean(), part["unseen"].mean()
    label = "\n".join(textwrap.wrap(part["label"].iloc[0], _WIDTH))
    name = "\n".join(textwrap.wrap(settings.dataset_label(dataset).split(",")[0], _WIDTH))
    return f"{name}\n{label}\n{cells:.0f} cells\n{unseen / cells:.0%} unseen" + (
        f"\n({NOT_EVIDENCE})" if doubted else ""
    )
