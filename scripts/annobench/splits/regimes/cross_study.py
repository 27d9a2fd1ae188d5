"""Cross study: whole families of studies are tested, the other studies train."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annobench.config.regimes import Entry, Expanded
from annobench.core.errors import ConfigError, DataError, nearest
from annobench.splits.held_out import HeldOut

if TYPE_CHECKING:
    from numpy import bool_
    from numpy.typing import NDArray

    from annobench.core.parquet import Categorical


@dataclass(frozen=True, kw_only=True)
class CrossStudy(HeldOut):
    """The family `held_out` is tested: cells with one of the values in every column of `rule`."""

    LABEL = "unseen study"
    STEM = "crossstudy"
    LISTS = ("held_out",)
    VARIES = ("held_out", "rule")
    COLUMNS = ("held_out",)

    held_out: str
    rule: Mapping[str, tuple[str, ...]]

    @classmethod
    def check(cls, entry: Entry) -> None:
        """The dataset declares every family that is named."""
        if not entry.families:
            raise ConfigError(f"regime cross_study needs `families` in config/datasets/{entry.dataset}.yaml")
        for family in entry.own.get("held_out", []):
            if family not in entry.families:
                raise ConfigError(
                    f"held_out: '{entry.dataset}' has no family '{family}'{nearest(family, entry.families)}"
                )

    @classmethod
    def expand(cls, entry: Entry) -> Iterable[Expanded]:
        """One split per family."""
        families = entry.own.get("held_out", list(entry.families))
        return [Expanded(f"_{name}", {"held_out": name, "rule": entry.families[name]}) for name in families]

    def label(self) -> str:
        """The family."""
        return self.held_out.replace("_", " ")

    def columns(self) -> list[str]:
        """The columns that families are told by."""
        return list(self.rule)

    def missing_column(self, column: str, known: Iterable[str]) -> DataError:
        """Name the family that needs the column."""
        return DataError(
            f"families.{self.held_out}: the prepared data has no column '{column}'{nearest(column, known)}"
        )

    def test_cells(self, obs: "Mapping[str, Categorical]", seed: int) -> "NDArray[bool_]":
        """The cells of the family."""
        return cells_of_family(obs, self.rule, self.held_out)

    def check_leaks(self, obs: "Mapping[str, Categorical]", seen: "NDArray[bool_]") -> None:
        """No cell of the family trains or selects."""
        if cells_of_family(obs, self.rule, self.held_out)[seen].any():
            raise DataError(f"splits: the held-out family '{self.held_out}' has cells on the training side")


def cells_of_family(
    obs: "Mapping[str, Categorical]", rule: Mapping[str, Iterable[str]], family: str
) -> "NDArray[bool_]":
    """Cells that match a family: in every column that it names, one of the values."""
    import numpy as np

    match = np.ones(len(obs["label_id"]), dtype=bool)
    for column, values in rule.items():
        known = obs[column].counts()
        for value in values:
            if value not in known:
                raise DataError(f"families.{family}.{column}: no cell has the value '{value}'{nearest(value, known)}")
        match &= obs[column].recode(list(values)) >= 0
    if not match.any():
        wanted = {column: list(values) for column, values in rule.items()}
        raise DataError(f"families.{family}: no cell matches all of {wanted}")
    return match
