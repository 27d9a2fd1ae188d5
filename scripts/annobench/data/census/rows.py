"""Columns of the Census's obs, read a batch at a time; every distinct text is kept once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.store.ids import hashed
from annobench.core.parquet import NOT_GIVEN, Categorical
from annobench.data.census.filters import Filters
from annobench.data.census.spec import Value

if TYPE_CHECKING:
    import pyarrow as pa
    import tiledbsoma as soma
    from numpy.typing import NDArray

ID = "soma_joinid"
_PIECE = 1 << 20  # cells whose texts are held at a time


class _Texts:
    """A text column that grows, as integer codes."""

    def __init__(self) -> None:
        self._place: dict[str, int] = {}
        self._codes: list[NDArray[np.int32]] = []

    def add(self, column: "pa.ChunkedArray") -> "NDArray[np.int32]":
        """Append a chunked Arrow column; returns the codes of its rows. Missing values become `unknown`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = [np.empty(0, dtype=np.int32)]
        for chunk in column.chunks:
            coded = chunk if pa.types.is_dictionary(chunk.type) else pc.dictionary_encode(chunk.cast(pa.large_string()))
            names = [*map(str, coded.dictionary.to_pylist()), NOT_GIVEN]
            codes = coded.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False)
            table = np.full(len(names), -1, dtype=np.int32)
            for i in np.unique(codes):  # a dictionary may hold names that no row has
                table[i] = self._place.setdefault(names[i], len(self._place))
            rows.append(table[codes])
        self._codes.append(np.concatenate(rows))
        return self._codes[-1]

    def coded(self) -> Categorical:
        return Categorical(np.concatenate([np.empty(0, dtype=np.int32), *self._codes]), list(self._place))


def batches(
    frame: "soma.DataFrame",
    columns: Sequence[str],
    expression: str | None = None,
    coords: "NDArray[np.int64] | None" = None,
) -> "Iterator[pa.Table]":
    """Arrow tables of some rows of a SOMA data frame."""
    chosen = () if coords is None else (coords,)
    yield from frame.read(chosen, column_names=list(columns), value_filter=expression)


def read_cells(
    frame: "soma.DataFrame",
    columns: Sequence[str],
    filters: Filters,
    *,
    report: Callable[[int], None] = lambda rows: None,
) -> "tuple[NDArray[np.int64], dict[str, Categorical]]":
    """Ids and columns of the cells that pass the filters, ids ascending.

    What the client filters is checked again, once for every distinct value; what it cannot filter is filtered here.
    """
    texts = {name: _Texts() for name in columns}
    ids: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
    wanted = list(dict.fromkeys([ID, *columns, *filters.columns]))
    for table in batches(frame, wanted, filters.expression(frame.schema)):
        kept = np.ones(len(table), dtype=bool)
        for column in filters.columns:
            kept &= _passes(table[column], column, filters)
        if not kept.all():
            import pyarrow as pa

            table = table.filter(pa.array(kept))
        for name, text in texts.items():
            text.add(table[name])
        ids.append(table[ID].to_numpy())
        report(sum(map(len, ids)))
    joinids = np.concatenate(ids)
    order = np.argsort(joinids, kind="stable")
    by_name = {name: text.coded() for name, text in texts.items()}
    if (order[1:] > order[:-1]).all():
        return joinids, by_name
    return joinids[order], {name: coded[order] for name, coded in by_name.items()}


def _passes(column: "pa.ChunkedArray", name: str, filters: Filters) -> "NDArray[np.bool_]":
    import pyarrow as pa
    import pyarrow.compute as pc

    masks = [np.empty(0, dtype=bool)]
    for chunk in column.chunks:
        coded = chunk if pa.types.is_dictionary(chunk.type) else pc.dictionary_encode(chunk)
        table = np.array([*filters.mask(name, coded.dictionary.to_pylist()), False])
        masks.append(table[coded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)])
    return np.concatenate(masks)


def value_counts(frame: "soma.DataFrame", column: str) -> dict[Value, int]:
    """How many cells of a release have each value of a column."""
    counts: dict[Value, int] = {}
    for table in batches(frame, [column]):
        for entry in table[column].value_counts().to_pylist():
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
    return counts


def joined(parts: Sequence[Categorical], between: str) -> Categorical:
    """Texts of several columns joined by `between`, made once for every distinct combination."""
    codes = np.zeros(len(parts[0]), dtype=np.int64)
    for part in parts:
        codes = codes * len(part.names) + part.codes
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    whole = Categorical.of([between.join(part.names[part.codes[at]] for part in parts) for at in first])
    return Categorical(whole.codes[inverse.reshape(len(codes))], whole.names)


def read_donors(frame: "soma.DataFrame") -> dict[str, set[str]]:
    """The donors of every dataset, over all cells."""
    donors: dict[str, set[str]] = {}
    for table in batches(frame, ["dataset_id", "donor_id"]):
        dataset, donor = _categorical(table["dataset_id"]), _categorical(table["donor_id"])
        for name, some in dataset.crosstab(donor).items():
            donors.setdefault(name, set()).update(some)
    return donors


def read_hashes(
    frame: "soma.DataFrame", column: str, filters: Filters, among: "NDArray[np.uint64] | None" = None
) -> "dict[str, NDArray[np.uint64]]":
    """Hashes of a text column, by dataset; only hashes that are in `among`, where it is given."""
    by_dataset: dict[str, list[NDArray[np.uint64]]] = {}
    for table in batches(frame, ["dataset_id", column], filters.expression(frame.schema)):
        for first in range(0, len(table), _PIECE):
            part = table.slice(first, _PIECE)
            part = part.filter(part[column].is_valid())
            hashes, dataset = hashed(part[column].to_pylist()), _categorical(part["dataset_id"])
            kept = np.ones(len(hashes), dtype=bool) if among is None else np.isin(hashes, among)
            for name in dataset[kept].counts():
                by_dataset.setdefault(name, []).append(hashes[kept & (dataset == name)])
    return {name: np.concatenate(parts) for name, parts in by_dataset.items()}


def _categorical(column: "pa.ChunkedArray") -> Categorical:
    texts = _Texts()
    texts.add(column)
    return texts.coded()


def occurring(values: Iterable[Value], counts: dict[Value, int]) -> str:
    """Every value with the number of cells that have it, for a message."""
    known = [f"{value} ({counts[value]:,} cells)" if counts.get(value) else f"{value} (no cell)" for value in values]
    more = f", and {len(known) - 12} more" if len(known) > 12 else ""
    return ", ".join(known[:12]) + more
