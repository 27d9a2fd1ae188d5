"""Columns of obs: from those of a source to those of the cells contract, a block of cells at a time.

Texts are handled once for every different value, never for every cell.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.cells.store.ids import hashed, repeated
from annobench.config.names import NO_LABELS
from annobench.core.errors import DataError, nearest
from annobench.core.parquet import NOT_GIVEN, Categorical
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.labels import MappedLabels, map_labels, read_table

if TYPE_CHECKING:
    import pandas as pd


OPTIONAL = ("republished",)  # columns that obs has only where they are declared


class Observations:
    """Maps blocks of a source's obs, and counts what the card says of them.

    name: of the dataset, which is the study where none is given. settings: `cells` of the dataset file. columns: those
    of the source's obs. file: named in messages. Raises DataError for a column that is not there.

    counts: cells by value of label_id, study and donor. needed: the columns of the source that are looked at.
    """

    def __init__(
        self,
        name: str,
        settings: dict[str, Any],
        columns: Sequence[str],
        ontology: Ontology,
        label_table: Path | None,
        file: str,
    ) -> None:
        self._name, self._settings, self._ontology, self._file = name, settings, ontology, file
        self._declared = settings["label"] not in NO_LABELS
        self._table = read_table(label_table, ontology) if label_table and self._declared else None
        self._pairs: Counter[tuple[str, str | None]] = Counter()  # original label and id of the source
        self._ids: dict[tuple[str, str | None], str] = {}
        self._seen: dict[str, set[str]] = {key: set() for key in settings["rename"]}
        self.counts: dict[str, Counter[str]] = {key: Counter() for key in ("label_id", "study", "donor")}
        self.needed: list[str] = []
        for key in ("label", "label_id", "study", "donor", "batch", "assay", "tissue", "disease", *OPTIONAL):
            column = settings.get(key)
            if column is None or column.startswith("=") or (key.startswith("label") and not self._declared):
                continue
            if column not in columns:
                raise DataError(f"{file}: cells.{key}: there is no column '{column}'{nearest(column, columns)}")
            self.needed.append(column)

    def block(self, obs: "pd.DataFrame") -> dict[str, Categorical]:
        """The columns of the contract for some cells."""
        n = len(obs)
        not_given = same(NOT_GIVEN, n)
        original = self._text("label", obs) if self._declared else not_given
        label_id = self._label_ids(original or not_given, obs, n)
        study = self._text("study", obs) or same(self._name, n)
        found = {
            "label_id": label_id,
            "label": label_id.renamed(lambda i: UNKNOWN if i == UNKNOWN else self._ontology.label(i)),
            "label_original": original or not_given,
            "study": study,
            "donor": self._text("donor", obs) or not_given,
            "batch": self._text("batch", obs) or study,
        }
        found |= {key: self._text(key, obs) or not_given for key in ("assay", "tissue", "disease")}
        found |= {key: column for key in OPTIONAL if (column := self._text(key, obs)) is not None}
        for key, counter in self.counts.items():
            counter.update(found[key].counts())
        return found

    def _text(self, key: str, obs: "pd.DataFrame") -> Categorical | None:
        """A column by number, under new names where the settings have some; None where nothing is declared."""
        value = self._settings.get(key)
        if value is None:
            return None
        if value.startswith("="):
            return same(value[1:], len(obs))
        column = coded(obs[value])
        names = self._settings["rename"].get(key)
        if not names:
            return column
        self._seen[key].update(column.names)
        return column.renamed(lambda text: names.get(text, text))

    def _label_ids(self, original: Categorical, obs: "pd.DataFrame", n: int) -> Categorical:
        """Cell Ontology ids, looked up once for every different pair of a label and an id of the source."""
        native = self._text("label_id", obs) if self._declared else None
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
        native = None if self._settings["label_id"] is None else [str(pair[1]) for pair in pairs]
        return map_labels([pair[0] for pair in pairs], native, self._table, self._ontology, counts)

    def finish(self) -> MappedLabels:
        """How labels were found. Raises DataError where none was, and for a new name of what no cell has."""
        for key, names in self._settings["rename"].items():
            absent = sorted(set(names) - self._seen[key])
            if absent:
                near = nearest(absent[0], self._seen[key])
                raise DataError(f"{self._file}: cells.rename.{key}: no cell has '{absent[0]}'{near}")
        cells = self._pairs.total()
        if not self._declared:
            return MappedLabels([], {NOT_GIVEN: f"{cells} cells: no labels, as cells.label declares"}, {})
        if set(self.counts["label_id"]) <= {UNKNOWN}:
            examples = sorted({original for original, _ in self._pairs})[:5]
            raise DataError(
                f"{self._file}: no label could be mapped to Cell Ontology {self._ontology.release} (labels: "
                f"{', '.join(examples)}); add a table in config/labels and name it in cells.label_table, or declare "
                "with `cells.label: null` that there are no labels"
            )
        return self._mapped(list(self._pairs), list(self._pairs.values()))


def same(text: str, n: int) -> Categorical:
    """The same text for n cells."""
    return Categorical(np.zeros(n, dtype=np.int32), [text])


def coded(column: "pd.Series") -> Categorical:
    """A column as texts by number; what is missing is `unknown`."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, values = column.cat.codes.to_numpy(), column.cat.categories
    else:
        codes, values = pd.factorize(column, use_na_sentinel=True)
    used = np.flatnonzero(np.bincount(codes[codes >= 0], minlength=len(values)))
    names = list(pd.Series(values[used]).astype(object).astype(str))
    if (codes < 0).any():
        names.append(NOT_GIVEN)
    place = np.full(len(values) + 1, len(names) - 1, dtype=np.int32)
    place[used] = np.arange(len(used))
    whole = Categorical.of(names)  # two values may read the same
    return Categorical(whole.codes[place[codes]], whole.names)


