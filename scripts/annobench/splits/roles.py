"""Splits: which cells train, select, test, or are not used, for every regime.

Every draw is stratified by class and depends on the seed alone, so that the regimes agree: the test cells of low_label
are those of holdout with the same seed, and the cells of a smaller label share are among those of a larger one. Cells
whose own label is unknown never train; as test cells they are predicted, and left to the policy of scoring.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.errors import DataError, nearest
from annobench.core.parquet import NOT_GIVEN, Categorical, column_names, read_columns
from annobench.ontology import UNKNOWN
from annobench.splits.rounding import largest_remainder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = Mapping[str, "Categorical | NDArray[Any]"]

ROLES = ("train", "val", "test", "unused")
_TEST, _VAL, _LABELS = range(3)  # separate random streams


def read_obs(path: str | Path, spec: Mapping[str, Any]) -> dict[str, Categorical]:
    """The columns of obs.parquet that a regime looks at. Raises DataError where it has none that a family names."""
    rule = spec.get("rule", {})
    known = column_names(path)
    for column in rule:
        if column not in known:
            raise _no_column(spec["held_out"], column, known)
    also = ["part"] if spec["regime"] in ("pair", "release") else []
    also += [spec["group_by"]] if spec.get("group_by") else []
    names = list(dict.fromkeys(["label_id", *also, *rule]))
    return read_columns(path, names, categorical=names)


def assign_roles(obs: "Columns", spec: Mapping[str, Any], seed: int) -> "NDArray[Any]":
    """The role of every cell.

    `obs` maps column names to one value per cell (label_id, and what the regime groups by); `spec` is the resolved
    entry of `evaluations`. Raises DataError where the data cannot give such a split.
    """
    columns = _by_number(obs)
    labels = columns["label_id"]
    if spec["regime"] == "release":
        roles = _release_roles(columns, spec, seed)
        check_roles(columns, roles, spec)
        return roles
    test = _test_cells(columns, spec, seed)
    train, val = ~(test | (labels == UNKNOWN)), np.zeros(len(labels), dtype=bool)
    if spec.get("group_by"):  # a cell of nobody could be of anybody
        train &= ~(columns[spec["group_by"]] == NOT_GIVEN)
    val[_draw(labels, train, spec["val_fraction"], np.random.default_rng([seed, _VAL]))] = True
    train &= ~val
    if spec["regime"] == "low_label":
        rng = np.random.default_rng([seed, _LABELS])
        for pool in (train, val):
            pool[_beyond(labels, pool, spec["fraction"], rng)] = False
    roles = np.full(len(labels), "unused", dtype=object)
    for role, cells in (("train", train), ("val", val), ("test", test)):
        roles[cells] = role
    check_roles(columns, roles, spec)
    return roles


def _by_number(obs: "Columns") -> dict[str, Categorical]:
    """Columns as texts by number, whatever they come as."""
    return {name: values if isinstance(values, Categorical) else Categorical.of(values) for name, values in obs.items()}


def _release_roles(obs: Mapping[str, Categorical], spec: Mapping[str, Any], seed: int) -> "NDArray[Any]":
    """Roles where one fit is scored on held-out cells of its references and on the query of a pair.

    Donors are drawn as for scTab's corpus (Fischer et al. 2024): in the order in which they first come, shuffled, the
    first of them train, then validation, then test. Query cells of a type that no training cell has are not used.
    """
    seed = seed if spec["split_seed"] is None else spec["split_seed"]
    labels, reference = obs["label_id"], obs["part"] == "reference"
    pool = reference & ~(labels == UNKNOWN)
    roles = np.full(len(labels), "unused", dtype=object)
    if spec["group_by"]:
        pool &= ~(obs[spec["group_by"]] == NOT_GIVEN)
        drawn = _drawn_groups(obs[spec["group_by"]], pool, spec, seed)
    else:
        drawn = np.zeros(len(labels), dtype=int)
        for number, share, stream in ((2, "test_fraction", _TEST), (1, "val_fraction", _VAL)):
            rng = np.random.default_rng([seed, stream])
            drawn[_draw(labels, pool & (drawn == 0), spec[share], rng)] = number
    rng = np.random.default_rng(seed)
    for number, role in enumerate(("train", "val", "test")):
        cells = np.flatnonzero(pool & (drawn == number))
        if spec["multiple"]:
            if 0 < len(cells) < spec["multiple"]:
                raise DataError(
                    f"splits: release: multiple {spec['multiple']}: only {len(cells)} cells have the role '{role}', so "
                    "that none would be left; choose a smaller multiple, or null"
                )
            cells = rng.permutation(cells)
            cells = cells[: len(cells) // spec["multiple"] * spec["multiple"]]
        roles[cells] = role
    known = labels[roles == "train"].counts()
    query = (obs["part"] == "query") & (labels.recode(list(known)) >= 0)
    if spec["part"] == "query":
        roles[roles == "test"] = "unused"
    if spec["part"] != "reference":
        roles[query] = "test"
    return roles


def _drawn_groups(
    groups: Categorical, pool: "NDArray[np.bool_]", spec: Mapping[str, Any], seed: int
) -> "NDArray[np.intp]":
    """0 (train), 1 (validation) or 2 (test) for every cell of the pool, by whole groups."""
    codes, first = np.unique(groups.codes[pool], return_index=True)
    order = codes[np.argsort(first)]
    test, val = (ceil(spec[share] * len(order)) for share in ("test_fraction", "val_fraction"))
    if len(order) <= test + val:
        raise DataError(
            f"splits: release: group_by {spec['group_by']}: {len(order)} different values, {test} of them for test and "
            f"{val} for validation, leave none to train; use group_by: null"
        )
    np.random.default_rng(seed).shuffle(order)
    number = np.zeros(len(groups.names) + 1, dtype=int)
    number[order[len(order) - test :]] = 2
    number[order[len(order) - test - val : len(order) - test]] = 1
    return number[groups.codes]


def _test_cells(obs: Mapping[str, Categorical], spec: Mapping[str, Any], seed: int) -> "NDArray[np.bool_]":
    labels, rng = obs["label_id"], np.random.default_rng([seed, _TEST])
    regime = spec["regime"]
    if regime == "pair":
        return obs["part"] == "query"
    if regime == "cross_study":
        return _matching(obs, spec["rule"], spec["held_out"])
    if spec.get("group_by"):
        groups = obs[spec["group_by"]]
        if regime == "kfold":
            return _grouped_folds(labels, groups, spec["folds"], spec["group_by"], seed) == spec["fold"]
        return _whole_groups(groups, spec["test_fraction"], spec["group_by"], rng)
    if regime == "kfold":
        return _folds(labels, spec["folds"], rng) == spec["fold"]
    test = np.zeros(len(labels), dtype=bool)
    test[_draw(labels, ~test, spec["test_fraction"], rng)] = True
    return test


def _classes(labels: Categorical, pool: "NDArray[np.bool_]") -> "Iterator[NDArray[np.intp]]":
    """Rising positions of the cells of the pool, class by class in the order of their names."""
    rows = np.flatnonzero(pool)
    rank = _ranks(labels)[rows]
    order = np.argsort(rank, kind="stable")
    ends = np.cumsum(np.bincount(rank, minlength=1))
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        if end > start:
            yield rows[order[start:end]]


def _ranks(values: Categorical) -> "NDArray[Any]":
    """Place of every value among the sorted names, in a type that is sorted fast where there are few of them."""
    rank = np.empty(len(values.names), dtype=np.int16 if len(values.names) < 2**15 else np.int32)
    rank[np.argsort(np.array(values.names, dtype=object), kind="stable")] = np.arange(len(values.names))
    return rank[values.codes]


def _draw(
    labels: Categorical, pool: "NDArray[np.bool_]", fraction: float, rng: np.random.Generator
) -> "NDArray[np.intp]":
    """Positions of a share of the pool, stratified by class (largest remainder).

    A class of two or more cells gives at least one and keeps at least one; a class of one cell keeps it.
    """
    classes = list(_classes(labels, pool))
    sizes = np.array([len(rows) for rows in classes], dtype=int)
    quota = sizes * fraction
    take = largest_remainder(quota, round(quota.sum()))
    take = np.clip(take, (sizes > 1).astype(int), np.maximum(sizes - 1, 0))
    chosen = [rng.permutation(rows)[:count] for rows, count in zip(classes, take, strict=True)]
    return np.concatenate(chosen) if chosen else np.array([], dtype=int)


def _beyond(
    labels: Categorical, pool: "NDArray[np.bool_]", fraction: float, rng: np.random.Generator
) -> "NDArray[np.intp]":
    """Positions that a label budget leaves out: all but the first round(n * fraction), at least one, of each class."""
    left = [rng.permutation(rows)[max(1, round(len(rows) * fraction)) :] for rows in _classes(labels, pool)]
    return np.concatenate(left) if left else np.array([], dtype=int)


def _folds(labels: Categorical, folds: int, rng: np.random.Generator) -> "NDArray[np.intp]":
    """Fold 1..folds of every cell: each class is dealt out in turn, starting where the class before it ended."""
    fold = np.zeros(len(labels), dtype=int)
    start = 0
    for rows in _classes(labels, np.ones(len(labels), dtype=bool)):
        fold[rng.permutation(rows)] = (start + np.arange(len(rows))) % folds + 1
        start += len(rows)
    return fold


def _grouped_folds(labels: Categorical, groups: Categorical, folds: int, column: str, seed: int) -> "NDArray[np.intp]":
    """Fold 1..folds of every cell, with each group in one fold and the class mix of the folds as even as can be.

    Cells of unknown group are in fold 0.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    known = np.flatnonzero(~(groups == NOT_GIVEN))
    found = len(groups[known].counts())
    if found < folds:
        raise DataError(
            f"splits: group_by {column}: {found} different values for {folds} folds; use fewer folds, or group_by: null"
        )
    fold = np.zeros(len(labels), dtype=int)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    codes = _ranks(labels)[known]
    for number, (_, test) in enumerate(splitter.split(codes, codes, _ranks(groups)[known]), start=1):
        fold[known[test]] = number
    return fold


