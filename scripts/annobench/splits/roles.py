"""Roles: which cells train, select, are tested, or are not used.

The regime assigns them (`annobench.splits.regimes`); here is what holds for all regimes. Draws depend on the seed
alone, so that regimes agree: the test cells of low_label are those of holdout with the same seed, and the cells of a
smaller label share are among those of a larger one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.errors import DataError
from annobench.core.parquet import Categorical, column_names, read_columns
from annobench.ontology import UNKNOWN
from annobench.splits.spec import SplitSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from annobench.config.regimes import Regime

    Columns = Mapping[str, Categorical | NDArray[np.object_]]

ROLES = ("train", "val", "test", "unused")


def read_obs(path: str | Path, settings: "Regime") -> dict[str, Categorical]:
    """The columns of obs.parquet that a regime looks at; raises DataError where it has no such column."""
    known = column_names(path)
    names = list(dict.fromkeys(["label_id", *settings.columns()]))
    for name in names:
        if name not in known:
            raise settings.missing_column(name, known)
    return read_columns(path, names, categorical=names)


def assign_roles(obs: "Columns", spec: SplitSpec) -> "NDArray[np.object_]":
    """Assign a role to every cell.

    Parameters
    ----------
    obs
        One value per cell in every column: `label_id`, and what the regime groups by (`Regime.columns`).
    spec
        The regime with its settings, and the seed.

    Returns
    -------
    (cells,) `train`, `val`, `test` or `unused`.

    Raises
    ------
    DataError
        The data cannot give such a split, or the split would leak (see `check_roles`).
    """
    columns = _categorical(obs)
    for name in spec.settings.columns():
        if name not in columns:
            raise spec.settings.missing_column(name, columns)
    roles = spec.settings.assign(columns, spec.seed)
    check_roles(columns, roles, spec.settings)
    return roles


def words_of(left_out: "Mapping[str, Mapping[str, int]]") -> list[str]:
    """What a regime leaves out because of its class, a line for each side."""
    return [
        f"left out of the {side} side: {sum(cells.values())} cells of classes that only it has "
        f"({', '.join(f'{label}: {n}' for label, n in cells.items())})"
        if cells
        else f"left out of the {side} side: no cells, the other side has all of its classes"
        for side, cells in left_out.items()
    ]


def _categorical(obs: "Columns") -> dict[str, Categorical]:
    """Columns as categories by number, whatever they come as."""
    return {name: values if isinstance(values, Categorical) else Categorical.of(values) for name, values in obs.items()}


def check_roles(obs: "Columns", roles: "NDArray[np.object_]", settings: "Regime") -> None:
    """Raise DataError where a split cannot be used or would leak.

    Leaks are: a held-out group, family or query with cells on the training side, or an unknown label that trains.
    """
    columns, role = _categorical(obs), Categorical.of(roles)
    labels, name = columns["label_id"], settings.regime
    train, test = role == "train", role == "test"
    seen = train | (role == "val")
    for needed, cells in (("train", train), ("test", test)):
        if (needed == "test" or settings.TRAINS) and not cells.any():
            raise DataError(
                f"splits: {name}: no cell has the role '{needed}'; choose other fractions, folds or families"
            )
    if not settings.MAY_TEST_UNLABELLED and (labels[test] == UNKNOWN).all():
        raise DataError(
            f"splits: {name}: no test cell has a known label, so nothing can be scored; map the labels, or test on "
            "other cells"
        )
    if settings.TRAINS and settings.LEARNS_LABELS and len(classes := list(labels[train].counts())) < 2:
        raise DataError(
            f"splits: {name}: the training cells have one class only ({classes[0]}); a classifier needs two"
        )
    if seen.any() and not settings.TRAINS:
        raise DataError(f"splits: {name}: nothing trains in this regime, but cells have the role 'train' or 'val'")
    if (labels[seen] == UNKNOWN).any():
        raise DataError("splits: cells with an unknown label are among the training cells")
    if column := settings.kept_apart():
        both = sorted(set(columns[column][seen].counts()) & set(columns[column][test].counts()))
        if both:
            raise DataError(
                f"splits: {column} '{both[0]}' has cells on the training side and on the test side"
                + (f"; {settings.ADVICE}" if settings.ADVICE else "")
            )
    settings.check_leaks(columns, seen)
