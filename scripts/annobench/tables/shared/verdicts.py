"""Verdicts of the audit, to look up."""

from collections.abc import Sequence
from typing import Protocol

import pandas as pd

from annobench.score.audit.verdict import COST, COSTS, DESCRIPTIVE, INFORMATIVE, NOT_EVIDENCE, UNDECIDED, UNTESTED
from annobench.score.registry import METRICS


class ScoreRow(Protocol):
    """A row of the scores."""

    metric: str
    label_set: str
    level: str
    group: str


class Verdicts:
    """Verdicts to look up, for the tables that show metrics; `audit` is the table of this name."""

    def __init__(self, audit: pd.DataFrame) -> None:
        keys = ["dataset", "evaluation", "metric", "variant", "rule"]
        self._exact = dict(zip(audit[keys].itertuples(index=False, name=None), audit["verdict"], strict=True))
        self._metric: dict[tuple[str, str, str], str] = {}
        for row in audit[audit["rule"] == "-"].itertuples():
            key = (row.dataset, row.evaluation, row.metric)
            # of several label sets the worst verdict counts for the metric
            self._metric[key] = _worst([row.verdict, self._metric.get(key, row.verdict)])

    def of(self, dataset: str, evaluation: str, metric: str) -> str:
        """The verdict on a metric in an evaluation, or the worst over the study (`all`); empty without an audit."""
        if dataset != "all":
            return self._metric.get((dataset, evaluation, metric), "")
        return _worst([verdict for (_, _, name), verdict in self._metric.items() if name == metric])

    def of_score(self, dataset: str, evaluation: str, row: ScoreRow) -> str:
        """The verdict on a row of the scores."""
        if METRICS[row.metric].family in COSTS:
            return COST
        rule = row.group if row.level == "rule" else "-"
        return self._exact.get((dataset, evaluation, row.metric, row.label_set, rule), "")

    def added_to(self, table: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
        """A table of evaluations with a last column `verdict` on its column `metric`, or on one metric."""
        names = [metric] * len(table) if metric else table["metric"]
        verdicts = [self.of(*key) for key in zip(table["dataset"], table["evaluation"], names, strict=True)]
        return table.assign(verdict=verdicts)


def _worst(verdicts: Sequence[str]) -> str:
    """The verdict that speaks most against a metric; empty for none."""
    order = [NOT_EVIDENCE, UNDECIDED, UNTESTED, INFORMATIVE, DESCRIPTIVE, COST]
    return min(verdicts, key=order.index) if verdicts else ""