def _whole_groups(groups: Categorical, fraction: float, column: str, rng: np.random.Generator) -> "NDArray[np.bool_]":
    """Cells of groups that are drawn in turn, each where it brings the number of cells nearer to the fraction.

    At least one group is drawn and one is left; cells of unknown group are never drawn.
    """
    counts = {name: n for name, n in groups.counts().items() if name != NOT_GIVEN}
    names, sizes = list(counts), np.array(list(counts.values()))
    if len(names) < 2:
        raise DataError(
            f"splits: group_by {column}: {len(names)} different values, a held-out one and another are needed; use "
            "group_by: null"
        )
    target = fraction * sizes.sum()
    drawn: list[int] = []
    for i in rng.permutation(len(names)):
        total = sizes[drawn].sum()
        if len(drawn) < len(names) - 1 and abs(total + sizes[i] - target) < abs(total - target):
            drawn.append(i)
    if not drawn:  # every group is larger than twice the target
        drawn = [int(np.argmin(sizes))]
    return groups.recode([names[i] for i in drawn]) >= 0


def _matching(obs: Mapping[str, Categorical], rule: Mapping[str, list[str]], family: str) -> "NDArray[np.bool_]":
    """Cells that match a family: in every column that it names, one of the values."""
    match = np.ones(len(obs["label_id"]), dtype=bool)
    for column, values in rule.items():
        if column not in obs:
            raise _no_column(family, column, obs)
        known = obs[column].counts()
        for value in values:
            if value not in known:
                raise DataError(f"families.{family}.{column}: no cell has the value '{value}'{nearest(value, known)}")
        match &= obs[column].recode(values) >= 0
    if not match.any():
        raise DataError(f"families.{family}: no cell matches all of {dict(rule)}")
    return match


