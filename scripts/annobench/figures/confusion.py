"""Confusion: what the best method of each evaluation takes for what."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from annobench.figures.shared.style import SEQUENTIAL, evaluation_title, new_figure, ordered_methods

TABLES = ["ranking", "confusion", "classes", "trees"]
REGIMES = ()
TITLE = "Confusion"
CAPTION = (
    "Share of the cells of each true type (rows) that the best-ranked method of the evaluation gives each label, "
    "over all its "
    "test sets. Types are in the order of the Cell Ontology, so that neighbours are relatives."
)


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """One matrix per evaluation, side by side."""
    ranking = tables["ranking"]
    labels = ordered_methods(ranking)[2]
    best = ranking[(ranking["rank"] == 1) & (ranking["dataset"] != "all")]
    names = tables["classes"].drop_duplicates("label_id").set_index("label_id")["label"].to_dict()
    names |= tables["trees"].drop_duplicates("label_id").set_index("label_id")["label"].to_dict()
    parts = []
    for row in best.itertuples():
        cells = tables["confusion"]
        cells = cells[
            (cells["dataset"] == row.dataset)
            & (cells["evaluation"] == row.evaluation)
            & (cells["method"] == row.method)
        ]
        matrix = cells.pivot(index="true", columns="predicted", values="n").fillna(0)
        order = tree_order(tables["trees"][tables["trees"]["dataset"] == row.dataset])
        rows = [c for c in order if c in matrix.index]
        columns = (
            rows
            + [c for c in order if c in matrix.columns and c not in rows]
            + sorted(set(matrix.columns) - set(order))
        )
        parts.append((row, matrix.reindex(index=rows, columns=columns, fill_value=0)))
    if not parts:
        return None
    widths = [len(m.columns) for _, m in parts]
    figure = new_figure(sum(1.9 + 0.3 * w for w in widths) + 0.6, 2.4 + 0.3 * max(len(m) for _, m in parts))
    for axes, (row, matrix) in zip(
        figure.subplots(1, len(parts), squeeze=False, width_ratios=widths)[0], parts, strict=True
    ):
        share = matrix.div(matrix.sum(axis=1), axis=0)
        image = axes.imshow(share, cmap=SEQUENTIAL, vmin=0, vmax=1)
        for i in range(len(share)):
            for j in range(len(share.columns)):
                value = share.iat[i, j]
                if value >= 0.05:
                    axes.text(
                        j,
                        i,
                        f"{value:.2f}".lstrip("0"),
                        ha="center",
                        va="center",
                        fontsize=6,
                        color="white" if value < 0.5 else "black",
                    )
        axes.set_xticks(range(len(share.columns)), [shorten(names.get(c, c)) for c in share.columns], rotation=90)
        axes.set_yticks(
            range(len(share)), [f"{shorten(names.get(c, c))} ({int(matrix.loc[c].sum())})" for c in share.index]
        )
        axes.tick_params(length=0, labelsize=7)
        axes.spines[:].set_visible(False)
        axes.set_title(f"{evaluation_title(row.dataset, row.evaluation, settings)}\n{labels[row.method]}")
        axes.set_xlabel("predicted")
        axes.set_ylabel("true (cells)")
    bar = figure.colorbar(image, ax=figure.axes, shrink=0.5, pad=0.01, label="share of the true type")
    bar.outline.set_visible(False)
    return figure


def tree_order(tree: pd.DataFrame) -> list[str]:
    """Ids of a tree from top to bottom: parents before children, children by name."""
    children = {
        parent: part.sort_values("label")["label_id"].tolist()
        for parent, part in tree.fillna({"parent": ""}).groupby("parent")
    }
    order: list[str] = []

    def visit(node: str) -> None:
        order.append(node)
        for child in children.get(node, []):
            visit(child)

    for root in children.get("", []):
        visit(root)
    return order


def shorten(label: str, length: int = 34) -> str:
    """A label that fits beside an axis."""
    for long, short in (
        ("-positive", "+"),
        ("-negative", "-"),
        ("alpha-beta", "αβ"),
        ("thymus-derived ", ""),
        ("regulatory", "reg."),
    ):
        label = label.replace(long, short)
    return label if len(label) <= length else label[: length - 1] + "…"
