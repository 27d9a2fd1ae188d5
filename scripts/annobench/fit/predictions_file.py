"""predictions.parquet and probabilities.npz, and predictions that external commands write as CSV."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from annobench.config.decodings import AT_FIT
from annobench.config.names import ARGMAX
from annobench.config.plugins import plugins
from annobench.core.errors import DataError, PredictionError
from annobench.core.files import atomic, damaged
from annobench.core.missing import is_missing
from annobench.core.npz import NpzWriter, mapped
from annobench.core.parquet import Categorical, column_names, read_columns, write_columns
from annobench.core.tables import Wanted, read_table
from annobench.core.tables import column_names as table_columns
from annobench.fit.predictions import Predictions, blocks
from annobench.ontology.graph import UNKNOWN
from annobench.ontology.ids import canonical

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
    """Read predictions.parquet or predictions.csv (cell_id, label_1 or label, optionally score_i and confidence).

    Labels in another spelling of ids are those ids; one that is missing is `unknown`, and has the lowest scores.

    Raises
    ------
    PredictionError
        Where the file is no table with these columns, with the line.
    """
    path = Path(path)
    try:
        names = table_columns(path)
        labels = _numbered(names, "label") or ["label"]
        scores = _numbered(names, "score")
        if "cell_id" not in names or labels[0] not in names:
            raise PredictionError(f"{path.name}: expected the columns cell_id and label_1, found {', '.join(names)}")
        if scores and len(scores) != len(labels):
            raise PredictionError(f"{path.name}: {len(labels)} label columns and {len(scores)} score columns")
        numbers = [*scores, *(["confidence"] if "confidence" in names else [])]
        table = read_table(path, Wanted(ids="cell_id", texts=labels, numbers=numbers, empty=True))
    except DataError as error:
        raise PredictionError(str(error)) from error
    columns = [table.texts[name].renamed(_as_label) for name in labels]
    values = [_numbers(table.numbers[name]) for name in numbers]
    score = None if not scores or all(one is None for one in values[: len(scores)]) else values[: len(scores)]
    return Predictions(
        np.array(table.ids.to_pylist(), dtype=object),
        np.column_stack([column.to_text() for column in columns]),
        None if score is None else np.column_stack([table.numbers[name] for name in scores]),
        values[-1] if "confidence" in names else None,
    )


def _as_label(text: str) -> str:
    """A label as predictions have it."""
    return UNKNOWN if is_missing(text) or text.lower() == UNKNOWN else canonical(text)


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
        if decoding not in (written := plugins(AT_FIT)):
            raise PredictionError(f"decoding is '{decoding}', expected {', '.join((ARGMAX, *written))}")
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


def _numbers(values: "NDArray[np.float64]") -> "NDArray[np.float64] | None":
    """Numbers, or None where the whole column is empty."""
    return None if np.isnan(values).all() else values


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
