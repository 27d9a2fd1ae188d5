"""A pair or a combined dataset of which a part lies in a store: joined into a store, a block of cells at a time."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.matrix import placed
from annobench.cells.stored_cells import SPATIAL, open_store, read_cells
from annobench.config.names import OBS_COLUMNS
from annobench.core.codehash import code_hash
from annobench.core.files import atomic
from annobench.core.parquet import NOT_GIVEN, ColumnWriter
from annobench.core.progress import Report
from annobench.data.prepare.columns import coded, same
from annobench.data.prepare.join import Join, extra_columns
from annobench.data.prepare.stored import Block, Cells, ObsTable, finish_stored, link_store, write_store
from annobench.data.prepare.task import PreparedFiles
from annobench.ontology import Ontology

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

_BLOCK = 8192  # cells


def prepare_stored_pair(
    join: Join, parts: Mapping[str, Path], outputs: PreparedFiles, ontology: Ontology, report: Report
) -> None:
    """Write obs.parquet, the store, cells.h5ad and the card.

    `parts` holds the cells.h5ad of every part, all of them counts, in the order of the join. Unlike in memory there is
    no `total_counts`: counts tell the depth of a cell themselves.
    """
    opened = {part: _Part(path) for part, path in parts.items()}
    counts = _write_obs(outputs.obs, opened, join.kinds)
    places = [f"{SPATIAL}{i}" for i in range(opened[join.located].dimensions if join.located else 0)]

    def blocks(start: int) -> Iterator[Block]:
        first = 0
        with ObsTable(outputs.obs) as obs:
            for part, cells in opened.items():
                for matrix, block in cells.blocks(max(start - first, 0)):
                    begin = max(start, first)
                    table = obs.rows(begin, begin + len(block))
                    for place in places:
                        table[place] = block[place].to_numpy(dtype=float) if part == join.located else np.nan
                    yield placed(matrix, join.columns[part], len(join.genes)), table
                    start = begin + len(block)
                first += cells.n

    hashes = join.notes["parts"]
    assert isinstance(hashes, Mapping)
    origin = {
        "parts": [[part, hashes[part]] for part in parts],
        "kinds": list(join.kinds.values()),
        "columns": sorted(join.genes.columns),
        "code": code_hash(__name__),
    }
    uns = {"matrix": "counts", "ontology": ontology.release}
    folders = [cells.whole_store(join.columns[part], len(join.genes)) for part, cells in opened.items()]
    if not places and all(folders):
        whole = [folder for folder in folders if folder]
        with ObsTable(outputs.obs) as obs:
            link_store(outputs, whole, join.genes, obs.rows, origin=origin, uns=uns)
    else:
        cells = Cells(blocks, sum(part.n for part in opened.values()), join.genes)
        write_store(outputs, cells, origin=origin, uns=uns, report=report)
    finish_stored(join.name, outputs, ontology, genes=join.genes, counts=counts, notes=join.notes)


def _write_obs(path: Path, parts: "Mapping[str, _Part]", kinds: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Write the observations of all parts; returns the number of cells by label_id, study and donor."""
    extra = extra_columns([[name for name in cells.names if not name.startswith(SPATIAL)] for cells in parts.values()])
    counts: dict[str, Counter[str]] = {key: Counter() for key in ("label_id", "study", "donor")}
    with atomic(path) as temporary, ColumnWriter(temporary) as writer:
        for part, cells in parts.items():
            for _, block in cells.obs():
                table = {key: coded(block[key]) for key in block if key in OBS_COLUMNS}
                for key in extra:
                    table[key] = coded(block[key]) if key in block else same(NOT_GIVEN, len(block))
                table["part"] = same(kinds[part], len(block))
                writer.write({"cell_id": [f"{part}:{cell}" for cell in block.index], **table})
                for key, counter in counts.items():
                    counter.update(table[key].counts())
    return counts


class _Part:
    """Prepared counts, in memory or in a store.

    Attributes
    ----------
    n
        Number of cells.
    names
        Columns of obs.
    dimensions
        Of the coordinates; 0 without.
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
        """Its store, if the joined table has exactly its genes in their order, so that no count changes."""
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
