"""Splits: which cells train, select, test, or are not used, for every regime.

Every draw is stratified by class and depends on the seed alone, so that the regimes agree: the test cells of low_label
are those of holdout with the same seed, and the cells of a smaller label share are among those of a larger one. Cells
whose own label is unknown never train; as test cells they are predicted, and left to the policy of scoring.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.columns import NOT_GIVEN
from annobench.errors import DataError, nearest
from annobench.ontology import UNKNOWN
from annobench.rounding import largest_remainder

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROLES = ("train", "val", "test", "unused")
_TEST, _VAL, _LABELS = range(3)  # separate random streams

Columns = Mapping[str, "NDArray[Any]"]


def assign_roles(obs: Columns, spec: Mapping[str, Any], seed: int) -> "NDArray[Any]":
    """The role of every cell.

    `obs` maps column names to one value per cell (label_id, and what the regime groups by); `spec` is the resolved
    entry of `evaluations`. Raises DataError where the data cannot give such a split.
    """
    labels = obs["label_id"]
    test = _test_cells(obs, spec, seed)
    roles = np.full(len(labels), "train", dtype=object)
    roles[test] = "test"
    roles[(roles == "train") & (labels == UNKNOWN)] = "unused"
    if spec.get("group_by"):  # a cell of nobody could be of anybody
        roles[obs[spec["group_by"]] == NOT_GIVEN] = "unused"
    val = _draw(labels, roles == "train", spec["val_fraction"], np.random.default_rng([seed, _VAL]))
    roles[val] = "val"
    if spec["regime"] == "low_label":
        rng = np.random.default_rng([seed, _LABELS])
        for role in ("train", "val"):
            roles[_beyond(labels, roles == role, spec["fraction"], rng)] = "unused"
    check_roles(obs, roles, spec)
    return roles


def _test_cells(obs: Columns, spec: Mapping[str, Any], seed: int) -> "NDArray[np.bool_]":
    labels, rng = obs["label_id"], np.random.default_rng([seed, _TEST])
    everything = np.ones(len(labels), dtype=bool)
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
    test[_draw(labels, everything, spec["test_fraction"], rng)] = True
    return test


def _draw(
    labels: "NDArray[Any]", pool: "NDArray[np.bool_]", fraction: float, rng: np.random.Generator
) -> "NDArray[np.intp]":
    """Positions of a share of the pool, stratified by class (largest remainder).

    A class of two or more cells gives at least one and keeps at least one; a class of one cell keeps it.
    """
    classes, sizes = np.unique(labels[pool].astype(str), return_counts=True)
    quota = sizes * fraction
    take = largest_remainder(quota, round(quota.sum()))
    take = np.clip(take, (sizes > 1).astype(int), np.maximum(sizes - 1, 0))
    chosen = []
    for label_id, count in zip(classes, take, strict=True):
        chosen.append(rng.permutation(np.flatnonzero(pool & (labels == label_id)))[:count])
    return np.concatenate(chosen) if chosen else np.array([], dtype=int)


def _beyond(
    labels: "NDArray[Any]", pool: "NDArray[np.bool_]", fraction: float, rng: np.random.Generator
) -> "NDArray[np.intp]":
    """Positions that a label budget leaves out: all but the first round(n * fraction), at least one, of each class."""
    left = []
    for label_id in np.unique(labels[pool].astype(str)):
        order = rng.permutation(np.flatnonzero(pool & (labels == label_id)))
        left.append(order[max(1, round(len(order) * fraction)) :])
    return np.concatenate(left) if left else np.array([], dtype=int)


def _folds(labels: "NDArray[Any]", folds: int, rng: np.random.Generator) -> "NDArray[np.intp]":
    """Fold 1..folds of every cell: each class is dealt out in turn, starting where the class before it ended."""
    fold = np.zeros(len(labels), dtype=int)
    start = 0
    for label_id in np.unique(labels.astype(str)):
        order = rng.permutation(np.flatnonzero(labels == label_id))
        fold[order] = (start + np.arange(len(order))) % folds + 1
        start += len(order)
    return fold


def _grouped_folds(
    labels: "NDArray[Any]", groups: "NDArray[Any]", folds: int, column: str, seed: int
) -> "NDArray[np.intp]":
    """Fold 1..folds of every cell, with each group in one fold and the class mix of the folds as even as can be.

    Cells of unknown group are in fold 0.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    known = np.flatnonzero(groups != NOT_GIVEN)
    found = len(np.unique(groups[known].astype(str)))
    if found < folds:
        raise DataError(
            f"splits: group_by {column}: {found} different values for {folds} folds; use fewer folds, or group_by: null"
        )
    fold = np.zeros(len(labels), dtype=int)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    codes = np.unique(labels[known].astype(str), return_inverse=True)[1]
    for number, (_, test) in enumerate(splitter.split(codes, codes, groups[known].astype(str)), start=1):
        fold[known[test]] = number
    return fold


