"""The contract of a regime, and how regimes are found.

A regime is one file of `annobench/splits/regimes` with one class, and the schema of its keys, a file of the same name
in workflow/schemas/regimes. The configuration imports it by name, so that it may lie in the room of the splits.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Self, cast

from annobench.config.plugins import plugins
from annobench.core.errors import ConfigError, DataError, nearest
from annobench.core.spec import Params, Spec

if TYPE_CHECKING:
    from numpy import bool_, object_
    from numpy.typing import NDArray

    from annobench.core.parquet import Categorical

FOLDER = "splits/regimes"


@dataclass(frozen=True)
class Entry:
    """What a regime sees of an entry of `evaluations`.

    Attributes
    ----------
    dataset
        Name of the dataset.
    families
        Families of studies that the dataset declares: name -> column of obs -> values.
    policy
        Policy by which training cells are balanced.
    own
        Keys that only this regime has, validated, with defaults.
    declared
        Column of obs -> the texts that the dataset, or the datasets behind it, declare for all their cells (`=text`).
    control
        Name of the control, of a dataset that declares `perturbation`; else None.
    """

    dataset: str
    families: Mapping[str, Mapping[str, Sequence[str]]]
    policy: str
    own: Params
    declared: Mapping[str, Sequence[str]] = field(default_factory=dict)
    control: str | None = None


@dataclass(frozen=True)
class Expanded:
    """One of the splits that an entry of `evaluations` expands into.

    Attributes
    ----------
    ending
        What the split's name has behind that of the entry.
    settings
        Settings of the split beside those of the entry.
    fitted
        Ending of the split whose fits are scored here; None for its own.
    scored
        Whether the split is scored, or only fitted for others.
    averaged
        Whether its scores are averaged with those of the other splits; else it is an evaluation of its own.
    """

    ending: str = ""
    settings: Params = field(default_factory=dict)
    fitted: str | None = None
    scored: bool = True
    averaged: bool = True


@dataclass(frozen=True, kw_only=True)
class Regime(Spec, ABC):
    """Who trains, who selects and who is tested: base class of all regimes.

    An instance holds the settings of one split: its fields are keys of the regime's schema, and what `expand` adds to
    them. Regimes are imported while the Snakefile is parsed, so that numpy and what needs it are imported inside the
    functions that assign roles.

    Attributes
    ----------
    LABEL
        What people call the regime.
    STEM
        Start of the names of its splits; the name of the regime by default.
    TRAINS
        Whether any cell trains.
    LEARNS_LABELS
        Whether labels are what is learned, so that training cells need two classes.
    OF_PAIRS
        Whether it splits pairs of datasets, and only them.
    MAY_TEST_UNLABELLED
        Whether test cells may all be of unknown type.
    ADVICE
        What to do where a value of `kept_apart` has cells on both sides.
    LISTS
        Keys that list the splits of an entry, and therefore are no part of its name.
    WORDS
        Key -> what names of splits call it where its value is not the default; the key itself by default.
    VARIES
        Fields that differ between the splits of one evaluation.
    COLUMNS
        Fields among them that the table `splits` shows.
    POOLED
        Whether counts of cells are added up over the splits of one evaluation: not where they train on different
        shares of the same cells, so that a sum is of nothing that anybody would use.
    regime
        Name of the regime.
    """

    LABEL: ClassVar[str]
    STEM: ClassVar[str] = ""
    TRAINS: ClassVar[bool] = True
    LEARNS_LABELS: ClassVar[bool] = True
    OF_PAIRS: ClassVar[bool] = False
    MAY_TEST_UNLABELLED: ClassVar[bool] = False
    ADVICE: ClassVar[str] = ""
    LISTS: ClassVar[tuple[str, ...]] = ()
    WORDS: ClassVar[Mapping[str, str]] = {"group_by": "", "test_fraction": "test", "val_fraction": "val"}
    VARIES: ClassVar[tuple[str, ...]] = ()
    COLUMNS: ClassVar[tuple[str, ...]] = ()
    POOLED: ClassVar[bool] = True

    regime: str

    @classmethod
    def variant(cls, params: Mapping[str, object]) -> type[Self]:
        """The class of the regime that `params` name."""
        return cast("type[Self]", regime_class(str(params.get("regime")))) if cls is Regime else cls

    @classmethod
    def check(cls, entry: Entry) -> None:
        """Raise ConfigError where the regime cannot split what the entry names."""

    @classmethod
    def expand(cls, entry: Entry) -> Iterable[Expanded]:
        """The splits of an entry, in order."""
        return [Expanded()]

    @classmethod
    def evaluation_label(cls, evaluation: str) -> str:
        """What people call an evaluation that is named after the regime and its switches."""
        rest = evaluation.removeprefix(plugin_name(cls))
        return cls.LABEL + rest.replace("_donor", ", whole donors").replace("_", ", ")

    def label(self) -> str:
        """What people call this split among those of its evaluation; empty where it has only one."""
        return ""

    def columns(self) -> list[str]:
        """Columns of obs that `assign` looks at, beside label_id."""
        return []

    def missing_column(self, column: str, known: Iterable[str]) -> DataError:
        """The error that the prepared data lacks a column."""
        return DataError(f"splits: {self.regime}: the prepared data has no column '{column}'{nearest(column, known)}")

    @abstractmethod
    def assign(self, obs: "Mapping[str, Categorical]", seed: int) -> "NDArray[object_]":
        """The role of every cell.

        Parameters
        ----------
        obs
            One value per cell in every column: label_id and those of `columns`.
        seed
            Decides every draw.

        Returns
        -------
        (cells,) `train`, `val`, `test` or `unused`.

        Raises
        ------
        DataError
            The data cannot give such a split.
        """

    def kept_apart(self) -> str | None:
        """Column of obs of which no value may have cells on the training side and on the test side."""
        return None

    def left_out(self, obs: "Mapping[str, Categorical]") -> dict[str, dict[str, int]]:
        """Cells that are not used because of their class: side (`train` or `test`) -> class -> number of cells."""
        return {}

    def check_leaks(self, obs: "Mapping[str, Categorical]", seen: "NDArray[bool_]") -> None:
        """Raise DataError where cells leak that `kept_apart` does not tell; `seen` are those that train or select."""


def regimes() -> list[str]:
    """Names of all regimes."""
    return plugins(FOLDER)


def plugin_name(regime: type[Regime]) -> str:
    """Name of a regime: that of its file."""
    return regime.__module__.rsplit(".", 1)[-1]


@cache
def regime_class(name: str) -> type[Regime]:
    """Import a regime; raises ConfigError where there is none of that name, or no class in its file."""
    if name not in regimes():
        raise ConfigError(f"there is no regime '{name}'{nearest(name, regimes())}")
    module = importlib.import_module(f"annobench.{FOLDER.replace('/', '.')}.{name}")
    for one in vars(module).values():
        if isinstance(one, type) and issubclass(one, Regime) and one.__module__ == module.__name__:
            return one
    raise ConfigError(f"{module.__file__}: expected a class that inherits from Regime")


def split_columns() -> list[str]:
    """Fields that tell the splits of an evaluation apart, of all regimes: columns of the table `splits`."""
    return sorted({column for name in regimes() for column in regime_class(name).COLUMNS})
