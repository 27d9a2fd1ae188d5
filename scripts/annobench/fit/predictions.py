"""The contract of predictions: one row per test cell, k labels with scores, a confidence, maybe all probabilities."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from annobench.core.errors import PredictionError
from annobench.core.parquet import Categorical
from annobench.ontology import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import NDArray

    Texts: TypeAlias = NDArray[np.object_]
    Numbers: TypeAlias = NDArray[np.floating]
    Decoded: TypeAlias = Mapping[str, tuple[NDArray[np.int32], NDArray[np.float64]]]

_T = TypeVar("_T", bound=np.generic)
_BLOCK = 1 << 15  # cells whose probabilities are checked together


@dataclass
class Predictions:
    """What a method predicts of some cells.

    Parameters
    ----------
    cell_ids
        (n,) text.
    labels
        (n, k) Cell Ontology ids or `unknown`, best first.
    scores
        (n, k), falling; None where the method gives none.
    confidence
        (n,), how likely the first label is right; None where the method gives none. Of a method that gives
        probabilities it is one: 0 to 1.
    probabilities
        (n, classes) that add up to one; None where the method gives none.
    classes
        Label ids of the columns of `probabilities` and `decisions`.
    decisions
        (n, classes), what the method computes before it chooses; None where it gives none.
    decoded
        Name of a decoding (of annobench.fit.decodings.at_fit) -> codes into `classes` and confidences, (n,) each.
    """

    cell_ids: "Texts"
    labels: "Texts"
    scores: "Numbers | None" = None
    confidence: "Numbers | None" = None
    probabilities: "Numbers | None" = None
    classes: tuple[str, ...] = ()
    decisions: "Numbers | None" = None
    decoded: "Decoded | None" = None

    @classmethod
    def from_probabilities(
        cls,
        cell_ids: Sequence[str],
        probabilities: "Numbers",
        classes: Sequence[str],
        top_k: int = 5,
        decisions: "Numbers | None" = None,
    ) -> "Predictions":
        """The k best classes of each cell; ties go to the class that comes first. The confidence is the best score.

        Parameters
        ----------
        cell_ids
            (n,) ids of the cells.
        probabilities
            (n, classes) probabilities, or other scores of which the largest is the best.
        classes
            Label ids of the columns.
        top_k
            Labels per cell.
        decisions
            (n, classes) decision values.
        """
        values = np.asarray(probabilities)
        order = _best(values, min(top_k, len(classes)))
        scores = np.take_along_axis(values, order, axis=1).astype(np.float64)
        labels = np.asarray(classes, dtype=object)[order]
        return cls(np.array(cell_ids, dtype=object), labels, scores, scores[:, 0], values, tuple(classes), decisions)

    @classmethod
    def from_labels(cls, cell_ids: Sequence[str], labels: Sequence[str]) -> "Predictions":
        """One label per cell and nothing else."""
        return cls(np.array(cell_ids, dtype=object), np.array(labels, dtype=object)[:, None])

    def cut(self, top_k: int) -> "Predictions":
        """At most k labels per cell."""
        scores = None if self.scores is None else self.scores[:, :top_k]
        return replace(self, labels=self.labels[:, :top_k], scores=scores)

    def rows(self, rows: "slice | NDArray[np.intp]") -> "Predictions":
        """Some of the cells."""

        def cut(values: "Numbers | None") -> "Numbers | None":
            return None if values is None else values[rows]

        return Predictions(
            self.cell_ids[rows],
            self.labels[rows],
            cut(self.scores),
            cut(self.confidence),
            cut(self.probabilities),
            self.classes,
            cut(self.decisions),
            None if self.decoded is None else {k: (codes[rows], c[rows]) for k, (codes, c) in self.decoded.items()},
        )

    def decision_values(self) -> "Numbers | None":
        """The decision values, or the logarithm of the probabilities where the method gives none; (n, classes)."""
        if self.decisions is not None or self.probabilities is None:
            return self.decisions
        return np.log(np.clip(self.probabilities.astype(np.float64), 1e-12, 1))


def joined(parts: Iterable[Predictions]) -> Predictions:
    """Predictions of several sets of cells, which hold the same things, as one."""
    first, *others = parts = list(parts)
    if not others:
        return first

    def both(of: "Callable[[Predictions], Numbers | None]") -> "Numbers | None":
        values = [array for part in parts if (array := of(part)) is not None]
        return np.concatenate(values) if values else None

    decoded = first.decoded and {
        name: (
            np.concatenate([part.decoded[name][0] for part in parts if part.decoded]),
            np.concatenate([part.decoded[name][1] for part in parts if part.decoded]),
        )
        for name in first.decoded
    }
    return Predictions(
        np.concatenate([part.cell_ids for part in parts]),
        np.concatenate([part.labels for part in parts]),
        both(lambda part: part.scores),
        both(lambda part: part.confidence),
        both(lambda part: part.probabilities),
        first.classes,
        both(lambda part: part.decisions),
        decoded,
    )


def _best(values: "Numbers", k: int) -> "NDArray[np.intp]":
    """Columns of the k largest values of every row, largest first, on a tie the first; (n, k)."""
    columns = np.empty((len(values), k), dtype=np.intp)
    for start in range(0, len(values), _BLOCK):
        left = values[start : start + _BLOCK].astype(np.float64)
        left[np.isnan(left)] = -np.inf
        rows = np.arange(len(left))
        for rank in range(k):  # k is small: k passes are several times faster than sorting
            best = left.argmax(axis=1)
            columns[start : start + _BLOCK, rank] = best
            left[rows, best] = -np.inf
    return columns


def validate(predictions: Predictions, cell_ids: Iterable[str], allowed: Iterable[str]) -> Predictions:
    """Check predictions and put them in order.

    Parameters
    ----------
    predictions
        Of the cells of `cell_ids`, in any order.
    cell_ids
        Ids of the cells that were to be predicted.
    allowed
        Labels that may be predicted, beside `unknown`.

    Returns
    -------
    The predictions in the order of `cell_ids`.

    Raises
    ------
    PredictionError
        A cell is missing, was not asked for or is predicted twice; a label is not allowed or is listed twice for a
        cell; a number is not finite; scores do not fall; or probabilities are not within 0 and 1, do not add up to one,
        or are not largest for the first label.
    """
    wanted, allowed = np.array(list(cell_ids), dtype=object), set(allowed)
    n = len(predictions.cell_ids)
    order = row_order(wanted, predictions.cell_ids)
    labels = predictions.labels
    if labels.ndim != 2 or labels.shape[0] != n or labels.shape[1] < 1:
        raise PredictionError(f"labels have shape {labels.shape}, expected ({n}, k)")
    coded = Categorical.of(labels.ravel())
    unknown = {str(name) for name in coded.names if not isinstance(name, str) or name not in allowed | {UNKNOWN}}
    if unknown:
        raise PredictionError(f"{len(unknown)} predicted labels are not among the allowed ones: {some(unknown)}")
    for name, values, shape in (
        ("scores", predictions.scores, labels.shape),
        ("confidence", predictions.confidence, (n,)),
        ("probabilities", predictions.probabilities, (n, len(predictions.classes))),
        ("decisions", predictions.decisions, (n, len(predictions.classes))),
    ):
        if values is not None and values.shape != shape:
            raise PredictionError(f"{name} have shape {values.shape}, expected {shape}")
        bad = 0 if values is None else sum(int((~np.isfinite(block)).sum()) for block in blocks(values))
        if bad:
            raise PredictionError(f"{name} hold {bad} NaN or infinite values")
    _check_repeats(coded, labels)
    if predictions.probabilities is not None:
        strange = set(predictions.classes) - allowed
        if strange or len(set(predictions.classes)) < len(predictions.classes):
            raise PredictionError(f"classes of the probabilities are listed twice, or are not allowed: {some(strange)}")
        _check_probabilities(predictions, coded[:: labels.shape[1]].recode(predictions.classes))
    if predictions.scores is not None and (np.diff(predictions.scores, axis=1) > 1e-9).any():
        raise PredictionError("scores are not in falling order")
    return replace(predictions, cell_ids=wanted) if order is None else replace(predictions.rows(order), cell_ids=wanted)


def row_order(wanted: "Texts", given: "Texts", what: str = "predictions") -> "NDArray[np.intp] | None":
    """Rows of the wanted cells among the given ones; None where the order is the same.

    Raises PredictionError where a cell is given twice, or is missing, or was not asked for; `what` names the rows.
    """
    if len(wanted) == len(given) and (wanted == given).all():
        return None
    row = {str(cell): i for i, cell in enumerate(given)}
    if len(row) < len(given):
        raise PredictionError(f"{what}: {len(given) - len(row)} cells are listed more than once")
    missing, extra = set(wanted) - row.keys(), row.keys() - set(wanted)
    if missing or extra:
        raise PredictionError(
            f"{what} for {len(given)} cells, expected {len(wanted)}: {some(missing)} missing, {some(extra)} not "
            "asked for"
        )
    return np.fromiter(map(row.__getitem__, wanted), np.intp, len(wanted))


def _check_repeats(coded: Categorical, labels: "Texts") -> None:
    codes: NDArray[np.int32] = coded.codes.reshape(labels.shape)
    real = ~(coded == UNKNOWN).reshape(labels.shape)
    again = np.zeros(len(codes), dtype=bool)
    for rank in range(1, labels.shape[1]):
        again |= (codes[:, :rank] == codes[:, [rank]]).any(axis=1) & real[:, rank]
    if again.any():
        raise PredictionError(f"a cell has one label twice: {', '.join(map(str, labels[again.argmax()]))}")


def _check_probabilities(predictions: Predictions, first: "NDArray[np.int32]") -> None:
    """`first` is the column of every first label, -1 where it is not a class."""
    values = predictions.probabilities
    assert values is not None
    if values.size == 0:
        return
    low = min(block.min() for block in blocks(values))
    high = max(block.max() for block in blocks(values))
    if low < 0 or high > 1 + 1e-6:
        raise PredictionError(f"probabilities lie between {low:.3g} and {high:.3g}, expected 0 to 1")
    sums = np.concatenate([block.sum(axis=1, dtype=np.float64) for block in blocks(values)])
    if (np.abs(sums - 1) > 1e-3).any():
        raise PredictionError(
            f"probabilities of a cell add up to {sums.min():.3g} ... {sums.max():.3g}, expected 1; other scores "
            "belong in `scores`, with abilities.probabilities: false"
        )
    own = np.where(first >= 0, values[np.arange(len(first)), first], 1)  # `unknown` is not a class
    if (own < np.concatenate([block.max(axis=1) for block in blocks(values)]) - 1e-6).any():
        raise PredictionError("the first label of a cell is not the one with the largest probability")


def blocks(values: "NDArray[_T]") -> "Iterator[NDArray[_T]]":
    """Views of some rows each."""
    return (values[start : start + _BLOCK] for start in range(0, len(values), _BLOCK))


def some(values: set[str]) -> str:
    """How many values there are, and the first three."""
    shown = ", ".join(sorted(values)[:3])
    return f"{len(values)} ({shown}{', ...' if len(values) > 3 else ''})" if values else "0"
