"""Counts per class, and F1 and means from them: used by scores and, for early stopping, by training."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def class_counts(
    true: "NDArray[np.integer]", predicted: "NDArray[np.integer]", classes: int
) -> "tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]":
    """Cells per class, each (classes,): predicted correctly, of the class, predicted as the class."""
    hits = np.bincount(true[true == predicted], minlength=classes)
    return hits, np.bincount(true, minlength=classes), np.bincount(predicted, minlength=classes)


def summed(places: "NDArray[np.integer]", values: "NDArray[np.number]", size: int) -> "NDArray[np.float64]":
    """Sum of the values at every place, (size,)."""
    return np.bincount(places, weights=values, minlength=size).astype(np.float64, copy=False)


def ratio(above: "ArrayLike", below: "ArrayLike") -> "NDArray[np.float64]":
    """Above / below, 0 where below is 0."""
    over, under = np.broadcast_arrays(np.asarray(above, dtype=float), np.asarray(below, dtype=float))
    return np.divide(over, under, out=np.zeros(under.shape), where=under > 0)


def mean_over(values: "NDArray[np.number]", members: "NDArray[np.bool_]") -> "NDArray[np.float64]":
    """Mean over the members of the last axis; NaN where there are none."""
    count = members.sum(axis=-1)
    total = np.where(members, values, 0).sum(axis=-1)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def f1(hits: "ArrayLike", true: "ArrayLike", predicted: "ArrayLike") -> "NDArray[np.float64]":
    """F1 per class from counts; the classes are the last axis."""
    return ratio(2 * np.asarray(hits), np.asarray(true) + np.asarray(predicted))


def macro_f1(
    hits: "ArrayLike", true: "ArrayLike", predicted: "ArrayLike", members: "NDArray[np.bool_]"
) -> "NDArray[np.float64]":
    """Mean F1 over the member classes (last axis)."""
    return mean_over(f1(hits, true, predicted), members)


def macro_f1_of_codes(true: "NDArray[np.integer]", predicted: "NDArray[np.integer]") -> float:
    """Macro F1 over the classes of `true`, for class numbers."""
    counts = class_counts(np.asarray(true), np.asarray(predicted), int(max(np.max(true), np.max(predicted))) + 1)
    return float(macro_f1(*counts, counts[1] > 0))
