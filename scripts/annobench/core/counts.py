"""Counts per class and what is made of them; a module of its own, because training stops by macro F1 as well."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def class_counts(
    true: "NDArray[np.integer[Any]]", predicted: "NDArray[np.integer[Any]]", classes: int
) -> "tuple[NDArray[Any], NDArray[Any], NDArray[Any]]":
    """Per class: cells that are of it and predicted as it, cells of it, cells predicted as it."""
    hits = np.bincount(true[true == predicted], minlength=classes)
    return hits, np.bincount(true, minlength=classes), np.bincount(predicted, minlength=classes)


def summed(places: "NDArray[np.integer[Any]]", values: "NDArray[Any]", size: int) -> "NDArray[np.float64]":
    """Sum of the values at every place, (size,)."""
    return np.bincount(places, weights=values, minlength=size).astype(np.float64, copy=False)


def ratio(above: Any, below: Any) -> "NDArray[np.float64]":
    """Above / below, 0 where below is 0."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=float), np.asarray(below, dtype=float))
    return np.divide(above, below, out=np.zeros(below.shape), where=below > 0)


def mean_over(values: "NDArray[Any]", members: "NDArray[np.bool_]") -> "NDArray[np.float64]":
    """Mean over the members of the last axis; NaN where there are none."""
    count = members.sum(axis=-1)
    total = np.where(members, values, 0).sum(axis=-1)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def f1(hits: Any, true: Any, predicted: Any) -> "NDArray[np.float64]":
    """F1 per class from counts; the classes are the last axis."""
    return ratio(2 * np.asarray(hits), np.asarray(true) + np.asarray(predicted))


def macro_f1(hits: Any, true: Any, predicted: Any, members: "NDArray[np.bool_]") -> "NDArray[np.float64]":
    """Mean F1 over the member classes (last axis)."""
    return mean_over(f1(hits, true, predicted), members)


def macro_f1_of_codes(true: "NDArray[Any]", predicted: "NDArray[Any]") -> float:
    """Macro F1 over the classes of `true`, for class numbers."""
    counts = class_counts(np.asarray(true), np.asarray(predicted), int(max(np.max(true), np.max(predicted))) + 1)
    return float(macro_f1(*counts, counts[1] > 0))
