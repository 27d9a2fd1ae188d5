"""Columns of obs: a source's columns become the columns of the cells contract, a block of cells at a time.

Texts are handled once for every distinct value, never for every cell.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from annobench.cells.store.ids import hashed, repeated
from annobench.config.names import NO_LABELS
from annobench.core.errors import DataError, nearest
from annobench.core.parquet import NOT_GIVEN, Categorical
from annobench.data.prepare.columns import coded, missing_value, same
from annobench.data.prepare.conditions import Conditions
from annobench.data.prepare.spec import CellsSpec
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.labels import MappedLabels, map_labels, read_table

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Ids: TypeAlias = pd.Index | NDArray[np.object_]

_NOT_NONE = ("donor", "study", "batch", "assay", "tissue")  # columns in which a word such as `none` is no value


class Observations:
    """Maps blocks of a source's obs to the columns of the contract, and counts what the card says of them.

    Parameters
    ----------
    name
        Of the dataset, which is the study where none is given.
    spec
        `cells` of the dataset.
    columns
        Columns of the source's obs.
    ontology
        The release that labels are mapped to.
    label_table
        A table of config/labels.
    file
        Named in messages.
    conditions
        What was done to the cells, where the dataset says so.

    Attributes
    ----------
    counts
        Number of cells by value of label_id, study and donor.
    not_given
        Number of cells whose value is missing in a declared column of donors, studies and the like.
    organisms
        Number of cells by organism, where the dataset declares the column.
    needed
        The columns of the source that are read.

    Raises
    ------
    DataError
        For a column that does not exist.
    """

    def __init__(
        self,
        name: str,
        spec: CellsSpec,
        columns: Sequence[str],
        *,
        ontology: Ontology,
        label_table: Path | None,
        file: str,
        conditions: Conditions | None = None,
    ) -> None:
        self._conditions = conditions
        self._name, self._spec, self._ontology, self._file = name, spec, ontology, file
        self._declared = spec.label not in NO_LABELS
        self._table = read_table(label_table, ontology) if label_table and self._declared else None
        self._pairs: Counter[tuple[str, str | None]] = Counter()  # original label and id of the source
        self._ids: dict[tuple[str, str | None], str] = {}
        self._seen: dict[str, set[str]] = {key: set() for key in spec.rename}
        self.not_given: Counter[str] = Counter()
        self.counts: dict[str, Counter[str]] = {key: Counter() for key in ("label_id", "study", "donor")}
        self.organisms: Counter[str] = Counter()
        labels = {"label": spec.label, "label_id": spec.label_id} if self._declared else {}
        self._values: dict[str, str | None] = {
            **labels,
            **{key: getattr(spec, key) for key in ("study", "donor", "batch", "assay", "tissue", "disease")},
            **spec.extra,
        }
        self.needed: list[str] = [] if conditions is None else conditions.needed
        for key, column in self._values.items():
            if column is None or column.startswith("="):
                continue
            if column not in columns:
                place = f"columns.{key}" if key in spec.columns else key
                raise DataError(f"{file}: cells.{place}: there is no column '{column}'{nearest(column, columns)}")
            if column not in self.needed:
                self.needed.append(column)

    def block(self, obs: "pd.DataFrame") -> dict[str, Categorical]:
        """The columns of the contract for some cells."""
        n = len(obs)
        not_given = same(NOT_GIVEN, n)
        original = self._text("label", obs)
        label_id = self._label_ids(original or not_given, obs, n)
        study = self._text("study", obs) or same(self._name, n)
        columns = {
            "label_id": label_id,
            "label": label_id.renamed(lambda i: UNKNOWN if i == UNKNOWN else self._ontology.label(i)),
            "label_original": original or not_given,
            "study": study,
            "donor": self._text("donor", obs) or not_given,
            "batch": self._text("batch", obs) or study,
        }
        columns |= {key: self._text(key, obs) or not_given for key in ("assay", "tissue", "disease", *self._spec.extra)}
        for key, counter in self.counts.items():
            counter.update(columns[key].counts())
        if "organism" in columns:
            self.organisms.update(columns["organism"].counts())
        return columns if self._conditions is None else columns | self._conditions.block(obs)

    def notes(self) -> dict[str, object]:
        """What the card says of missing values and conditions; after the last block.

        Raises DataError for conditions that cannot be used.
        """
        found: dict[str, object] = {"cells_without": dict(+self.not_given)} if +self.not_given else {}
        return found if self._conditions is None else found | {"perturbation": self._conditions.finish()}

    def remarks(self, mapping: MappedLabels) -> list[str]:
        """What people should hear of beside the card; after the last block."""
        said = [
            f"{n} of {self.counts['label_id'].total()} cells have no {key} ('{self._values[key]}'): it is `{NOT_GIVEN}`"
            for key, n in (+self.not_given).items()
        ]
        if mapping.respelled:
            given, label_id = next(iter(mapping.respelled.items()))
            said.append(
                f"{len(mapping.respelled)} ids are spelled otherwise, such as '{given}', and read as {label_id}"
            )
        if mapping.unused:
            shown = ", ".join(f"'{label}'" for label in mapping.unused[:5])
            said.append(f"{len(mapping.unused)} labels of the label table are of no cell, such as {shown}")
        return [f"{self._file}: {text}" for text in said]

    def _text(self, key: str, obs: "pd.DataFrame") -> Categorical | None:
        """A column under new names where the dataset has some; None where nothing is declared."""
        value = self._values.get(key)
        if value is None:
            return None
        if value.startswith("="):
            return same(value[1:], len(obs))
        names = self._spec.rename.get(key, {})
        # labels that read as missing may be in the label table, and a condition may be called none
        people = None if key in ("label", "label_id") else key in _NOT_NONE
        column = coded(obs[value])
        if names:
            self._seen[key].update(column.names)
            column = column.renamed(lambda text: names.get(text, text))
        if people is None:
            return column
        given = column.renamed(lambda text: NOT_GIVEN if missing_value(text, people=people) else text)
        self.not_given[key] += int((given == NOT_GIVEN).sum())
        return given

    def _label_ids(self, original: Categorical, obs: "pd.DataFrame", n: int) -> Categorical:
        """Cell Ontology ids, looked up once for every distinct pair of a label and an id of the source."""
        native = self._text("label_id", obs)
        pair = original.codes.astype(np.int64)
        if native is not None:
            pair = pair * len(native.names) + native.codes
        values, first, inverse, counts = np.unique(pair, return_index=True, return_inverse=True, return_counts=True)
        ids = [""] * len(values)
        for i in np.argsort(first):  # in the order of the cells
            at = first[i]
            key = (
                original.names[original.codes[at]],
                None if native is None else native.names[native.codes[at]],
            )
            self._pairs[key] += int(counts[i])
            if key not in self._ids:
                self._ids[key] = self._mapped([key], [1]).label_ids[0] if self._declared else UNKNOWN
            ids[i] = self._ids[key]
        whole = Categorical.of(ids)
        return Categorical(whole.codes[inverse.reshape(n)], whole.names)

    def _mapped(self, pairs: Sequence[tuple[str, str | None]], counts: Sequence[int]) -> MappedLabels:
        native = None if self._spec.label_id is None else [str(pair[1]) for pair in pairs]
        return map_labels([pair[0] for pair in pairs], native, self._table, self._ontology, counts)

    def finish(self) -> MappedLabels:
        """How labels were mapped. Raises DataError where none could be, and where no cell has a text to rename."""
        for key, names in self._spec.rename.items():
            absent = sorted(set(names) - self._seen[key])
            if absent:
                near = nearest(absent[0], self._seen[key])
                raise DataError(f"{self._file}: cells.rename.{key}: no cell has '{absent[0]}'{near}")
        cells = self._pairs.total()
        if not self._declared:
            return MappedLabels([], {NOT_GIVEN: f"{cells} cells: no labels, as cells.label declares"}, {})
        if set(self.counts["label_id"]) <= {UNKNOWN}:
            examples = sorted({original for original, _ in self._pairs})[:5]
            listed = ", ".join(sorted(self._table or {})[:5])
            todo = (
                f"the label table lists others ({listed}): write the labels there as the cells have them"
                if listed
                else "add a table in config/labels and name it in cells.label_table"
            )
            raise DataError(
                f"{self._file}: no label could be mapped to Cell Ontology {self._ontology.release} (labels: "
                f"{', '.join(examples)}); {todo}, or declare with `cells.label: null` that there are no labels"
            )
        return self._mapped(list(self._pairs), list(self._pairs.values()))


class CellIds:
    """Ids of cells, block by block; duplicates are refused, or numbered as AnnData does it.

    Ids are compared by a 64-bit hash (see `annobench.cells.store.ids`), and as text where hashes are equal.

    Parameters
    ----------
    blocks
        Gives all ids, as often as it is called.
    cells
        Number of cells.
    rule
        `suffix` to number duplicates, or `error`.
    file
        Named in messages.
    """

    def __init__(self, blocks: "Callable[[], Iterator[Ids]]", cells: int, rule: str, file: str) -> None:
        self._rule, self._file = rule, file
        self._twice = repeated(blocks, cells)
        self._seen: set[str] = set()
        self._taken: set[str] = set()  # ids that a number at the end could lead to
        if rule == "suffix" and len(self._twice):
            for ids in blocks():
                names = np.asarray(ids, dtype=object)
                like = np.isin(hashed([str(name).rpartition("-")[0] for name in names]), self._twice)
                self._taken.update(names[like])
        self._number: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def block(self, ids: "Ids") -> "Ids":
        """The ids of the next cells."""
        if not len(self._twice):
            return ids
        names = np.array(ids, dtype=object)
        for i in np.flatnonzero(np.isin(hashed(names), self._twice)):
            if names[i] not in self._seen:
                self._seen.add(names[i])
            elif self._rule == "suffix":
                names[i] = self._suffixed(names[i])
            else:
                self._refused[names[i]] += 1
        return names

    def _suffixed(self, name: str) -> str:
        while True:
            self._number[name] += 1
            new = f"{name}-{self._number[name]}"
            if new not in self._taken:
                self._taken.add(new)
                return new

    def finish(self) -> None:
        """Raise DataError where an id was listed twice."""
        if self._refused:
            raise duplicate_ids(self._refused.total(), list(self._refused), self._file)


def duplicate_ids(number: int, examples: Sequence[str], file: str) -> DataError:
    """The error for cell ids that are listed twice."""
    return DataError(
        f"{file}: {number} duplicate cell ids (such as {', '.join(examples[:3])}); cells are matched by id. "
        "Repair the file, or set cells.duplicated_ids to suffix"
    )
