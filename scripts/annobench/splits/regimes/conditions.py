"""Conditions: whole perturbations are tested, the control cells and the other perturbations train."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annobench.config.names import CONDITION
from annobench.config.regimes import Entry, Expanded
from annobench.core.errors import ConfigError, DataError, nearest
from annobench.splits.held_out import HeldOut

if TYPE_CHECKING:
    from numpy import bool_
    from numpy.typing import NDArray

    from annobench.core.parquet import Categorical


@dataclass(frozen=True, kw_only=True)
class Conditions(HeldOut):
    """The conditions `held_out` are tested, or those of one of `folds` parts: number `fold`, from 1.

    Cells of the condition `control` always train; cells without a condition do not.
    """

    LABEL = "unseen conditions"
    LEARNS_LABELS = False
    LISTS = ("held_out",)
    VARIES = ("fold",)
    COLUMNS = ("fold",)

    control: str
    folds: int
    fold: int
    held_out: tuple[str, ...] = ()

    @classmethod
    def check(cls, entry: Entry) -> None:
        """The dataset declares what the control is, and the control is not held out."""
        if entry.control is None:
            raise ConfigError(
                f"regime conditions needs `perturbation` in config/datasets/{entry.dataset}.yaml, which says what the "
                "conditions and the control are"
            )
        if entry.control in entry.own.get("held_out", []):
            raise ConfigError(
                f"held_out: '{entry.control}' is the control of '{entry.dataset}', from which effects are measured; "
                "hold out other conditions"
            )

    @classmethod
    def expand(cls, entry: Entry) -> Iterable[Expanded]:
        """One split per fold, or one for the conditions that are named."""
        control: dict[str, object] = {"control": entry.control}
        if held_out := entry.own.get("held_out"):
            return [Expanded("_heldout", {**control, "held_out": held_out, "fold": 1})]
        control["held_out"] = ()
        return [Expanded(f"_{fold}", {"fold": fold, **control}) for fold in range(1, entry.own["folds"] + 1)]

    def label(self) -> str:
        """Number of the fold, or the conditions."""
        return ", ".join(self.held_out) or f"fold {self.fold} of {self.folds}"

    def columns(self) -> list[str]:
        """The conditions."""
        return [CONDITION]

    def kept_apart(self) -> str | None:
        """No condition is trained and tested; cells of unknown condition are in neither."""
        return CONDITION

    def test_cells(self, obs: "Mapping[str, Categorical]", seed: int) -> "NDArray[bool_]":
        """The cells of the tested conditions."""
        conditions = obs[CONDITION]
        tested: NDArray[bool_] = conditions.recode(self._tested(conditions, seed)) >= 0
        return tested

    def check_leaks(self, obs: "Mapping[str, Categorical]", seen: "NDArray[bool_]") -> None:
        """Control cells train, and no cell of a condition that is held out does."""
        conditions = obs[CONDITION]
        if not (seen & (conditions == self.control)).any():
            raise DataError(
                f"splits: conditions: no control cell ('{self.control}') is on the training side; effects are "
                "differences from control cells"
            )
        if self.held_out and (conditions.recode(list(self.held_out))[seen] >= 0).any():
            raise DataError("splits: conditions: a held-out condition has cells on the training side")

    def _tested(self, conditions: "Categorical", seed: int) -> list[str]:
        """Names of the tested conditions."""
        from annobench.core.parquet import NOT_GIVEN
        from annobench.splits.draws import TEST, stream

        counts = conditions.counts()
        if self.control not in counts:
            raise DataError(
                f"splits: conditions: no cell is a control ('{self.control}'){nearest(self.control, counts)}"
            )
        names = sorted(set(counts) - {self.control, NOT_GIVEN})
        for name in self.held_out:
            if name not in names:
                raise DataError(f"splits: conditions: held_out: no cell has '{name}'{nearest(name, names)}")
        if self.held_out:
            return list(self.held_out)
        if len(names) < self.folds:
            raise DataError(
                f"splits: conditions: {len(names)} conditions beside the control for {self.folds} folds; use fewer "
                "folds"
            )
        order = stream(seed, TEST).permutation(len(names))
        return [names[i] for place, i in enumerate(order) if place % self.folds + 1 == self.fold]