def _no_column(family: str, column: str, known: Iterable[str]) -> DataError:
    return DataError(f"families.{family}: the prepared data has no column '{column}'{nearest(column, known)}")


def check_roles(obs: "Columns", roles: "NDArray[Any]", spec: Mapping[str, Any]) -> None:
    """Raise DataError where a split cannot be used or would leak.

    Leaks are: a held-out group, family or query with cells on the training side, or an unknown label that trains.
    """
    columns, given = _by_number(obs), Categorical.of(roles)
    labels = columns["label_id"]
    train, test = given == "train", given == "test"
    seen = train | (given == "val")
    for role, cells in (("train", train), ("test", test)):
        if not cells.any():
            raise DataError(
                f"splits: {spec['regime']}: no cell has the role '{role}'; choose other fractions, folds or families"
            )
    # the query of a pair may declare that it has no labels: it is predicted, and nothing of it is scored by truth
    if spec["regime"] != "pair" and (labels[test] == UNKNOWN).all():
        raise DataError(
            f"splits: {spec['regime']}: no test cell has a known label, so nothing can be scored; map the labels, or "
            "test on other cells"
        )
    classes = list(labels[train].counts())
    if len(classes) < 2:
        raise DataError(
            f"splits: {spec['regime']}: the training cells have one class only ({classes[0]}); a classifier needs two"
        )
    if (labels[seen] == UNKNOWN).any():
        raise DataError("splits: cells with an unknown label are among the training cells")
    column = {"pair": "part", "cross_study": None}.get(spec["regime"], spec.get("group_by"))
    if column:
        both = sorted(set(columns[column][seen].counts()) & set(columns[column][test].counts()))
        if both:
            advice = ""
            if spec["regime"] == "release":  # the query has donors of its own, or its cells are no test of new ones
                advice = "; give donors of the query names of their own, leave shared ones out, or use group_by: null"
            raise DataError(f"splits: {column} '{both[0]}' has cells on the training side and on the test side{advice}")
    if spec["regime"] == "release" and (seen & (columns["part"] == "query")).any():
        raise DataError("splits: the query has cells on the training side")
    if spec["regime"] == "cross_study" and _matching(columns, spec["rule"], spec["held_out"])[seen].any():
        raise DataError(f"splits: the held-out family '{spec['held_out']}' has cells on the training side")
