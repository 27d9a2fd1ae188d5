"""K folds: every cell is tested once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annobench.config.regimes import Entry, Expanded
from annobench.core.errors import DataError
from annobench.splits.held_out import HeldOut

if TYPE_CHECKING:
    from numpy import bool_, intp
    from numpy.random import Generator
    from numpy.typing import NDArray

    from annobench.core.parquet import Categorical


@dataclass(frozen=True, kw_only=True)
class Kfold(HeldOut):
    """One of `folds` parts of the cells is tested: number `fold`, from 1."""

    LABEL = "all labels, k folds"
    VARIES = COLUMNS = ("fold",)

    folds: int
    group_by: str | None
    fold: int

    @classmethod
    def expand(cls, entry: Entry) -> Iterable[Expanded]:
        """One split per fold."""
        return [Expanded(f"_{fold}", {"fold": fold}) for fold in range(1, entry.own["folds"] + 1)]

    def label(self) -> str:
        """Number of the fold."""
        return f"fold {self.fold} of {self.folds}"

    def columns(self) -> list[str]:
        """The column of the groups."""
        return [self.group_by] if self.group_by else []

    def kept_apart(self) -> str | None:
        """No group is trained and tested."""
        return self.group_by

    def test_cells(self, obs: "Mapping[str, Categorical]", seed: int) -> "NDArray[bool_]":
        """The cells of the fold."""
        from annobench.splits.draws import TEST, stream

        labels = obs["label_id"]
        if self.group_by:
            return grouped_folds(labels, obs[self.group_by], self.folds, self.group_by, seed) == self.fold
        return stratified_folds(labels, self.folds, stream(seed, TEST)) == self.fold


def stratified_folds(labels: "Categorical", folds: int, rng: "Generator") -> "NDArray[intp]":
    """Fold 1..folds of every cell: each class is dealt out in turn, starting where the class before it ended."""
    import numpy as np

    from annobench.splits.draws import by_class

    fold = np.zeros(len(labels), dtype=int)
    start = 0
    for rows in by_class(labels, np.ones(len(labels), dtype=bool)):
        fold[rng.permutation(rows)] = (start + np.arange(len(rows))) % folds + 1
        start += len(rows)
    return fold


def grouped_folds(labels: "Categorical", groups: "Categorical", folds: int, column: str, seed: int) -> "NDArray[intp]":
    """Fold 1..folds of every cell, with each group in one fold and the class mix of the folds as even as can be.

    Cells of unknown group are in fold 0.
    """
    import numpy as np
    from sklearn.model_selection import StratifiedGroupKFold

    from annobench.core.parquet import NOT_GIVEN
    from annobench.splits.draws import ranks

    known = np.flatnonzero(~(groups == NOT_GIVEN))
    different = len(groups[known].counts())
    if different < folds:
        raise DataError(
            f"splits: group_by {column}: {different} different values for {folds} folds; use fewer folds, or "
            "group_by: null"
        )
    fold = np.zeros(len(labels), dtype=int)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    codes = ranks(labels)[known]
    for number, (_, test) in enumerate(splitter.split(codes, codes, ranks(groups)[known]), start=1):
        fold[known[test]] = number
    return fold
