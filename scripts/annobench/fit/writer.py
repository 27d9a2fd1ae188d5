"""Writes what a method predicts, part after part; memory is bounded by the size of a part."""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import PredictionError
from annobench.core.files import atomic
from annobench.core.parquet import ROW_GROUP, ColumnWriter
from annobench.fit.decisions import sample
from annobench.fit.decoding import Decoder
from annobench.fit.predictions import Predictions, joined, some, validate
from annobench.fit.predictions_file import as_columns, probabilities_file

if TYPE_CHECKING:
    from annobench.fit.predictions import Numbers
    from annobench.ontology import Ontology

MATRIX_VALUES = 20_000_000  # of 16 bit, 40 MB: the most that `keep.probabilities: auto` keeps


class PredictionsWriter:
    """Validates predictions of the test cells and writes predictions.parquet and, where it is kept, probabilities.npz.

    The files appear when the block that uses the writer ends without an error and every cell is predicted.

    Parameters
    ----------
    folder
        Where the files go.
    cell_ids
        All test cells; parts come in their order.
    allowed
        Labels that may be predicted.
    top_k
        Labels kept per cell.
    probabilities
        Whether the method gives probabilities (`abilities.probabilities`).
    keep
        Whether the probabilities of all classes are kept: true, false, or `auto`, by their number.
    seed
        Draws the sample of cells whose decision values are kept.
    ontology
        Decodes probabilities beside argmax; None for no other decoding.

    Attributes
    ----------
    left_out
        Output that was not kept, or only of a sample -> why.
    has_confidence, has_probabilities
        What the method gave.
    """

    def __init__(
        self,
        folder: Path,
        cell_ids: Sequence[str],
        allowed: Collection[str],
        *,
        top_k: int,
        probabilities: bool = True,
        keep: bool | str = "auto",
        seed: int = 0,
        ontology: "Ontology | None" = None,
    ) -> None:
        self._folder, self._allowed, self._top_k = folder, allowed, top_k
        self._ids = np.array(cell_ids, dtype=object)
        self._probabilities, self._keep = probabilities, keep
        self._sample = sample(len(self._ids), seed)
        self._done = 0
        self._shape: tuple[object, ...] = ()
        self._waiting: list[Predictions] = []
        self._drawn: list[Predictions] = []
        self._files = ExitStack()
        self._ontology = ontology
        self._decoder: Decoder | None = None
        self._table: ColumnWriter | None = None
        self._append: Callable[[Numbers], None] | None = None
        self.left_out: dict[str, str] = {}
        self.has_confidence = self.has_probabilities = False

    @property
    def keeps_probabilities(self) -> bool:
        """Whether probabilities.npz is written."""
        return self._append is not None

    @property
    def decisions(self) -> Predictions | None:
        """A sample of the test cells with their decision values."""
        return joined(self._drawn) if self._drawn else None

    def add(self, part: Predictions) -> None:
        """Write the predictions of the next cells, which may come in any order among themselves.

        Raises PredictionError where they break the contract, or hold other things than the parts before.
        """
        end = self._done + len(part.cell_ids)
        valid = validate(part, self._ids[self._done : end], self._allowed).cut(self._top_k)
        self._check_confidence(valid.confidence)
        given = (valid.scores, valid.confidence, valid.probabilities, valid.decisions)
        shape = (valid.labels.shape[1], valid.classes, *(values is not None for values in given))
        if self._table is None:
            self._shape = shape
            self._open(valid)
        elif shape != self._shape:
            raise PredictionError(
                "parts of the predictions differ in their number of labels, in their classes or in what they hold"
            )
        if self._append is not None and valid.probabilities is not None:
            self._append(valid.probabilities)
        if self._decoder is not None and valid.probabilities is not None:
            valid.decoded = self._decoder(valid.probabilities)
        here = self._sample[slice(*np.searchsorted(self._sample, (self._done, end)))] - self._done
        values = valid.rows(here).decision_values() if len(here) else None
        if values is not None:
            drawn = valid.rows(here)
            drawn.decisions, drawn.probabilities, drawn.decoded = values, None, None
            self._drawn.append(drawn)
        valid.probabilities = valid.decisions = None
        self._waiting.append(valid)
        self._done = end
        if sum(len(one.cell_ids) for one in self._waiting) >= ROW_GROUP:
            self._flush()

    def _check_confidence(self, confidence: "Numbers | None") -> None:
        if not self._probabilities or confidence is None:
            return
        low, high = confidence.min(initial=0), confidence.max(initial=1)
        if low < 0 or high > 1 + 1e-6:
            raise PredictionError(
                f"confidences lie between {low:.3g} and {high:.3g}; with abilities.probabilities they must be "
                "probabilities, otherwise set it to false"
            )

    def _open(self, first: Predictions) -> None:
        path = self._files.enter_context(atomic(self._folder / "predictions.parquet"))
        self._table = self._files.enter_context(ColumnWriter(path))
        self.has_confidence = first.confidence is not None
        self.has_probabilities = self._probabilities and first.probabilities is not None
        cells, classes = len(self._ids), len(first.classes)
        if not self.has_probabilities:
            return
        if self._ontology is not None:
            self._decoder = Decoder(first.classes, self._ontology)
        if self._keep is False:
            self.left_out["probabilities"] = "keep.probabilities is false"
        elif self._keep == "auto" and cells * classes > MATRIX_VALUES:
            self.left_out["probabilities"] = (
                f"{cells:,} cells x {classes} classes are more than the {MATRIX_VALUES:,} values that "
                "keep.probabilities: auto keeps"
            )
        else:
            path = self._folder / "probabilities.npz"
            self._append = self._files.enter_context(probabilities_file(path, self._ids, first.classes))

    def _flush(self) -> None:
        assert self._table is not None
        self._table.write(as_columns(joined(self._waiting)))
        self._waiting = []

    def __enter__(self) -> "PredictionsWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._files.__exit__(kind, error, trace)
            return
        with self._files:
            if self._done < len(self._ids) or self._table is None:
                missing = some(set(self._ids[self._done :]))
                raise PredictionError(
                    f"predictions for {self._done} cells, expected {len(self._ids)}: {missing} missing"
                )
            if self._waiting:
                self._flush()
        if self._drawn and len(self._sample) < len(self._ids):
            self.left_out["decisions"] = f"a sample of {len(self._sample):,} of {len(self._ids):,} test cells"
