"""The predictions contract: one row per test cell, k labels with scores, a confidence; optionally all probabilities."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.config.names import ARGMAX, DECODINGS
from annobench.core.errors import PredictionError
from annobench.core.files import atomic, damaged
from annobench.core.npz import NpzWriter, mapped
from annobench.core.parquet import Categorical, column_names, read_columns, write_columns
from annobench.ontology import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1 << 15  # cells whose probabilities are looked at together


@dataclass
class Predictions:
    """What a method says of every query cell.

    cell_ids: (n,) text. labels: (n, k) Cell Ontology ids or `unknown`, best first. scores: (n, k) or None.
    confidence: (n,) or None; calibration needs it within 0..1. probabilities: (n, classes) or None, with `classes`.
    decoded: by the name of a decoding (annobench.fit.decoding), codes into `classes` and confidences, (n,) each; or
        None.
    """

    cell_ids: "NDArray[Any]"
    labels: "NDArray[Any]"
    scores: "NDArray[Any] | None" = None
    confidence: "NDArray[Any] | None" = None
    probabilities: "NDArray[Any] | None" = None
    classes: tuple[str, ...] = ()
    decisions: "NDArray[Any] | None" = None
    decoded: "dict[str, tuple[NDArray[Any], NDArray[Any]]] | None" = None

    @classmethod
    def from_probabilities(
        cls,
        cell_ids: Sequence[str],
        probabilities: "NDArray[Any]",
        classes: Sequence[str],
        top_k: int = 5,
        decisions: "NDArray[Any] | None" = None,
    ) -> "Predictions":
        """The k best classes of each row; ties go to the class that comes first. The confidence is the best score."""
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

        def cut(values: "NDArray[Any] | None") -> "NDArray[Any] | None":
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

    def decision_values(self) -> "NDArray[Any] | None":
        """The decision values, or the logarithm of the probabilities where the method gives none; (n, classes)."""
        if self.decisions is not None or self.probabilities is None:
            return self.decisions
        return np.log(np.clip(self.probabilities.astype(np.float64), 1e-12, 1))


def joined(parts: Iterable[Predictions]) -> Predictions:
    """Predictions of several sets of cells, which hold the same things, as one."""
    parts = list(parts)
    if len(parts) == 1:
        return parts[0]

    def both(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    names = ("cell_ids", "labels", "scores", "confidence", "probabilities", "decisions")
    decoded = parts[0].decoded and {
        name: (
            np.concatenate([part.decoded[name][0] for part in parts if part.decoded]),
            np.concatenate([part.decoded[name][1] for part in parts if part.decoded]),
        )
        for name in parts[0].decoded
    }
    return Predictions(**{name: both(name) for name in names}, classes=parts[0].classes, decoded=decoded)


def _best(values: "NDArray[Any]", k: int) -> "NDArray[np.intp]":
    """Columns of the k largest values of every row, largest first, on a tie the first; (n, k)."""
    found = np.empty((len(values), k), dtype=np.intp)
    for start in range(0, len(values), _BLOCK):
        left = values[start : start + _BLOCK].astype(np.float64)
        left[np.isnan(left)] = -np.inf
        rows = np.arange(len(left))
        for rank in range(k):  # k is small: to look k times is several times faster than to sort
            best = left.argmax(axis=1)
            found[start : start + _BLOCK, rank] = best
            left[rows, best] = -np.inf
    return found


def validate(predictions: Predictions, cell_ids: Iterable[str], allowed: Iterable[str]) -> Predictions:
    """Return the predictions in the order of `cell_ids`; raises PredictionError where they break the contract.

    Exactly one row for every test cell and no other, labels among `allowed` (or `unknown`), no NaN, scores in falling
    order, confidences finite, probabilities within 0..1 that add up to one and have their largest value at the first
    label.
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
        bad = 0 if values is None else sum(int((~np.isfinite(block)).sum()) for block in _blocks(values))
        if bad:
            raise PredictionError(f"{name} hold {bad} NaN or infinite values")
    _check_repeats(coded, labels)
    if predictions.probabilities is not None:
        strange = set(predictions.classes) - allowed
        if strange or len(set(predictions.classes)) < len(predictions.classes):
            raise PredictionError(f"classes of the probabilities stand twice, or are not allowed: {some(strange)}")
        _check_probabilities(predictions, coded[:: labels.shape[1]].recode(predictions.classes))
    if predictions.scores is not None and (np.diff(predictions.scores, axis=1) > 1e-9).any():
        raise PredictionError("scores are not in falling order")
    return replace(predictions, cell_ids=wanted) if order is None else replace(predictions.rows(order), cell_ids=wanted)


def row_order(wanted: "NDArray[Any]", given: "NDArray[Any]", what: str = "predictions") -> "NDArray[np.intp] | None":
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


