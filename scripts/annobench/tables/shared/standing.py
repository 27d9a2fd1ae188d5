"""What the paired tests say of places in the ranking: against the best method, and against the best baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import pandas as pd

from annobench.config.standing import BEST, NOT_APART, NOT_TESTED, SAME, WORSE
from annobench.score.metric import Metric

DIGITS = 9  # scores that differ by less are the same: what is left is rounding
_PLACE = ["dataset", "evaluation"]


@dataclass(frozen=True)
class Compared:
    """A row of the tests: first method minus second, with its interval, and the corrected p-value."""

    difference: float
    low: float
    high: float
    p_holm: float

    @property
    def reversed(self) -> "Compared":
        """Second method minus first."""
        return Compared(-self.difference, -self.high, -self.low, self.p_holm)

    @property
    def apart(self) -> bool:
        """Whether there is an interval, and 0 lies outside of it."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Ranked:
    """A method that has a rank in an evaluation."""

    method: str
    label: str
    score: float


class Standing:
    """How ranked methods stand to each other.

    Parameters
    ----------
    ranking
        Ranked methods of every evaluation, with controls and methods without a rank.
    tests
        Paired tests.
    metric
        The primary metric.
    alpha
        Corrected p-values above it tell no methods apart.
    """

    def __init__(self, ranking: pd.DataFrame, tests: pd.DataFrame, metric: Metric, alpha: float) -> None:
        self.metric, self.alpha = metric, alpha
        self.ranking = ranking
        self.ranked: dict[tuple[str, str], list[Ranked]] = {}
        for row in ranking[ranking["rank"].notna()].sort_values("rank", kind="stable").itertuples():
            of = self.ranked.setdefault((row.dataset, row.evaluation), [])
            of.append(Ranked(row.method, row.label, row.score))
        self._pairs: dict[tuple[str, str, str, str], Compared] = {}
        for row in tests.itertuples():
            found = Compared(row.difference, row.low, row.high, row.p_holm)
            self._pairs[row.dataset, row.evaluation, row.method_a, row.method_b] = found
            self._pairs[row.dataset, row.evaluation, row.method_b, row.method_a] = found.reversed

    def p_against_best(self) -> list[float | None]:
        """Corrected p-value of every row against the best method; None for that one and where there is no test."""
        return [one.p_holm if (one := self._with_best(place, method)) else None for place, method, _ in self._rows()]

    def against_best(self) -> list[str]:
        """Every row in words; empty without a rank, and over the study."""
        words = []
        for place, method, has_rank in self._rows():
            if not has_rank or place[0] == "all":
                words.append("")
                continue
            best, compared = self.ranked[place][0], self._with_best(place, method)
            mine = next(one for one in self.ranked[place] if one.method == method)
            if method == best.method:
                words.append(BEST)
            elif self._loss(mine) == self._loss(best):
                words.append(SAME)
            elif compared is None:
                words.append(NOT_TESTED)
            else:
                words.append(WORSE if compared.apart and compared.p_holm <= self.alpha else NOT_APART)
        return words

    def on_baselines(self, baselines: Sequence[str]) -> list[str]:
        """For every row the sentence on the baselines of its evaluation; empty without any, and over the study."""
        places = dict.fromkeys(place for place, _, _ in self._rows())
        said = {place: "" if place[0] == "all" else self._sentence(place, baselines) for place in places}
        return [said[place] if baselines else "" for place, _, _ in self._rows()]

    def _rows(self) -> "list[tuple[tuple[str, str], str, bool]]":
        table = self.ranking
        places = zip(*(table[name] for name in _PLACE), strict=True)
        return list(zip(places, table["method"], table["rank"].notna(), strict=True))

    def _with_best(self, place: tuple[str, str], method: str) -> Compared | None:
        ranked = self.ranked.get(place)
        return self._pairs.get((*place, method, ranked[0].method)) if ranked else None

    def _loss(self, one: Ranked) -> float:
        return round(self.metric.loss(one.score), DIGITS)

    def _sentence(self, place: tuple[str, str], baselines: Sequence[str]) -> str:
        """Whether a method is better than the best baseline: both are the first by rank."""
        ranked = self.ranked.get(place, [])
        base = next((one for one in ranked if one.method in baselines), None)
        other = next((one for one in ranked if one.method not in baselines), None)
        if base is None or other is None:
            return f"no verdict: no {'baseline' if base is None else 'other method'} finished all its fits"
        if self._loss(other) >= self._loss(base):
            return f"baseline wins: no other method is better than {base.label} ({self._number(base.score)})"
        compared = self._pairs.get((*place, other.method, base.method))
        against = f"the best baseline {base.label}"
        if compared is None or not isfinite(compared.low):
            return f"not shown to be better: {other.label} against {against}, without an interval"
        gain = compared if self.metric.best == self.metric.high else compared.reversed
        number, low, high = map(self._number, (gain.difference, gain.low, gain.high))
        if gain.low <= 0 or self.metric.best not in (self.metric.low, self.metric.high):
            return f"not shown to be better: {other.label} against {against} by {number} [{low}, {high}]"
        caveat = "" if gain.p_holm <= self.alpha else "; not after correction for all pairs of methods"
        return f"{other.label} is better than {against} by {number} [{low}, {high}]{caveat} (p = {gain.p_holm:.2g})"

    def _number(self, value: float) -> str:
        return f"{value:.3f}" if isfinite(self.metric.high) else f"{value:.3g}"
