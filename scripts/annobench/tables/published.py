"""A published table, compared with this study."""

from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from annobench.core.errors import DataError
from annobench.core.records import Records, plain
from annobench.tables.shared.confidences import Confidences, confidences_of
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.spec import PublishedColumn, PublishedTable

COLUMNS = {
    "published": (
        "row",
        "metric",
        "unit",
        "column",
        "published",
        "method",
        "here",
        "fair",
        "verdict",
        "reason",
        "source",
    )
}
MEANINGS = {
    "row": "Row of the published table.",
    "unit": "Unit of the published value.",
    "column": "Column of the published table.",
    "published": "The published value.",
    "method": "Method of this study that is compared with the column; empty where there is none.",
    "here": "The metric as it is published, measured here, in the unit of the table.",
    "fair": "Its fair reading, measured here.",
    "verdict": "Verdict of the audit on the metric as it is published.",
    "reason": "Numbers that the verdict rests on.",
    "source": "Where the value is published.",
}
_OF_FILE = ["row", "metric", "rule", "unit", "scale", "column", "value", "source"]
_NOTHING = PublishedColumn(method="", evaluation="")


class _Row(Protocol):
    """A row of the published table."""

    metric: str
    rule: str


def published(context: TableContext) -> pd.DataFrame:
    """A published table, the same metrics measured here, and the verdict of the audit on each row."""
    if context.spec.published is None:
        return pd.DataFrame(columns=COLUMNS["published"])
    return compared(
        context.spec.published,
        context.root / context.spec.published.table,
        markers=context.table("markers"),
        confidences=context.once(confidences_of),
        audit=context.table("audit"),
    )


def compared(
    spec: PublishedTable, file: Path, *, markers: pd.DataFrame, confidences: Confidences, audit: pd.DataFrame
) -> pd.DataFrame:
    """One row per published number.

    Parameters
    ----------
    spec
        What of the study is compared with the table.
    file
        The table: tab-separated, with row, metric, rule, unit, scale, column, value and source. A metric times its
        scale is in the unit of the table.
    markers, audit
        The tables of these names.
    confidences
        What the fits say of confidence rules.

    Raises
    ------
    DataError
        The file has other columns.
    """
    table = _read(file)
    audit = audit[(audit["dataset"] == spec.dataset) & (audit["evaluation"] == spec.evaluation)]
    measured = _Measured(markers, confidences, spec.dataset)
    rows = []
    for row in table.itertuples():
        column = spec.columns.get(row.column, _NOTHING)
        of_metric = audit[(audit["metric"] == row.metric) & (audit["variant"] == "published")]
        of_metric = of_metric[of_metric["rule"] == (row.rule or "-")]
        verdict, reason = ("", "") if of_metric.empty else of_metric[["verdict", "reason"]].iloc[0]
        rows.append(
            {
                **{name: getattr(row, name) for name in ("row", "metric", "unit", "column", "source")},
                "published": row.value,
                "method": column.method,
                "here": measured.value(row, column, "published") * row.scale,
                "fair": measured.value(row, column, "fair") * row.scale,
                "verdict": verdict,
                "reason": reason,
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS["published"])


def _read(file: Path) -> pd.DataFrame:
    """The published table; raises DataError where it is malformed."""
    records = Records.read(file, comment="#")
    table = pd.DataFrame(
        [[plain(field) for field in fields] for _, fields in records], columns=records.names, dtype=str
    )
    if list(table.columns) != _OF_FILE:
        raise DataError(f"{file}: expected the columns {', '.join(_OF_FILE)}, found {list(table.columns)}")
    for column in ("scale", "value"):
        numbers = pd.to_numeric(table[column], errors="coerce")
        wrong = table.loc[numbers.isna(), column]
        if len(wrong):
            raise DataError(f"{file}: {column}: '{wrong.iloc[0]}' in row {wrong.index[0] + 1} is not a number")
        table[column] = numbers
    return table


class _Measured:
    """Metrics of one dataset as they were measured here."""

    def __init__(self, markers: pd.DataFrame, confidences: Confidences, dataset: str) -> None:
        self.markers, self.confidences, self.dataset = markers, confidences, dataset

    def value(self, row: _Row, column: PublishedColumn, reading: str) -> float:
        """The metric of a row in one reading; NaN where there is none."""
        place = (self.dataset, column.evaluation)
        if row.rule:
            evaluation = next((e for e in self.confidences.fits.evaluations if e[:2] == place), None)
            fits = self.confidences.of(column.method, evaluation) if evaluation else []
            mean = self.confidences.measured(fits, (row.rule, "none", row.metric, reading)) if fits else None
            return mean.value if mean else np.nan
        here = self.markers[(self.markers["dataset"] == place[0]) & (self.markers["evaluation"] == place[1])]
        here = here[(here["name"] == column.method) & (here["metric"] == row.metric) & (here["reading"] == reading)]
        return float(here["value"].mean()) if len(here) else np.nan  # as rules: over splits shown apart, too