def _check_repeats(coded: Categorical, labels: "NDArray[Any]") -> None:
    codes: NDArray[Any] = coded.codes.reshape(labels.shape)
    real = ~(coded == UNKNOWN).reshape(labels.shape)
    again = np.zeros(len(codes), dtype=bool)
    for rank in range(1, labels.shape[1]):
        again |= (codes[:, :rank] == codes[:, [rank]]).any(axis=1) & real[:, rank]
    if again.any():
        raise PredictionError(f"a cell has one label twice: {', '.join(map(str, labels[again.argmax()]))}")


def _check_probabilities(predictions: Predictions, first: "NDArray[np.int32]") -> None:
    """`first` is the column of every first label, -1 where it is no class."""
    values = predictions.probabilities
    assert values is not None
    if values.size == 0:
        return
    blocks = list(_blocks(values))
    low, high = min(block.min() for block in blocks), max(block.max() for block in blocks)
    if low < 0 or high > 1 + 1e-6:
        raise PredictionError(f"probabilities lie between {low:.3g} and {high:.3g}, expected 0 to 1")
    sums = np.concatenate([block.sum(axis=1, dtype=np.float64) for block in blocks])
    if (np.abs(sums - 1) > 1e-3).any():
        raise PredictionError(
            f"probabilities of a cell add up to {sums.min():.3g} ... {sums.max():.3g}, expected 1; scores that are "
            "none belong into `scores`, with abilities.probabilities: false"
        )
    own = np.where(first >= 0, values[np.arange(len(first)), first], 1)  # `unknown` is no class of its own
    if (own < np.concatenate([block.max(axis=1) for block in blocks]) - 1e-6).any():
        raise PredictionError("the first label of a cell is not the one with the largest probability")


def _blocks(values: "NDArray[Any]") -> "Iterator[NDArray[Any]]":
    """Views of some rows each."""
    return (values[start : start + _BLOCK] for start in range(0, len(values), _BLOCK))


def some(values: set[str]) -> str:
    """How many values there are, and the first three."""
    shown = ", ".join(sorted(values)[:3])
    return f"{len(values)} ({shown}{', ...' if len(values) > 3 else ''})" if values else "0"


def write(path: str | Path, predictions: Predictions) -> None:
    """Write predictions.parquet: cell_id, label_1..k, score_1..k, confidence (null where the method gives none).

    Where the predictions are decoded in other ways as well, two columns follow for each of them.
    """
    write_columns(path, as_columns(predictions))


def as_columns(predictions: Predictions) -> dict[str, Any]:
    """Columns of predictions.parquet."""
    k = predictions.labels.shape[1]
    columns: dict[str, Any] = {"cell_id": predictions.cell_ids}
    columns |= {f"label_{i + 1}": Categorical.of(predictions.labels[:, i]) for i in range(k)}
    columns |= {f"score_{i + 1}": None if predictions.scores is None else predictions.scores[:, i] for i in range(k)}
    columns["confidence"] = predictions.confidence
    for name, (codes, confidence) in (predictions.decoded or {}).items():
        columns[name] = Categorical(codes, list(predictions.classes))
        columns[f"confidence_{name}"] = confidence
    return columns


def write_empty(path: str | Path) -> None:
    """The table of a fit that failed: the columns of any fit, no row."""
    write(path, Predictions(np.empty(0, dtype=object), np.empty((0, 1), dtype=object)))


def read(path: str | Path) -> Predictions:
    """Read predictions.parquet or predictions.csv (cell_id, label_1 or label, optionally score_i and confidence)."""
    path = Path(path)
    if path.suffix == ".csv":
        columns = _read_csv(path)
    else:
        try:
            columns = read_columns(path)
        except Exception as error:  # pyarrow has many
            raise PredictionError(f"{path.name}: not a readable parquet file: {error}") from error
    labels = [columns[name] for name in _numbered(columns, "label")] or (
        [columns["label"]] if "label" in columns else []
    )
    if "cell_id" not in columns or not labels:
        raise PredictionError(f"{path.name}: expected the columns cell_id and label_1, found {', '.join(columns)}")
    scores = [columns[name] for name in _numbered(columns, "score")]
    if scores and len(scores) != len(labels):
        raise PredictionError(f"{path.name}: {len(labels)} label columns and {len(scores)} score columns")
    return Predictions(
        columns["cell_id"].astype(object),
        np.column_stack(labels).astype(object),
        _numbers(np.column_stack(scores), path) if scores else None,
        _numbers(columns["confidence"], path) if "confidence" in columns else None,
    )


@dataclass(frozen=True)
class Answers:
    """What scoring needs of predictions.parquet: ids as Arrow text, labels of every rank, confidences or None."""

    cell_ids: Any
    labels: list[Categorical]
    confidence: "NDArray[np.float64] | None"


