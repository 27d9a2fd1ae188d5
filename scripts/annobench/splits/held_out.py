"""Regimes that hold test cells out: all other cells with a known label train, but for a share that selects."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annobench.config.regimes import Regime

if TYPE_CHECKING:
    from numpy import bool_, object_
    from numpy.typing import NDArray

    from annobench.core.parquet import Categorical


@dataclass(frozen=True, kw_only=True)
class HeldOut(Regime):
    """Base class of regimes that say which cells are tested.

    Cells of unknown label never train; as test cells they are predicted, and scoring decides what becomes of them.

    Attributes
    ----------
    val_fraction
        Share of the remaining cells of each class that serves model selection.
    """

    val_fraction: float

    @abstractmethod
    def test_cells(self, obs: "Mapping[str, Categorical]", seed: int) -> "NDArray[bool_]":
        """Which cells are tested."""

    def train_cells(self, obs: "Mapping[str, Categorical]", test: "NDArray[bool_]") -> "NDArray[bool_]":
        """Which cells may train or select: all cells of known label that are not tested."""
        from annobench.ontology import UNKNOWN

        return ~(test | (obs["label_id"] == UNKNOWN))

    def assign(self, obs: "Mapping[str, Categorical]", seed: int) -> "NDArray[object_]":
        """Test cells first, then validation cells among the others."""
        import numpy as np

        from annobench.core.parquet import NOT_GIVEN
        from annobench.splits.draws import VAL, share_of_each_class, stream

        labels, test = obs["label_id"], self.test_cells(obs, seed)
        train, val = self.train_cells(obs, test), np.zeros(len(labels), dtype=bool)
        if group_by := self.kept_apart():  # cells of unknown donor could be of a donor that is tested
            train &= ~(obs[group_by] == NOT_GIVEN)
        if self.val_fraction:
            val[share_of_each_class(labels, train, self.val_fraction, stream(seed, VAL))] = True
        train &= ~val
        roles = np.full(len(labels), "unused", dtype=object)
        for role, cells in (("train", train), ("val", val), ("test", test)):
            roles[cells] = role
        return roles
