"""Predictions made elsewhere: what a reader finds in a file, its labels as Cell Ontology ids, joined by cell id."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from annobench.core.errors import ConfigError, DataError
from annobench.core.files import expanded
from annobench.core.parquet import Categorical
from annobench.core.paths import ROOT as REPOSITORY
from annobench.core.records import plain
from annobench.core.tables import Table
from annobench.fit.method import Notes
from annobench.fit.predictions import Predictions
from annobench.methods.shared.matching import SHOWN, Listed, matched, prefixed
from annobench.ontology import ROOT, UNKNOWN, Ontology
from annobench.ontology.ids import canonical as as_id
from annobench.ontology.labels import read_table

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


def located(path: str) -> Path:
    """A file that a method file names: relative to the repository, `~` and variables expanded."""
    return REPOSITORY / expanded(path)


def most(counts: Mapping[str, int]) -> dict[str, int]:
    """The largest counts, for run records."""
    return dict(Counter({name or "(empty)": n for name, n in counts.items()}).most_common(SHOWN))


def listed(values: Iterable[str]) -> str:
    """The first ten values, for messages."""
    found = list(values)
    return ", ".join(found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")


def counted(cells: Mapping[str, int]) -> str:
    """The ten most frequent names with their numbers of cells, for messages."""
    return "; ".join(f"{name}: {n}" for name, n in most(cells).items()) + ("; ..." if len(cells) > SHOWN else "")


@dataclass(frozen=True)
class ImportedPredictions(Listed):
    """What a reader finds in a file: labels as they are written there, one row per cell.

    Parameters
    ----------
    file
        Name of the file, for messages.
    cell_ids
        (n,) Arrow text.
    labels
        A column of texts for every rank, best first; empty where a cell has no label of a rank.
    scores
        (n, ranks) numbers, NaN where there is no label; or None.
    confidence
        (n,) numbers, NaN where there is no first label; or None.
    rows
        (n,) where the cells are in the file.
    unit
        What `rows` counts: `line` or `row`.
    labels_are
        What a label must be to have an id, for messages, where the reader knows better than the method file.
    notes
        What the run record shall say besides.
    """

    file: str
    cell_ids: "pa.Array"
    labels: Sequence[Categorical]
    scores: "NDArray[np.float64] | None"
    confidence: "NDArray[np.float64] | None"
    rows: "NDArray[np.int64]"
    unit: str = "line"
    labels_are: str | None = None
    notes: Notes = field(default_factory=dict)

    @classmethod
    def of(
        cls, table: Table, labels: Sequence[str], scores: Sequence[str] = (), confidence: str | None = None
    ) -> "ImportedPredictions":
        """From columns of a table: those of the labels, best first, of their scores, and of the confidence."""
        return cls(
            table.file,
            table.ids,
            [table.texts[name] for name in labels],
            np.column_stack([table.numbers[name] for name in scores]) if scores else None,
            None if confidence is None else table.numbers[confidence],
            table.rows,
            table.unit,
        )

    def prefixed(self, prefix: str) -> "ImportedPredictions":
        """The same with a text before every cell id."""
        return replace(self, cell_ids=prefixed(self.cell_ids, prefix)) if prefix else self

    def without_score(self) -> Notes:
        """How many cells have a first label, but no confidence: theirs is the lowest. Empty where there is none."""
        if self.confidence is None:
            return {}
        first = self.labels[0]
        labelled = np.array([name.lower() not in ("", UNKNOWN) for name in first.names])[first.codes]
        return {"cells_without_score": int((np.isnan(self.confidence) & labelled).sum())}


def score_pairs(labels: Sequence[str], scores: Sequence[str], confidence: str | None) -> list[tuple[str, str]]:
    """Columns of numbers, each with the column of the labels that need it; see Wanted.complete.

    Raises ConfigError where there is not one score for each label.
    """
    if scores and len(scores) != len(labels):
        raise ConfigError(
            f"options.scores names {len(scores)} columns, expected {len(labels)}: one for `label` and each of `ranks`"
        )
    pairs = list(zip(scores, labels, strict=True)) if scores else []
    return [*pairs, *([(confidence, labels[0])] if confidence is not None else [])]


class LabelIds(NamedTuple):
    """Labels as ids: (n, ranks) codes into `ids`, whose last one is `unknown`."""

    codes: "NDArray[np.int32]"
    ids: "NDArray[np.object_]"


@dataclass(frozen=True)
class Labels:
    """How the labels of a file become Cell Ontology ids.

    Parameters
    ----------
    find
        Gives the id of a label, None where there is none. The label `unknown` needs no id.
    what
        What the labels should be, for messages.
    unmapped
        What happens with labels without an id: `unknown`, or `error`.
    given
        Gives the id that a label states itself; where `find` gives another one, that id is obsolete. Else None.
    """

    find: Callable[[str], str | None]
    what: str
    unmapped: str
    given: Callable[[str], str] | None = None

    @classmethod
    def by_id(cls, ontology: Ontology, unmapped: str) -> "Labels":
        """Labels that are ids; obsolete ones become their replacement."""
        what = f"an id of Cell Ontology {ontology.release}"
        return cls(lambda text: ontology.resolve(as_id(text)), what, unmapped, as_id)

    @classmethod
    def by_name(cls, ontology: Ontology, unmapped: str) -> "Labels":
        """Labels that are names of the ontology."""
        return cls(ontology.find, f"a label or an exact synonym of Cell Ontology {ontology.release}", unmapped)

    @classmethod
    def by_table(cls, name: str, ontology: Ontology, unmapped: str) -> "Labels":
        """Labels that a table maps: a name in config/labels, or the path of another table (.tsv)."""
        file = name if name.endswith(".tsv") else f"config/labels/{name}.tsv"
        path = located(file)
        if not path.is_file():
            raise ConfigError(f"parameters.label_table: there is no file {file}")
        table = read_table(path, ontology)
        return cls(lambda text: table.get(text, table.get(plain(text))), f"in {file}", unmapped)

    def _id(self, text: str) -> str | None:
        if text.lower() == UNKNOWN:
            return UNKNOWN
        return self.find(text) if text else None

    def ids(self, given: ImportedPredictions) -> tuple[LabelIds, Notes]:
        """Ids of all labels, and what run records say of the first label of every cell.

        A rank without a label is `unknown`, and so is one that repeats the id of a better rank. Raises DataError for a
        label without an id where these are an error, and where no label has one.
        """
        names = list(dict.fromkeys(name for rank in given.labels for name in rank.names))
        found = {text: self._id(text) for text in names}
        first = given.labels[0].counts()
        lacking = {text: n for text, n in first.items() if found[text] is None}
        self._check(given, found, lacking)
        ids = [*dict.fromkeys(label for label in found.values() if label not in (None, UNKNOWN)), UNKNOWN]
        at = {label: code for code, label in enumerate(ids)}
        codes = np.column_stack(
            [
                np.array([at[found[name] or UNKNOWN] for name in rank.names] or [0], dtype=np.int32)[rank.codes]
                for rank in given.labels
            ]
        )
        for rank in range(1, codes.shape[1]):
            codes[(codes[:, :rank] == codes[:, [rank]]).any(axis=1), rank] = len(ids) - 1
        replaced = Counter[str]()
        for text, n in first.items():
            if self.given and found[text] not in (None, UNKNOWN, self.given(text)):
                replaced[f"{self.given(text)} -> {found[text]}"] += n
        return LabelIds(codes, np.array(ids, dtype=object)), {
            "cells_unmapped": sum(lacking.values()),
            "labels_unmapped": len(lacking),
            "unmapped": most(lacking),
            "cells_replaced": replaced.total(),
            "replaced": most(replaced),
            "cells_root": sum(n for text, n in first.items() if found[text] == ROOT),
        }

    def _check(self, given: ImportedPredictions, found: Mapping[str, str | None], lacking: Mapping[str, int]) -> None:
        """Raise DataError for labels without an id."""
        what = given.labels_are or self.what
        if lacking and set(found.values()) <= {None, UNKNOWN}:
            raise DataError(
                f"{given.file}: none of the labels is {what} (such as '{next(iter(lacking))}'); say in `labels` what "
                "they are, or map them by a `label_table`"
            )
        if lacking and self.unmapped == "error":
            text = next((text for text in lacking if text), "")
            row = int(np.flatnonzero(given.labels[0] == text)[0])
            raise DataError(
                f"{given.place(row)}: label '{text}' is not {what}; {len(lacking)} labels of "
                f"{sum(lacking.values())} cells are not ({counted(lacking)}), and `unmapped` is error"
            )


def joined(
    given: ImportedPredictions, labels: LabelIds, cells: "NDArray[np.object_]", *, missing: str, surplus: str
) -> tuple[Predictions, Notes]:
    """Predictions of the wanted cells, joined by id, and what run records say of missing and surplus cells.

    Parameters
    ----------
    given
        What a reader found.
    labels
        Its labels as ids.
    cells, missing, surplus
        As of `matched`; a missing cell that is no error is `unknown`, with the lowest confidence and scores.
    """
    _check_scores(given)
    match = matched(given, cells, missing=missing, surplus=surplus)
    n, row = len(given.cell_ids), match.row
    nothing = np.full((1, labels.codes.shape[1]), len(labels.ids) - 1, dtype=np.int32)
    same = len(row) == n and bool((row == np.arange(n)).all())  # then nothing is copied
    chosen = slice(0, n) if same else np.where(row < 0, n, row)
    found = Predictions(cells, labels.ids[np.concatenate([labels.codes, nothing])[chosen]])
    if given.scores is not None:
        found.scores = _without_gaps(given.scores)[chosen]
    if given.confidence is not None:
        found.confidence = _without_gaps(given.confidence)[chosen]
    return found, match.notes()


def _check_scores(given: ImportedPredictions) -> None:
    """Raise DataError where the score of a rank is larger than that of a better rank."""
    if given.scores is None:
        return
    rising = given.scores[:, 1:] > given.scores[:, :-1]
    if rising.any():
        row, rank = (int(place[0]) for place in np.nonzero(rising))
        first, second = given.scores[row, rank : rank + 2]
        raise DataError(
            f"{given.place(row)}: the score of rank {rank + 2} ({second:g}) is larger than that of rank {rank + 1} "
            f"({first:g}); name the columns of `ranks` and `scores` best first"
        )


def _without_gaps(values: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Numbers of all cells, and a last row for a cell that is not there: 0, or the lowest value below, where none is.

    A rank without a score has the score of the rank before it, so that scores fall.
    """
    lowest = np.fmin.reduce(values, axis=None, initial=0.0)  # fmin passes over NaN
    found = np.concatenate([values, np.full((1, *values.shape[1:]), lowest)])
    columns = [found] if found.ndim == 1 else list(found.T)
    before: NDArray[np.float64] | None = None
    for column in columns:
        gaps = np.isnan(column)
        if gaps.any():
            column[gaps] = lowest if before is None else before[gaps]
        before = column
    return found
