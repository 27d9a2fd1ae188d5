"""A pair of which a part lies in a store: joined into a store, a block of cells at a time."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.cells.matrix import placed
from annobench.cells.stored_cells import SPATIAL, open_store, read_cells
from annobench.core.codehash import code_hash
from annobench.core.files import atomic
from annobench.core.parquet import NOT_GIVEN, ColumnWriter
from annobench.data.prepare.observations import OPTIONAL, coded, same
from annobench.data.prepare.stored import ObsTable, Report, finish_stored, link_store, write_store
from annobench.ontology import Ontology

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Columns = Mapping[str, tuple[NDArray[np.intp], NDArray[np.intp]]]

_BLOCK = 8192  # cells


def prepare_stored_pair(
    name: str,
    parts: Mapping[str, Path],
    query: str,
    columns: "Columns",
    genes: "pd.DataFrame",
    notes: Mapping[str, Any],
    ontology: Ontology,
    outputs: Mapping[str, Path],
    report: Report = lambda text: None,
) -> None:
    """Write obs.parquet, the store, cells.h5ad and the card.

    parts: name -> cells.h5ad, all of them counts, the query last. columns: for each part which of its genes stand where
    among `genes`. Unlike in memory there is no `total_counts`: counts tell the depth of a cell themselves.
    """
    opened = {part: _Part(path) for part, path in parts.items()}
    optional = [key for key in OPTIONAL if any(key in cells.names for cells in opened.values())]
    counts: dict[str, Counter[str]] = {key: Counter() for key in ("label_id", "study", "donor")}
    with atomic(outputs["obs"]) as path, ColumnWriter(path) as writer:
        for part, cells in opened.items():
            for _, block in cells.obs():
                table = {key: coded(block[key]) for key in block if not key.startswith(SPATIAL) and key not in OPTIONAL}
                for key in optional:
                    table[key] = coded(block[key]) if key in block else same(NOT_GIVEN, len(block))
                table["part"] = same("query" if part == query else "reference", len(block))
                writer.write({"cell_id": [f"{part}:{cell}" for cell in block.index], **table})
                for key, counter in counts.items():
                    counter.update(table[key].counts())
    places = [f"{SPATIAL}{i}" for i in range(opened[query].dimensions)]

    def blocks(start: int) -> "Iterator[tuple[csr_matrix, pd.DataFrame]]":
        first = 0
        with ObsTable(outputs["obs"]) as obs:
            for part, cells in opened.items():
                for matrix, block in cells.blocks(max(start - first, 0)):
                    begin = max(start, first)
                    table = obs.rows(begin, begin + len(block))
                    for place in places:
                        table[place] = block[place].to_numpy(dtype=float) if part == query else np.nan
                    yield placed(matrix, columns[part], len(genes)), table
                    start = begin + len(block)
                first += cells.n

    n = sum(cells.n for cells in opened.values())
    origin = {
        "parts": [[part, notes["parts"][part]] for part in parts],
        "query": query,
        "columns": sorted(genes.columns),
        "code": code_hash(__name__),
    }
    folders = [cells.whole_store(columns[part], len(genes)) for part, cells in opened.items()]
    if not places and all(folders):
        with ObsTable(outputs["obs"]) as obs:
            link_store(outputs["cells"], [one for one in folders if one], genes, obs.rows, origin, ontology)
    else:
        write_store(outputs["cells"], genes, blocks, n, origin, ontology, report)
    finish_stored(name, outputs, ontology, genes, counts, notes)


class _Part:
    """Prepared counts, in memory or in a store.

    n: number of cells; names: columns of obs; dimensions: of their coordinates, 0 without.
    """

    def __init__(self, cells: Path) -> None:
        self._store = open_store(cells, verify=True)
        if self._store is not None:
            self.n = self._store.n
            names = self._store.columns
        else:
            self._cells = read_cells(cells)
            self.n = self._cells.n_obs
            for i, values in enumerate(np.asarray(self._cells.obsm.get("spatial", np.empty((self.n, 0)))).T):
                self._cells.obs[f"{SPATIAL}{i}"] = values
            names = list(self._cells.obs)
        self.names = names
        self.dimensions = sum(name.startswith(SPATIAL) for name in names)

    def whole_store(self, columns: "tuple[NDArray[np.intp], NDArray[np.intp]]", genes: int) -> Path | None:
        """Its store where the joined table has exactly its genes in their order, so that no count changes."""
        if self._store is None or self._store.genes != genes:
            return None
        same = all(np.array_equal(one, np.arange(genes)) for one in columns)
        return self._store.folder if same else None

    def obs(self) -> "Iterator[tuple[int, pd.DataFrame]]":
        """Annotations and coordinates of consecutive cells, and where they begin."""
        import pandas as pd

        if self._store is None:
            yield 0, self._cells.obs
            return
        first = 0
        for shard in self._store.manifest.shards:
            yield first, pd.read_parquet(shard.path(self._store.folder, "obs")).set_index("cell_id")
            first += shard.cells

    def blocks(self, start: int) -> "Iterator[tuple[csr_matrix, pd.DataFrame]]":
        """Counts over all genes of the part, and annotations, of consecutive cells from `start` on."""
        for first, table in self.obs():
            for begin in range(max(first, start), first + len(table), _BLOCK):
                end = min(begin + _BLOCK, first + len(table))
                here = self._cells.X[begin:end] if self._store is None else self._store.counts(np.arange(begin, end))
                yield here, table.iloc[begin - first : end - first]