def _whole_groups(
    groups: "NDArray[Any]", fraction: float, column: str, rng: np.random.Generator
) -> "NDArray[np.bool_]":
    """Cells of groups that are drawn in turn, each where it brings the number of cells nearer to the fraction.

    At least one group is drawn and one is left; cells of unknown group are never drawn.
    """
    names, sizes = np.unique(groups[groups != NOT_GIVEN].astype(str), return_counts=True)
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
    return np.isin(groups.astype(str), names[drawn]) & (groups != NOT_GIVEN)


def _matching(obs: Columns, rule: Mapping[str, list[str]], family: str) -> "NDArray[np.bool_]":
    """Cells that match a family: in every column that it names, one of the values."""
    match = np.ones(len(obs["label_id"]), dtype=bool)
    for column, values in rule.items():
        if column not in obs:
            raise DataError(f"families.{family}: the prepared data has no column '{column}'{nearest(column, obs)}")
        known = np.unique(obs[column].astype(str))
        for value in values:
            if value not in known:
                raise DataError(f"families.{family}.{column}: no cell has the value '{value}'{nearest(value, known)}")
        match &= np.isin(obs[column].astype(str), values)
    if not match.any():
        raise DataError(f"families.{family}: no cell matches all of {dict(rule)}")
    return match


def check_roles(obs: Columns, roles: "NDArray[Any]", spec: Mapping[str, Any]) -> None:
    """Raise DataError where a split cannot be used or would leak.

    Leaks are: a held-out group, family or query with cells on the training side, or an unknown label that trains.
    """
    labels = obs["label_id"]
    seen = np.isin(roles.astype(str), ["train", "val"])
    test = roles == "test"
    for role in ("train", "test"):
        if not (roles == role).any():
            raise DataError(
                f"splits: {spec['regime']}: no cell has the role '{role}'; choose other fractions, folds or families"
            )
    # the query of a pair may declare that it has no labels: it is predicted, and nothing of it is scored by truth
    if spec["regime"] != "pair" and (labels[test] == UNKNOWN).all():
        raise DataError(
            f"splits: {spec['regime']}: no test cell has a known label, so nothing can be scored; map the labels, or "
            "test on other cells"
        )
    classes = np.unique(labels[roles == "train"].astype(str))
    if len(classes) < 2:
        raise DataError(
            f"splits: {spec['regime']}: the training cells have one class only ({classes[0]}); a classifier needs two"
        )
    if (labels[seen] == UNKNOWN).any():
        raise DataError("splits: cells with an unknown label are among the training cells")
    column = {"pair": "part", "cross_study": None}.get(spec["regime"], spec.get("group_by"))
    if column:
        both = np.intersect1d(obs[column][seen].astype(str), obs[column][test].astype(str))
        if len(both):
            raise DataError(f"splits: {column} '{both[0]}' has cells on the training side and on the test side")
    if spec["regime"] == "cross_study" and _matching(obs, spec["rule"], spec["held_out"])[seen].any():
        raise DataError(f"splits: the held-out family '{spec['held_out']}' has cells on the training side")
