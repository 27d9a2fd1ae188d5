"""Unseen studies

Score on studies, or organisms, that contribute no training cells; ± is half the width of its interval. Below each
column: the number of test cells, the share of them whose class is missing from the training cells, which no closed-set
method can get right, and what the interval resamples. Controls stand below the methods.
"""

import pandas as pd
from matplotlib.figure import Figure

from annobench.figures.shared.heat import colour_bar, heat, name_rows
from annobench.figures.shared.labels import (
    NOT_EVIDENCE,
    interval_words,
    method_labels,
    ordered_methods,
    primary_axis,
    short_dataset,
    wrapped,
)
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import WIDEST, Tables, new_figure

TABLES = ("ranking", "summary", "splits")
REGIMES = ("cross_study", "pair", "cross_organism")
ORDER = 30
_COLUMN, _WIDTH = 1.45, 20  # inches of a column, letters of a line below it
_GAP = " "  # the empty row between methods and controls


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Heat maps, methods in rows and held-out families in columns; below each other where there are many columns."""
    summary = tables["summary"]
    chosen = summary[
        (summary["metric"] == settings.primary) & summary["regime"].isin(REGIMES) & (summary["split"] != "all")
    ]
    methods, controls = ordered_methods(tables["ranking"], settings)
    labels = method_labels(tables["ranking"])
    columns = list(dict.fromkeys(zip(chosen["dataset"], chosen["split"], strict=True)))
    present = set(chosen["method"])
    of_methods, of_controls = ([m for m in names if m in present] for names in (methods, controls))
    rows = [*of_methods, *([_GAP] if of_methods and of_controls else []), *of_controls]
    if not columns:
        return None
    most = max(1, int((WIDEST - 4.0) / _COLUMN))
    pages = [columns[i : i + most] for i in range(0, len(columns), most)]
    figure = new_figure(3.4 + _COLUMN * max(map(len, pages)), len(pages) * (1.6 + 0.25 * len(rows)))
    grid = figure.subplots(len(pages), 1, squeeze=False)[:, 0]
    verdicts = chosen.drop_duplicates(["dataset", "split"]).set_index(["dataset", "split"])["verdict"]
    doubted = (
        set(verdicts[verdicts == NOT_EVIDENCE].index) if verdicts.nunique() > 1 else set()
    )  # else the axis says it
    values = {column: part.set_index("method") for column, part in chosen.groupby(["dataset", "split"])}
    limits = settings.metric(settings.primary).limits(chosen["value"])
    for axes, page in zip(grid, pages, strict=True):
        table = pd.DataFrame({c: values[c]["value"].reindex(rows) for c in page}, dtype=float)
        notes = pd.DataFrame({c: [_note(values[c], row) for row in rows] for c in page}, index=rows)
        mesh = heat(axes, table, limits=limits, notes=notes, fontsize=7.5)
        names = [_column_label(tables["splits"], settings, c, values[c], doubted=c in doubted) for c in page]
        axes.set_xticks([i + 0.5 for i in range(len(page))], names)
        axes.tick_params(axis="x", labelsize=7.5)
        name_rows(axes, [labels.get(row, "") for row in rows], fontsize=8)
        colour_bar(figure, mesh, [axes], primary_axis(chosen, settings))
    return figure


def _note(values: pd.DataFrame, row: str) -> str:
    """A score and half of its interval; nothing in the gap between methods and controls."""
    if row not in values.index:
        return "" if row == _GAP else "–"
    one = values.loc[row]
    half = (one["high"] - one["low"]) / 2
    return f"{one['value']:.2f}" + (f" ±{half:.2f}" if pd.notna(half) else "")


def _column_label(
    splits: pd.DataFrame, settings: FigureSettings, column: tuple[str, str], rows: pd.DataFrame, *, doubted: bool
) -> str:
    dataset, split = column
    part = splits[(splits["dataset"] == dataset) & (splits["split"] == split)]
    cells, unseen = part["test"].mean(), part["unseen"].mean()
    lines = [
        wrapped(short_dataset(dataset, settings), _WIDTH),
        wrapped(str(part["label"].iloc[0]), _WIDTH),
        f"{cells:,.0f} cells",
        f"{100 * unseen / cells:.0f} % of unseen classes",
        wrapped(f"±: {interval_words(rows, settings)}", _WIDTH + 4),
        *([f"({NOT_EVIDENCE})"] if doubted else []),
    ]
    return "\n".join(lines)