class CellIds:
    """Ids of cells, block by block: refused where one stands twice, or numbered (`suffix`) as AnnData does it.

    `blocks` gives all ids, as often as it is called. Ids are compared by a 64-bit hash
    (see `annobench.cells.store.ids`), and as texts where hashes are equal.
    """

    def __init__(self, blocks: Callable[[], Iterator[Any]], cells: int, rule: str, file: str) -> None:
        self._rule, self._file = rule, file
        self._twice = repeated(blocks, cells)
        self._seen: set[str] = set()
        self._taken: set[str] = set()  # ids that a number at the end could lead to
        if rule == "suffix" and len(self._twice):
            for ids in blocks():
                found = np.asarray(ids, dtype=object)
                like = np.isin(hashed([str(name).rpartition("-")[0] for name in found]), self._twice)
                self._taken.update(found[like])
        self._number: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def block(self, ids: Any) -> Any:
        """The ids of the next cells."""
        if not len(self._twice):
            return ids
        found = np.array(ids, dtype=object)
        for i in np.flatnonzero(np.isin(hashed(found), self._twice)):
            if found[i] not in self._seen:
                self._seen.add(found[i])
            elif self._rule == "suffix":
                found[i] = self._suffixed(found[i])
            else:
                self._refused[found[i]] += 1
        return found

    def _suffixed(self, name: str) -> str:
        while True:
            self._number[name] += 1
            new = f"{name}-{self._number[name]}"
            if new not in self._taken:
                self._taken.add(new)
                return new

    def finish(self) -> None:
        """Raise DataError where an id stood twice."""
        if self._refused:
            raise ids_stand_twice(self._refused.total(), list(self._refused), self._file)


def ids_stand_twice(number: int, examples: Sequence[str], file: str) -> DataError:
    """The error for ids that stand twice."""
    return DataError(
        f"{file}: {number} cell ids stand twice (such as {', '.join(examples[:3])}); cells are matched by id. "
        "Repair the file, or set cells.duplicated_ids to suffix"
    )
