"""A published table beside what the same recipe gives here, and what the audit says of each of its rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from annobench.core.errors import DataError
from annobench.tables.confidence import Confidences

COLUMNS = ["row", "metric", "unit", "column", "published", "method", "here", "fair", "verdict", "reason", "source"]
_NEEDED = ["row", "metric", "rule", "unit", "scale", "column", "value", "source"]


def published(
    settings: Mapping[str, Any] | None, markers: pd.DataFrame, confidences: Confidences, audit: pd.DataFrame
) -> pd.DataFrame:
    """One row per published number.

    `settings` has table (a TSV file with row, metric, rule, unit, scale, column, value, source), dataset, evaluation
    and columns (column -> method and evaluation). `here` is the metric as published, `fair` its fair reading; both in
    the unit of the table (value times scale). The verdict is that on the published reading. Raises DataError for a
    malformed table.
    """
    if settings is None:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.read_csv(settings["table"], sep="\t", keep_default_na=False, comment="#")
    if list(table.columns) != _NEEDED:
        raise DataError(f"{settings['table']}: expected the columns {', '.join(_NEEDED)}, found {list(table.columns)}")
    audit = audit[(audit["dataset"] == settings["dataset"]) & (audit["evaluation"] == settings["evaluation"])]
    rows = []
    for row in table.itertuples():
        column = settings["columns"].get(row.column, {"method": "", "evaluation": ""})
        method, place = column["method"], (settings["dataset"], column["evaluation"])
        here = {
            reading: _value(row, method, reading, place, markers, confidences) * row.scale
            for reading in ("published", "fair")
        }
        said = audit[(audit["metric"] == row.metric) & (audit["variant"] == "published")]
        said = said[said["rule"] == (row.rule or "-")]
        verdict, reason = ("", "") if said.empty else said[["verdict", "reason"]].iloc[0]
        rows.append(
            {
                **{"row": row.row, "metric": row.metric, "unit": row.unit, "column": row.column},
                **{"published": row.value, "method": method, "here": here["published"], "fair": here["fair"]},
                **{"verdict": verdict, "reason": reason, "source": row.source},
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _value(
    row: Any, method: str, reading: str, place: tuple[str, str], markers: pd.DataFrame, confidences: Confidences
) -> float:
    """The metric of a method in one reading; NaN where there is none."""
    if row.rule:
        evaluation = next((e for e in confidences.fits.evaluations if e[:2] == place), None)
        fits = confidences.of(method, evaluation) if evaluation else []
        found = confidences.measured(fits, (row.rule, "none", row.metric, reading)) if fits else None
        return found.value if found else np.nan
    here = markers[(markers["dataset"] == place[0]) & (markers["evaluation"] == place[1])]
    here = here[(here["name"] == method) & (here["metric"] == row.metric) & (here["reading"] == reading)]
    return float(here["value"].iloc[0]) if len(here) else np.nan
