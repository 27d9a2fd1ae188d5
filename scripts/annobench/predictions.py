"""The predictions contract: one row per test cell, k labels with scores, a confidence; optionally all probabilities."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.columns import read_columns, write_columns
from annobench.errors import PredictionError
from annobench.files import atomic
from annobench.ontology import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class Predictions:
    """What a method says of every query cell.

    cell_ids: (n,) text. labels: (n, k) Cell Ontology ids or `unknown`, best first. scores: (n, k) or None.
    confidence: (n,) or None; calibration needs it within 0..1. probabilities: (n, classes) or None, with `classes`.
    """

    cell_ids: "NDArray[Any]"
    labels: "NDArray[Any]"
    scores: "NDArray[Any] | None" = None
    confidence: "NDArray[Any] | None" = None
    probabilities: "NDArray[Any] | None" = None
    classes: tuple[str, ...] = ()
    decisions: "NDArray[Any] | None" = None

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
        values = np.asarray(probabilities, dtype=np.float64)
        order = np.argsort(-values, axis=1, kind="stable")[:, : min(top_k, len(classes))]
        scores = np.take_along_axis(values, order, axis=1)
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

    def rows(self, rows: slice) -> "Predictions":
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
        )

    def decision_values(self) -> "NDArray[Any] | None":
        """The decision values, or the logarithm of the probabilities where the method gives none; (n, classes)."""
        if self.decisions is not None or self.probabilities is None:
            return self.decisions
        return np.log(np.clip(self.probabilities, 1e-12, 1))


def validate(predictions: Predictions, cell_ids: Iterable[str], allowed: Iterable[str]) -> Predictions:
    """Return the predictions in the order of `cell_ids`; raises PredictionError where they break the contract.

    Exactly one row for every test cell and no other, labels among `allowed` (or `unknown`), no NaN, scores in falling
    order, confidences finite, probabilities within 0..1 that add up to one and have their largest value at the first
    label.
    """
    wanted, allowed = list(cell_ids), set(allowed)
    given = [str(cell) for cell in predictions.cell_ids]
    n = len(given)
    position = {cell: i for i, cell in enumerate(given)}
    if len(position) < n:
        raise PredictionError(f"{n - len(position)} cells are predicted more than once")
    missing, extra = set(wanted) - set(given), set(given) - set(wanted)
    if missing or extra:
        raise PredictionError(
            f"predictions for {n} cells, expected {len(wanted)}: {_some(missing)} missing, {_some(extra)} not asked for"
        )
    labels = predictions.labels
    if labels.ndim != 2 or labels.shape[0] != n or labels.shape[1] < 1:
        raise PredictionError(f"labels have shape {labels.shape}, expected ({n}, k)")
    unknown = sorted(
        {str(v) for v in labels.ravel() if not isinstance(v, str)}
        | (set(map(str, labels.ravel())) - set(allowed) - {UNKNOWN})
    )
    if unknown:
        raise PredictionError(f"{len(unknown)} predicted labels are not among the allowed ones: {_some(set(unknown))}")
    for name, values, shape in (
        ("scores", predictions.scores, labels.shape),
        ("confidence", predictions.confidence, (n,)),
        ("probabilities", predictions.probabilities, (n, len(predictions.classes))),
        ("decisions", predictions.decisions, (n, len(predictions.classes))),
    ):
        if values is not None and values.shape != shape:
            raise PredictionError(f"{name} have shape {values.shape}, expected {shape}")
        if values is not None and not np.isfinite(values).all():
            raise PredictionError(f"{name} hold {int((~np.isfinite(values)).sum())} NaN or infinite values")
    repeated = [row for row in labels if len(set(row) - {UNKNOWN}) + list(row).count(UNKNOWN) < len(row)]
    if repeated:
        raise PredictionError(f"a cell has one label twice: {', '.join(map(str, repeated[0]))}")
    if predictions.probabilities is not None:
        strange = set(predictions.classes) - set(allowed)
        if strange or len(set(predictions.classes)) < len(predictions.classes):
            raise PredictionError(f"classes of the probabilities stand twice, or are not allowed: {_some(strange)}")
        _check_probabilities(predictions)
    if predictions.scores is not None and (np.diff(predictions.scores, axis=1) > 1e-9).any():
        raise PredictionError("scores are not in falling order")
    order = [position[cell] for cell in wanted]

    def arranged(values: "NDArray[Any] | None") -> "NDArray[Any] | None":
        return None if values is None else values[order]

    return Predictions(
        np.asarray(wanted, dtype=object),
        labels[order],
        arranged(predictions.scores),
        arranged(predictions.confidence),
        arranged(predictions.probabilities),
        predictions.classes,
        arranged(predictions.decisions),
    )


def _check_probabilities(predictions: Predictions) -> None:
    values = predictions.probabilities
    assert values is not None
    if values.size and (values.min() < 0 or values.max() > 1 + 1e-6):
        raise PredictionError(f"probabilities lie between {values.min():.3g} and {values.max():.3g}, expected 0 to 1")
    sums = values.sum(axis=1)
    if (np.abs(sums - 1) > 1e-3).any():
        raise PredictionError(
            f"probabilities of a cell add up to {sums.min():.3g} ... {sums.max():.3g}, expected 1; scores that are "
            "none belong into `scores`, with abilities.probabilities: false"
        )
    column = {name: i for i, name in enumerate(predictions.classes)}
    first = np.array([column.get(str(label), -1) for label in predictions.labels[:, 0]])
    own = np.where(first >= 0, values[np.arange(len(first)), first], 1)  # `unknown` is no class of its own
    if (own < values.max(axis=1, initial=0) - 1e-6).any():
        raise PredictionError("the first label of a cell is not the one with the largest probability")


def _some(values: set[str]) -> str:
    shown = ", ".join(sorted(values)[:3])
    return f"{len(values)} ({shown}{', ...' if len(values) > 3 else ''})" if values else "0"


def write(path: str | Path, predictions: Predictions) -> None:
    """Write predictions.parquet: cell_id, label_1..k, score_1..k, confidence (null where the method gives none)."""
    k = predictions.labels.shape[1]
    columns: dict[str, Any] = {"cell_id": predictions.cell_ids}
    columns |= {f"label_{i + 1}": predictions.labels[:, i] for i in range(k)}
    columns |= {f"score_{i + 1}": None if predictions.scores is None else predictions.scores[:, i] for i in range(k)}
    write_columns(path, {**columns, "confidence": predictions.confidence})


def write_empty(path: str | Path) -> None:
    """The table of a fit that failed: the same columns, no row."""
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
    import csv

    with open(path, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
        names = rows[0].keys() if rows else []
    return {name: np.array([row[name] for row in rows], dtype=object) for name in names}


def write_probabilities(path: str | Path, predictions: Predictions) -> None:
    """probabilities.npz: float16 matrix, class ids, cell ids (all readable without pickle)."""
    if predictions.probabilities is None:
        raise PredictionError("the predictions hold no probabilities")
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(
            handle,
            probabilities=predictions.probabilities.astype(np.float16),
            classes=np.array(predictions.classes, dtype=str),
            cell_ids=predictions.cell_ids.astype(str),
        )


def write_decisions(path: str | Path, parts: Mapping[str, Predictions]) -> bool:
    """decisions.npz: decision values of several sets of cells (`test`, `validation`, kinds of foreign cells).

    Holds, all readable without pickle: float32 matrix, classes, cell ids, the name of the set, the first label and the
    method's own confidence (NaN where it gives none). Returns whether there was anything to write.
    """
    values = {name: part.decision_values() for name, part in parts.items()}
    known = {name: part for name, part in parts.items() if values[name] is not None and len(part.cell_ids)}
    if "test" not in known:
        return False
    classes = known["test"].classes
    order = {
        name: [part.classes.index(label) for label in classes]
        for name, part in known.items()
        if set(part.classes) == set(classes)
    }
    own = {name: known[name].confidence for name in order}
    confidences: list[Any] = [
        np.full(len(known[name].cell_ids), np.nan) if values is None else values for name, values in own.items()
    ]
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(
            handle,
            decisions=np.vstack([np.asarray(values[name])[:, order[name]] for name in order]).astype(np.float32),
            classes=np.array(classes, dtype=str),
            cell_ids=np.concatenate([known[name].cell_ids for name in order]).astype(str),
            part=np.concatenate([np.full(len(known[name].cell_ids), name) for name in order]).astype(str),
            labels=np.concatenate([known[name].labels[:, 0] for name in order]).astype(str),
            confidence=np.concatenate(confidences).astype(np.float64),
        )
    return True


def read_decisions(path: str | Path) -> dict[str, "NDArray[Any]"]:
    """What `write_decisions` wrote, texts as objects."""
    with np.load(path, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    return {name: values.astype(object) if values.dtype.kind == "U" else values for name, values in found.items()}


def read_probabilities(path: str | Path) -> tuple["NDArray[Any]", "NDArray[Any]", "NDArray[Any]"]:
    """Matrix, class ids and cell ids of probabilities.npz."""
    with np.load(path, allow_pickle=False) as archive:
        return (
            archive["probabilities"].astype(np.float64),
            archive["classes"].astype(object),
            archive["cell_ids"].astype(object),
        )
