"""How many cells the fits of an evaluation tested, how often each, and whether their types had training cells."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from annobench.core.parquet import Categorical, read_columns
from annobench.ontology import UNKNOWN
from annobench.score.truths import rolled_codes, rollup_of
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import FitFiles
from annobench.tables.shared.spec import ScoredSplit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from annobench.ontology.rollup import Rollup

ALL = "all"


class Drawn(Protocol):
    """What says which cells were tested: a fit, or a row of the scores."""

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        ...

    @property
    def split(self) -> str:
        """Name of the split."""
        ...

    @property
    def seed(self) -> int:
        """Seed of the split."""
        ...


@dataclass(frozen=True)
class Draw:
    """A split with its seed: what decides which cells train and which are tested."""

    dataset: str
    split: str
    seed: int


@dataclass(frozen=True)
class Times:
    """Test cells of some fits, by true label.

    Attributes
    ----------
    distinct
        Label -> test cells, each counted once however many fits test it.
    tests
        Label -> test cells of all fits, summed: a cell counts every time that it is tested.
    """

    distinct: dict[str, int] = field(default_factory=dict)
    tests: dict[str, int] = field(default_factory=dict)

    def share(self, label: str) -> float:
        """What one test of a cell of a label counts, so that every cell counts once; NaN where none is known."""
        return self.distinct[label] / self.tests[label] if self.tests.get(label) else nan

    @property
    def overall(self) -> float:
        """The same over all labels."""
        return sum(self.distinct.values()) / sum(self.tests.values()) if self.tests else nan


class Tested:
    """The test and training cells of the fits of a study; made once for all tables, with `context.once`.

    Parameters
    ----------
    context
        The study.
    """

    def __init__(self, context: TableContext) -> None:
        self._context = context
        self._splits: dict[tuple[str, str], ScoredSplit] = {(s.dataset, s.split): s for s in context.spec.splits}
        self._labels: tuple[str, Categorical] | None = None
        self._times: dict[tuple[str, frozenset[tuple[str, int]]], Times] = {}
        self._trained: dict[tuple[str, str, int], set[str] | None] = {}

    def group(self, dataset: str, split: str) -> str:
        """What splits of one evaluation are taken together as: `all`, or the name of one that is shown by itself."""
        known = self._splits.get((dataset, split))
        return split if known and not known.pooled else ALL

    def apart(self, fits: Iterable[FitFiles]) -> dict[str, list[FitFiles]]:
        """Fits of one method and evaluation by what their splits are taken together as."""
        groups: dict[str, list[FitFiles]] = {}
        for fit in fits:
            groups.setdefault(self.group(fit.dataset, fit.split), []).append(fit)
        return groups

    def grouped(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of the scores whose split is what they are taken together as; that of the fit is in `draw`."""
        if rows.empty:
            return rows
        drawn = zip(rows["dataset"], rows["split"], strict=True)
        return rows.assign(draw=rows["split"], split=[self.group(*one) for one in drawn])

    def times(self, fits: Iterable[Drawn]) -> Times:
        """How many cells some fits of one dataset and evaluation test; empty where a file of the splits is gone."""
        draws = list(fits)
        key = (draws[0].dataset, frozenset((fit.split, int(fit.seed)) for fit in draws))
        # of one draw all fits test the same cells: they count once for every seed, not for every method
        if key not in self._times:
            self._times[key] = self._counted(key[0], sorted(key[1]))
        return self._times[key]

    def trained(self, fit: Drawn) -> set[str] | None:
        """Labels of the training cells, rolled up; None where no cell trains, or the file is gone."""
        split = self._splits.get((fit.dataset, fit.split))
        fitted = split.fitted if split else fit.split
        key = (fit.dataset, fit.split, int(fit.seed))
        if key not in self._trained:
            path = Path(self._context.results.train(fit.dataset, fitted, key[2]))
            self._trained[key] = None
            if path.is_file():
                labels = read_columns(path, ["label_id"], categorical=["label_id"])["label_id"]
                found = set(rolled_codes(labels, self._rule(fit.dataset, fit.split), self._context.ontology).counts())
                self._trained[key] = found - {UNKNOWN} if len(labels) else None
        return self._trained[key]

    def n_trained(self, fits: Sequence[Drawn], label: str) -> float:
        """In how many of some fits training cells have a label; NaN where no cell trains."""
        known = [found for fit in fits if (found := self.trained(fit)) is not None]
        return sum(label in found for found in known) if len(known) == len(fits) else nan

    def _counted(self, dataset: str, draws: Sequence[tuple[str, int]]) -> Times:
        paths = [Path(self._context.results.roles(dataset, split, seed)) for split, seed in draws]
        if not all(path.is_file() for path in [*paths, Path(self._context.results.obs(dataset))]):
            return Times()
        labels = rolled_codes(self._labels_of(dataset), self._rule(dataset, draws[0][0]), self._context.ontology)
        often = np.zeros(len(labels), dtype=np.int32)
        for path in paths:
            often += read_columns(path, ["role"], categorical=["role"])["role"] == "test"
        once: NDArray[np.bool_] = often > 0
        tests = np.bincount(labels.codes[once], weights=often[once], minlength=len(labels.names))
        distinct = labels[once].counts()
        of = dict(zip(labels.names, tests.astype(int).tolist(), strict=True))
        named = [label for label in distinct if label != UNKNOWN]
        return Times({label: distinct[label] for label in named}, {label: of[label] for label in named})

    def _labels_of(self, dataset: str) -> Categorical:
        """Labels of a dataset; only those of the last one are kept."""
        if self._labels is None or self._labels[0] != dataset:
            obs = self._context.results.obs(dataset)
            self._labels = (dataset, read_columns(obs, ["label_id"], categorical=["label_id"])["label_id"])
        return self._labels[1]

    def _rule(self, dataset: str, split: str) -> "Rollup | None":
        known = self._splits.get((dataset, split))
        rule = self._context.spec.rollups[known.rollup] if known and known.rollup else None
        return rollup_of(rule, self._context.ontology)
