"""Cross organism: the cells of one organism train, those of another are tested, for every ordered pair of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, ClassVar

from annobench.config.regimes import Entry, Expanded
from annobench.core.errors import ConfigError, DataError, nearest
from annobench.splits.held_out import HeldOut

if TYPE_CHECKING:
    from numpy import bool_
    from numpy.typing import NDArray

    from annobench.core.parquet import Categorical

    Mask = NDArray[bool_]


@dataclass(frozen=True, kw_only=True)
class CrossOrganism(HeldOut):
    """Cells with the value `train_on` in the column train and select, those with `test_on` are tested.

    With `classes: shared` both sides keep the classes that both have, so that every tested class can be learned. Cells
    of the other classes are not used, and counted. Cells of unknown label are tested all the same: they are predicted,
    and scoring decides what becomes of them.
    """

    LABEL = "unseen organism"
    STEM = "crossorganism"
    LISTS = ("values",)
    WORDS: ClassVar[Mapping[str, str]] = {**HeldOut.WORDS, "column": ""}
    VARIES = ("train_on", "test_on")
    COLUMNS = ("train_on", "test_on")

    column: str
    classes: str
    train_on: str
    test_on: str

    @classmethod
    def check(cls, entry: Entry) -> None:
        """There are two values or more, which give names that differ."""
        column, values = entry.own["column"], values_of(entry)
        if not values:
            raise ConfigError(
                f"regime cross_organism: '{entry.dataset}' declares no text for the column '{column}' (cells.columns: "
                f"{{{column}: =TEXT}}); list the values of the column in `values`"
            )
        if len(values) < 2:
            raise ConfigError(
                f"regime cross_organism: '{entry.dataset}' has one value in the column '{column}' ({values[0]}); two "
                "or more are needed, one to train on and one to test on: list them in `values`, or combine datasets"
            )
        names: dict[str, str] = {}
        for value in values:
            if (other := names.setdefault(name_of(value), value)) != value:
                raise ConfigError(f"values: '{other}' and '{value}' give splits of one name ({name_of(value)})")

    @classmethod
    def expand(cls, entry: Entry) -> Iterable[Expanded]:
        """One split per ordered pair."""
        return [
            Expanded(f"_{name_of(one)}_to_{name_of(other)}", {"train_on": one, "test_on": other})
            for one, other in permutations(values_of(entry), 2)
        ]

    def label(self) -> str:
        """Both organisms."""
        return f"{self.train_on} to {self.test_on}"

    def columns(self) -> list[str]:
        """The column of the organisms."""
        return [self.column]

    def kept_apart(self) -> str | None:
        """No organism is trained and tested."""
        return self.column

    def test_cells(self, obs: "Mapping[str, Categorical]", seed: int) -> "Mask":
        """The cells of one organism, of classes that the other one has."""
        return self._kept(obs, self.test_on)

    def train_cells(self, obs: "Mapping[str, Categorical]", test: "Mask") -> "Mask":
        """The cells of the other organism, of classes that the first one has."""
        from annobench.ontology import UNKNOWN

        return self._kept(obs, self.train_on) & ~(obs["label_id"] == UNKNOWN)

    def left_out(self, obs: "Mapping[str, Categorical]") -> dict[str, dict[str, int]]:
        """Cells of classes that only one of the two organisms has."""
        if self.classes == "all":
            return {}
        labels = obs["label_id"]
        sides = {"train": self.train_on, "test": self.test_on}
        return {
            side: labels[(obs[self.column] == value) & ~self._kept(obs, value)].counts()
            for side, value in sides.items()
        }

    def _kept(self, obs: "Mapping[str, Categorical]", value: str) -> "Mask":
        """Cells of an organism, of classes that are kept or of unknown label."""
        from annobench.ontology import UNKNOWN

        labels, own = obs["label_id"], self._cells(obs, value)
        if self.classes == "all":
            return own
        return own & (labels.recode([*self._shared(obs), UNKNOWN]) >= 0)

    def _shared(self, obs: "Mapping[str, Categorical]") -> list[str]:
        """Classes that both organisms have. Raises DataError where there is none."""
        from annobench.ontology import UNKNOWN

        labels = obs["label_id"]
        both = [set(labels[self._cells(obs, value)].counts()) - {UNKNOWN} for value in (self.train_on, self.test_on)]
        if shared := sorted(both[0] & both[1]):
            return shared
        has = " and ".join(
            f"{value} has {len(of)} ({', '.join(sorted(of)[:3])})"
            for value, of in zip((self.train_on, self.test_on), both, strict=True)
        )
        raise DataError(
            f"splits: cross_organism: {self.train_on} and {self.test_on} share no class: {has}; map the labels of both "
            "to terms of one depth (cells.label_table)"
        )

    def _cells(self, obs: "Mapping[str, Categorical]", value: str) -> "Mask":
        """Cells with a value. Raises DataError where there is none."""
        own = obs[self.column] == value
        if not own.any():
            known = obs[self.column].counts()
            raise DataError(
                f"splits: cross_organism: no cell has '{value}' in the column '{self.column}'{nearest(value, known)}"
            )
        return own


def values_of(entry: Entry) -> Sequence[str]:
    """The values that an entry lists, else those that its dataset declares."""
    return entry.own.get("values") or entry.declared.get(entry.own["column"], ())


def name_of(value: str) -> str:
    """A value as part of the name of a split: `Homo sapiens` -> `homo_sapiens`."""
    return re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_")