def read_answers(path: str | Path, decoding: str = ARGMAX) -> Answers:
    """Read what scoring needs of predictions.parquet; no Python object is made for a cell.

    decoding: of `argmax` the labels of all ranks and the confidence that the method gives, else the one label and the
    confidence of that decoding. Raises PredictionError where the table has rows without it.
    """
    present = column_names(path)
    names, sure = _numbered(present, "label"), "confidence"
    if decoding != ARGMAX:
        if decoding not in DECODINGS:
            raise PredictionError(f"decoding is '{decoding}', expected {', '.join((ARGMAX, *DECODINGS))}")
        if decoding in present:
            names, sure = [decoding], f"confidence_{decoding}"
    columns = read_columns(path, ["cell_id", *names, sure], categorical=names, texts=["cell_id"])
    if decoding != ARGMAX and decoding not in present and len(columns["cell_id"]):
        raise PredictionError(
            f"{path}: has no column {decoding}, which only methods with probabilities have (abilities.probabilities); "
            f"leave out the method's .{decoding}, or fit again where the table is older than this decoding"
        )
    confidence = columns[sure]
    given = confidence.dtype.kind == "f" and not np.isnan(confidence).all()
    return Answers(columns["cell_id"], [columns[name] for name in names], confidence if given else None)


def decodings(path: str | Path) -> list[str]:
    """Decodings beside argmax that a predictions.parquet holds."""
    present = column_names(path)
    return [name for name in DECODINGS if name in present]


def _numbered(columns: Iterable[str], stem: str) -> list[str]:
    found = [name for name in columns if name.startswith(f"{stem}_") and name.removeprefix(f"{stem}_").isdigit()]
    return sorted(found, key=lambda name: int(name.rsplit("_", 1)[1]))


def _numbers(values: "NDArray[Any]", path: Path) -> "NDArray[Any] | None":
    """Numbers, or None where the whole column is empty."""
    if values.dtype.kind != "f":
        try:
            values = np.array([np.nan if v in (None, "") else float(v) for v in values.ravel()]).reshape(values.shape)
        except ValueError as error:
            raise PredictionError(f"{path.name}: a score is not a number: {error}") from error
    return None if np.isnan(values).all() else values


def _read_csv(path: Path) -> dict[str, "NDArray[Any]"]:
    """Columns of texts; equal labels are one object."""
    import csv

    shared: dict[str | None, str | None] = {}
    with open(path, encoding="utf-8", newline="") as handle:
        rows = csv.reader(handle)
        names = next(rows, [])
        columns: dict[str, list[str | None]] = {name: [] for name in names}
        for row in filter(None, rows):
            for name, text in zip_longest(names, row[: len(names)]):
                columns[name].append(shared.setdefault(text, text) if name.startswith("label") else text)
    return {name: np.array(column, dtype=object) for name, column in columns.items() if column}


@contextmanager
def probabilities_file(
    path: str | Path, cell_ids: "NDArray[Any]", classes: Sequence[str]
) -> "Iterator[Callable[[NDArray[Any]], None]]":
    """Write probabilities.npz part by part: gives a function that appends rows, in the order of `cell_ids`.

    Holds a float16 matrix, class ids and cell ids, all readable without pickle, not compressed.
    """
    width = max(map(len, cell_ids), default=1)
    with atomic(path) as temporary, NpzWriter(temporary) as archive:
        archive.add("classes", np.array(classes, dtype=str))
        with archive.open("cell_ids", f"<U{width}", (len(cell_ids),)) as member:
            for ids in _blocks(cell_ids):
                member.write(ids.astype(f"<U{width}").tobytes())
        with archive.open("probabilities", np.float16, (len(cell_ids), len(classes))) as member:

            def append(values: "NDArray[Any]") -> None:
                for block in _blocks(values):
                    member.write(block.astype(np.float16).tobytes())

            yield append


def write_probabilities(path: str | Path, predictions: Predictions) -> None:
    """probabilities.npz of predictions that are in memory."""
    if predictions.probabilities is None:
        raise PredictionError("the predictions hold no probabilities")
    with probabilities_file(path, predictions.cell_ids, predictions.classes) as append:
        append(predictions.probabilities)


def map_probabilities(path: str | Path, cells: int) -> tuple["NDArray[Any]", list[str]]:
    """Matrix and class ids of probabilities.npz; the matrix is mapped into memory, in the order of predictions.parquet.

    Raises DataError where it has another number of cells.
    """
    matrix, classes = mapped(path, "probabilities"), mapped(path, "classes")
    if len(matrix) != cells:
        raise damaged(path, ValueError(f"{len(matrix)} cells, predictions.parquet has {cells}"))
    return matrix, classes.tolist()


def read_probabilities(path: str | Path) -> tuple["NDArray[Any]", "NDArray[Any]", "NDArray[Any]"]:
    """Matrix, class ids and cell ids of probabilities.npz, read into memory."""
    with np.load(path, allow_pickle=False) as archive:
        return (
            archive["probabilities"].astype(np.float64),
            archive["classes"].astype(object),
            archive["cell_ids"].astype(object),
        )
