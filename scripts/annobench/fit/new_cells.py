"""Cells of any h5ad file as a saved model takes them: its genes in their order, its state of values, in blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from annobench.cells.expression import in_state
from annobench.cells.gene_table import chosen_genes
from annobench.cells.genes import match_genes
from annobench.cells.matrix import CONVERTED, SCALE, Rounded, check_counts, check_finite, check_log1p, placed, to_log1p
from annobench.cells.panel import MEASURED
from annobench.cells.spec import COUNTS, GenesSpec
from annobench.cells.store.checks import canonical
from annobench.cells.store.h5ad import H5adFile, opened_h5ad, slots_of
from annobench.cells.stored_cells import STORE
from annobench.cells.told import NEAR, row_sums, told
from annobench.config.names import LEIDEN
from annobench.core.errors import AnnobenchError, DataError, nearest
from annobench.core.parquet import NOT_GIVEN, Categorical
from annobench.fit.annotate_job import BLOCK, ReadOptions

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from annobench.fit.saved_model import SavedModel

IN_MEMORY = 100_000  # cells: a matrix that is stored by columns is read at once up to here
_TOLERANCE = 1e-3  # of whole numbers
_LOOKED_AT = 2000  # cells from which the state is told; the values of all are checked


class UnsuitableCellsError(AnnobenchError):
    """Cells cannot be annotated by a model."""


class Block(NamedTuple):
    """Consecutive cells: their ids in the file, (n,) text, and what a model is given of them."""

    names: "NDArray[np.object_]"
    cells: "AnnData"


class NewCells:
    """An h5ad file that is read for a model; use it as a context manager.

    Parameters
    ----------
    path
        The file.
    model
        The model that shall annotate its cells.
    options
        How it is read.

    Attributes
    ----------
    n
        Number of cells.
    state
        What the values of the slot are.
    match
        Which of the genes of the model the cells have.
    duplicates
        Columns of the file that are left out because another one of the same gene has more counts.
    not_genes
        Number of columns that are left out because they are no genes, by their type.

    Raises
    ------
    UnsuitableCellsError, DataError
        For a file, a slot, values or genes that do not suit the model.
    """

    def __init__(self, path: Path, model: "SavedModel", options: ReadOptions) -> None:
        self.path, self._model, self._options = path, model, options
        check_slot(path, options.slot)
        self._file = H5adFile(path, options.slot)
        self._features = np.arange(self._file.genes)  # columns that are genes
        try:
            self.n = self._file.n
            names = GenesSpec(id=options.gene_id, name=options.gene_name, require=())
            genes = chosen_genes(self._file.var, names, self._totals, path.name)
            self.duplicates, self.not_genes = genes.duplicates, genes.not_genes
            self._features, self._keep = genes.features, genes.among_features()
            self.match = match_genes(model.genes, genes.table)
            self._check_overlap(genes.table)
            self.state = self._tell_state()
            self._checked(next(self._rows())[1][:_LOOKED_AT], 0)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "NewCells":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def columns(self) -> list[str]:
        """Names of the columns of obs."""
        return self._file.columns

    def clusters(self, name: str) -> Categorical:
        """Cluster of every cell: a column of obs, or Leiden clusters by the genes of the model.

        A cell without a value is in no cluster. Raises UnsuitableCellsError where obs has no such column.
        """
        if name != LEIDEN:
            if name not in self.columns:
                raise UnsuitableCellsError(
                    f"{self.path.name}: --clusters: obs has no column '{name}'{nearest(name, [*self.columns, LEIDEN])}"
                )
            values = self._file.obs(0, self.n, [name])[name]
            texts = values.astype(object).where(values.notna(), NOT_GIVEN).astype(str)
            return Categorical.of(texts.to_numpy(dtype=object))
        from scipy.sparse import vstack

        from annobench.cells.expression import log_normalised
        from annobench.cells.leiden import cell_clusters

        matrix = vstack([log_normalised(block.cells) for block in self.blocks()], format="csr")
        codes = cell_clusters(matrix, seed=self._model.facts.seed)
        return Categorical(codes, [str(i) for i in range(int(codes.max(initial=-1)) + 1)])

    def _totals(self) -> "NDArray[np.float64]":
        """Sum of every column of the matrix."""
        totals = np.zeros(self._file.genes)
        for _, matrix in self._rows():
            totals += np.asarray(matrix.sum(axis=0)).ravel()
        return totals

    def _check_overlap(self, genes: "pd.DataFrame") -> None:
        """Raise UnsuitableCellsError where the cells lack too many genes of the model."""
        match, least = self.match, self._options.min_overlap
        if len(match.own) and match.share >= least:
            return
        model = self._model.genes
        examples = " against ".join(
            f"'{table['feature_id'].iloc[0] or '-'}' ({table['feature_name'].iloc[0]})" for table in (model, genes)
        )
        advice = (
            "take a model that was trained on these genes, or lower --min-overlap"
            if len(match.own)
            else "name the columns of var by --gene-id and --gene-name"
        )
        raise UnsuitableCellsError(
            f"{self.path.name}: has {len(match.own)} of the {match.wanted} genes of the model ({match.share:.0%}), "
            f"expected {least:.0%}; {match.given - len(match.own)} of its {match.given} genes are not of the model "
            f"(first genes: {examples}); {advice}"
        )

    # values

    def _tell_state(self) -> str:
        """State of the values, as it was given or as they show it; it must be that of the model or lead to it."""
        matrix = next(self._rows())[1][:_LOOKED_AT]
        with _options_named():
            check_finite(matrix, self.path.name)
        state = self._options.state or state_of(matrix)
        wanted = self._model.facts.matrix
        if state is None:
            sums = row_sums(matrix, "log1p")
            raise UnsuitableCellsError(
                f"{self.path.name}: {self._options.slot} holds neither counts nor log1p of counts per 10,000 or per "
                f"million (after expm1 the cells sum to {np.median(sums):.4g}, at most {sums.max():.4g}); name the "
                f"slot with the counts by --slot{self._other_slots()}, or say what the values are by --state"
            )
        if wanted == "counts" and _becomes(state) != "counts":
            raise UnsuitableCellsError(
                f"{self.path.name}: {self._options.slot} holds {state}, but the model was trained on counts; name the "
                f"slot with the counts by --slot{self._other_slots()}, or take a model that was trained on {state}"
            )
        return state

    def _other_slots(self) -> str:
        """Slots that hold counts, for messages."""
        found = []
        for slot in slots(self.path):
            if slot != self._options.slot:
                with H5adFile(self.path, slot) as file:
                    if state_of(next(_rows_of(file))[1][:_LOOKED_AT]) == "counts":
                        found.append(slot)
        return f" ({', '.join(found)} {'holds' if len(found) == 1 else 'hold'} counts)" if found else ""

    def _checked(self, matrix: "csr_matrix", first: int) -> "csr_matrix":
        """Values that are what `state` says; raises DataError otherwise."""
        with _options_named():
            check_finite(matrix, self.path.name, first)
            if self.state == "counts":
                return check_counts(matrix, _TOLERANCE, self.path.name, first)
            if self.state == "fractional_counts":
                return Rounded().round(matrix, self.path.name)
            if self.state in CONVERTED:
                return to_log1p(matrix, self.state, self.path.name)
            check_log1p(matrix, self.state, self.path.name)
        return matrix

    def _rows(self) -> "Iterator[tuple[int, csr_matrix]]":
        """Consecutive rows over what is a gene, and the number of the first."""
        for first, matrix in _rows_of(self._file):
            yield first, matrix if len(self._features) == self._file.genes else matrix[:, self._features]

    def blocks(self, cells: int = BLOCK) -> Iterator[Block]:
        """All cells in their order, at most so many at a time, as the model takes them.

        Genes that the cells lack are zero, and `var["measured"]` says so.
        """
        from anndata import AnnData

        facts, var = self._model.facts, self._model.genes.copy()
        if len(self.match.own) < len(var):
            var[MEASURED] = np.isin(np.arange(len(var)), self.match.own)
        for first, matrix in self._rows():
            for start in range(0, matrix.shape[0], cells):
                values = self._as_trained(self._checked(matrix[start : start + cells], first + start))
                at = first + start
                names = self._file.obs(at, at + values.shape[0], []).index.astype(str).to_numpy()
                block = AnnData(values, obs=_numbered(len(names)), var=var)
                block.uns["annobench"] = {"matrix": facts.matrix, "ontology": facts.ontology}
                yield Block(names, block)

    def _as_trained(self, matrix: "csr_matrix") -> "csr_matrix":
        """Values over the genes of the model, in the state of its training cells."""
        facts = self._model.facts
        if len(self._keep) < len(self._features):
            matrix = matrix[:, self._keep]
        if _becomes(self.state) != facts.matrix:
            matrix = _converted(matrix, _becomes(self.state), facts.matrix)
        found = placed(matrix, (self.match.theirs, self.match.own), self.match.wanted).astype(np.float32)
        found.sort_indices()
        return in_state(found, facts.matrix, facts.matrix) if facts.sums_to_scale else found


def _becomes(state: str) -> str:
    """What values of a state are when they are checked: counts, log1p_cp10k or log1p_cpm."""
    return "log1p_cp10k" if state in CONVERTED else "counts" if state in COUNTS else state


def _converted(matrix: "csr_matrix", state: str, wanted: str) -> "csr_matrix":
    """Values as another logarithmic state; counts are normalised over all genes of the file."""
    if state == "counts":
        return in_state(matrix, wanted)
    found = matrix.astype(np.float64)
    found.data = np.log1p(np.expm1(found.data) * (SCALE[wanted] / SCALE[state]))
    return found


def _numbered(cells: int) -> "pd.DataFrame":
    """Observations without columns. Cells are told apart by number: ids of a file may not be unique."""
    import pandas as pd

    return pd.DataFrame(index=pd.RangeIndex(cells).astype(str))


@contextmanager
def _options_named() -> Iterator[None]:
    """Errors about values name the options of `annotate` instead of the keys of a dataset file."""
    try:
        yield
    except DataError as error:
        text = str(error)
        for key, option in (("`matrix.slot`", "--slot"), ("`matrix.state`", "--state"), ("matrix.state", "--state")):
            text = text.replace(key, option)
        raise UnsuitableCellsError(text) from error


def _rows_of(file: H5adFile) -> "Iterator[tuple[int, csr_matrix]]":
    """Consecutive rows as CSR in float32, and the number of the first."""
    if file.kind == "csc_matrix" and file.n <= IN_MEMORY:
        yield 0, canonical(file.read(), file.path.name).astype(np.float32)
        return
    first = 0
    for matrix, _ in file.chunks(columns=[]):
        matrix = canonical(matrix, file.path.name)
        yield first, matrix.astype(np.float32)
        first += matrix.shape[0]


def state_of(matrix: "csr_matrix") -> str | None:
    """State that values show; None for none.

    Values that were scaled to one sum per cell are known by it. Log1p values over some of the genes are taken for log1p
    of counts per 10,000 where no cell sums to more.
    """
    values = matrix.data
    if not np.isfinite(values).all() or values.min(initial=0) < 0:
        return None
    seen = told(matrix)
    if seen is None or seen.kind == "log1p":
        sums = row_sums(matrix, "log1p")
        sums = sums[sums > 0]
        if not len(sums):
            return "counts"  # zeros
        for state, scale in SCALE.items():
            if abs(float(np.median(sums)) / scale - 1) < NEAR:
                return state
        if seen is not None and seen.total is not None:
            return "log1p"
        lowest = min(SCALE, key=lambda state: SCALE[state])
        return lowest if sums.max() <= SCALE[lowest] * (1 + NEAR) else None
    certain = seen.kind == "counts" or (seen.total is not None and seen.kind in CONVERTED)
    return seen.kind if certain else None


def slots(path: Path) -> list[str]:
    """Names of the matrices of an h5ad file."""
    with opened_h5ad(path) as file:
        return slots_of(file)


def check_slot(path: Path, slot: str) -> None:
    """Raise DataError for what is not an h5ad file with cells and this slot."""
    if not path.exists():
        raise DataError(f"{path}: there is no such file; expected an h5ad file with the cells to annotate")
    with opened_h5ad(path) as file:
        if f"uns/annobench/{STORE}" in file:
            raise DataError(f"{path}: names a store and holds no cells itself; give an h5ad file that holds its cells")
    known = slots(path)
    if slot not in known:
        raise DataError(f"{path}: --slot: there is no matrix {slot}{nearest(slot, known)}")
