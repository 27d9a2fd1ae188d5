"""predictions.parquet and probabilities.npz, and predictions that external commands write as CSV."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from annobench.config.names import ARGMAX, DECODINGS
from annobench.core.errors import PredictionError
from annobench.core.files import atomic, damaged
from annobench.core.npz import NpzWriter, mapped
from annobench.core.parquet import Categorical, column_names, read_columns, write_columns
from annobench.fit.predictions import Predictions, blocks

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from annobench.fit.predictions import Numbers, Texts

Columns: TypeAlias = "dict[str, Texts | Numbers | Categorical | None]"


def write(path: str | Path, predictions: Predictions) -> None:
    """Write predictions.parquet."""
    write_columns(path, as_columns(predictions))


def as_columns(predictions: Predictions) -> Columns:
    """Columns of predictions.parquet.

    They are cell_id, label_1..k, score_1..k and confidence (null where the method gives none). Two columns follow for
    each decoding: the label, and `confidence_<decoding>`.
    """
    k = predictions.labels.shape[1]
    columns: Columns = {"cell_id": predictions.cell_ids}
    columns |= {f"label_{i + 1}": Categorical.of(predictions.labels[:, i]) for i in range(k)}
    columns |= {f"score_{i + 1}": None if predictions.scores is None else predictions.scores[:, i] for i in range(k)}
    columns["confidence"] = predictions.confidence
    for name, (codes, confidence) in (predictions.decoded or {}).items():
        columns[name] = Categorical(codes, list(predictions.classes))
        columns[f"confidence_{name}"] = confidence
    return columns


def write_empty(path: str | Path) -> None:
    """The table of a fit without predictions: the columns of any fit, no row."""
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

    cell_ids: "pa.Array"
    labels: list[Categorical]
    confidence: "NDArray[np.float64] | None"


def read_answers(path: str | Path, decoding: str = ARGMAX) -> Answers:
    """Read what scoring needs of predictions.parquet; no Python object is made for a cell.

    Parameters
    ----------
    path
        The file.
    decoding
        `argmax` reads the labels of all ranks and the method's own confidence; any other decoding its one label and its
        confidence.

    Raises
    ------
    PredictionError
        The decoding is unknown, or the table has rows without it.
    """
    present = column_names(path)
    names, confidence_name = _numbered(present, "label"), "confidence"
    if decoding != ARGMAX:
        if decoding not in DECODINGS:
            raise PredictionError(f"decoding is '{decoding}', expected {', '.join((ARGMAX, *DECODINGS))}")
        if decoding in present:
            names, confidence_name = [decoding], f"confidence_{decoding}"
    columns = read_columns(path, ["cell_id", *names, confidence_name], categorical=names, texts=["cell_id"])
    if decoding != ARGMAX and decoding not in present and len(columns["cell_id"]):
        raise PredictionError(
            f"{path}: has no column {decoding}, which only methods with probabilities have (abilities.probabilities); "
            f"leave out the method's .{decoding}, or fit again where the table is older than this decoding"
        )
    confidence = columns[confidence_name]
    given = confidence.dtype.kind == "f" and not np.isnan(confidence).all()
    return Answers(columns["cell_id"], [columns[name] for name in names], confidence if given else None)


def _numbered(columns: Iterable[str], stem: str) -> list[str]:
    numbered = [name for name in columns if name.startswith(f"{stem}_") and name.removeprefix(f"{stem}_").isdigit()]
    return sorted(numbered, key=lambda name: int(name.rsplit("_", 1)[1]))


def _numbers(values: "Texts | Numbers", path: Path) -> "Numbers | None":
    """Numbers, or None where the whole column is empty."""
    try:
        plain = (
            values if values.dtype.kind == "f" else [np.nan if v in (None, "") else float(v) for v in values.ravel()]
        )
    except ValueError as error:
        raise PredictionError(f"{path.name}: a score is not a number: {error}") from error
    numbers: Numbers = np.asarray(plain, dtype=values.dtype if values.dtype.kind == "f" else np.float64)
    return None if np.isnan(numbers).all() else numbers.reshape(values.shape)


def _read_csv(path: Path) -> "dict[str, Texts]":
    """Columns of texts; equal labels are one object."""
    import csv

    shared: dict[str | None, str | None] = {}
    with open(path, encoding="utf-8-sig", newline="") as handle:
        rows = csv.reader(handle)
        names = next(rows, [])
        columns: dict[str, list[str | None]] = {name: [] for name in names}
        for row in filter(None, rows):
            for name, text in zip_longest(names, row[: len(names)]):
                columns[name].append(shared.setdefault(text, text) if name.startswith("label") else text)
    return {name: np.array(column, dtype=object) for name, column in columns.items() if column}


@contextmanager
def probabilities_file(
    path: str | Path, cell_ids: "Texts", classes: Sequence[str]
) -> "Iterator[Callable[[Numbers], None]]":
    """Write probabilities.npz part by part: gives a function that appends rows, in the order of `cell_ids`.

    Holds a float16 matrix, class ids and cell ids, all readable without pickle, not compressed.
    """
    width = max(map(len, cell_ids), default=1)
    with atomic(path) as temporary, NpzWriter(temporary) as archive:
        archive.add("classes", np.array(classes, dtype=str))
        with archive.open("cell_ids", f"<U{width}", (len(cell_ids),)) as member:
            for ids in blocks(cell_ids):
                member.write(ids.astype(f"<U{width}").tobytes())
        with archive.open("probabilities", np.float16, (len(cell_ids), len(classes))) as member:

            def append(values: "Numbers") -> None:
                for block in blocks(values):
                    member.write(block.astype(np.float16).tobytes())

            yield append


def write_probabilities(path: str | Path, predictions: Predictions) -> None:
    """probabilities.npz of predictions that are in memory."""
    if predictions.probabilities is None:
        raise PredictionError("the predictions hold no probabilities")
    with probabilities_file(path, predictions.cell_ids, predictions.classes) as append:
        append(predictions.probabilities)


def map_probabilities(path: str | Path, cells: int) -> tuple["NDArray[np.float16]", list[str]]:
    """Matrix and class ids of probabilities.npz; the matrix is mapped into memory, in the order of predictions.parquet.

    Raises DataError where it has another number of cells.
    """
    matrix, classes = mapped(path, "probabilities"), mapped(path, "classes")
    if len(matrix) != cells:
        raise damaged(path, ValueError(f"{len(matrix)} cells, predictions.parquet has {cells}"))
    return matrix, classes.tolist()


def read_probabilities(path: str | Path) -> "tuple[NDArray[np.float64], Texts, Texts]":
    """Matrix, class ids and cell ids of probabilities.npz, read into memory."""
    with np.load(path, allow_pickle=False) as archive:
        return (
            archive["probabilities"].astype(np.float64),
            archive["classes"].astype(object),
            archive["cell_ids"].astype(object),
        )
