"""The answer of a study: a sentence or two for every evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from annobench.config.standing import NOT_TESTED, TIED, WORSE
from annobench.ontology import UNKNOWN
from annobench.report.names import ALL, Names

EVALUATION = ["dataset", "evaluation"]


@dataclass(frozen=True)
class Answer:
    """Which method comes first in an evaluation, and what that is worth.

    Attributes
    ----------
    place, label
        The evaluation and the method.
    method
        Its name.
    score, low, high, interval_over
        Score and interval; None where there is nothing to resample.
    verdict
        Of the audit on the primary metric.
    tied, untested
        Labels of the methods that the paired tests do not tell apart from it, and of those that were not tested.
    worse
        How many methods are worse.
    baselines
        What is said of the best baseline; empty where the study names none.
    """

    place: str
    method: str
    label: str
    score: float
    low: float | None
    high: float | None
    interval_over: str
    verdict: str
    tied: list[str]
    untested: list[str]
    worse: int
    baselines: str

    @property
    def others(self) -> int:
        """How many other methods have a rank."""
        return len(self.tied) + len(self.untested) + self.worse


@dataclass(frozen=True)
class Predicted:
    """What a method says of a query without labels: number of types, and the shares of the most frequent."""

    place: str
    label: str
    cells: int
    types: int
    most: list[tuple[str, float]]
    unknown: float


def answers(ranking: pd.DataFrame, names: Names) -> list[Answer]:
    """The best-ranked method of every evaluation, and which others the paired tests do not tell apart from it."""
    found = []
    for (dataset, evaluation), part in ranking[ranking["dataset"] != ALL].groupby(EVALUATION, sort=False):
        others = part[part["rank"] > 1]
        for first in part[part["rank"] == 1].head(1).itertuples():
            found.append(
                Answer(
                    place=names.place(dataset, evaluation),
                    method=first.method,
                    label=first.label,
                    score=first.score,
                    low=first.low if pd.notna(first.low) else None,
                    high=first.high if pd.notna(first.high) else None,
                    interval_over=first.interval_over,
                    verdict=first.verdict if pd.notna(first.verdict) else "",
                    tied=others.loc[others["against_best"].isin(TIED), "label"].tolist(),
                    untested=others.loc[others["against_best"] == NOT_TESTED, "label"].tolist(),
                    worse=int((others["against_best"] == WORSE).sum()),
                    baselines=first.baseline_verdict if pd.notna(first.baseline_verdict) else "",
                )
            )
    return found


def unranked(ranking: pd.DataFrame, names: Names) -> list[str]:
    """Evaluations in which no method has a rank."""
    of_places = ranking[ranking["dataset"] != ALL].groupby(EVALUATION, sort=False)["rank"].count()
    return [names.place(*place) for place, n in of_places.items() if not n]


def predictions(types: pd.DataFrame, names: Names, most: int = 4) -> list[Predicted]:
    """What every method says of the queries without labels; the most frequent `most` types by name."""
    found = []
    for (dataset, evaluation, method), part in types.groupby([*EVALUATION, "method"], sort=False):
        known = part[part["label_id"] != UNKNOWN].sort_values("cells", ascending=False, kind="stable")
        found.append(
            Predicted(
                place=names.place(dataset, evaluation),
                label=names.method(method),
                cells=round(part["cells"].sum()),
                types=len(known),
                most=list(zip(known["label"], known["share"], strict=True))[:most],
                unknown=float(part.loc[part["label_id"] == UNKNOWN, "share"].sum()),
            )
        )
    return found


def listed(items: Sequence[str]) -> str:
    """Items in a sentence: `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
