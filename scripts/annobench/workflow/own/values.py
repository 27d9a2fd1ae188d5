"""The matrix and the genes of a file of cells: which slot is read, what its values are, where ids and symbols are."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.features import not_genes
from annobench.cells.gene_table import gene_keys, gene_table
from annobench.cells.genes import strip_version
from annobench.cells.matrix import SCALE
from annobench.cells.organism import Told, organism_of
from annobench.cells.spec import GenesSpec
from annobench.cells.told import NEAR, row_sums, told
from annobench.core.errors import AnnobenchError
from annobench.fit.new_cells import state_of
from annobench.workflow.own.findings import Findings, comment, scalar
from annobench.workflow.own.guess import Column, choose_by_name
from annobench.workflow.own.lines import counted
from annobench.workflow.own.reading import OwnFile

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from annobench.cells.store.h5ad import H5adFile
    from annobench.cells.store.source import StoreFile

_LOOKED_AT = 2000  # cells from which the state of a matrix is told
_STATES = ("counts", "log1p_cp10k", "log1p_cpm", "log1p", "log2", "normalised", "fractional_counts")  # the best first
_LOGARITHM = 40.0  # no logarithm of an expression is larger
_GUESS = "a guess: "
_SYMBOL = re.compile(r"^[A-Za-z][A-Za-z0-9._-]*$")
_SHARE = 0.8


@dataclass(frozen=True)
class Slot:
    """A matrix of a file: what its values are (None where they do not show it), and why."""

    slot: str
    state: str | None
    why: str
    nbytes: int = 0


def read_slots(own: OwnFile) -> Iterator[Slot]:
    """Every matrix of a file, and what its first cells show of it."""
    with own.open() as file:
        names = file.slots
    for name in names:
        try:
            with own.open(name) as file:
                matrix = next(file.chunks(columns=[]))[0][:_LOOKED_AT]
                yield Slot(name, *_state(matrix), nbytes=file.nbytes)
        except (AnnobenchError, OSError, RuntimeError, KeyError) as error:
            yield Slot(name, None, f"cannot be read: {error}")


def _state(matrix: "csr_matrix") -> tuple[str | None, str]:
    """What values are, and how that is known."""
    matrix = matrix.astype(np.float64)
    if not matrix.nnz or not matrix.data.any():
        return None, "holds nothing but zeros"
    if not np.isfinite(matrix.data).all():
        return None, "holds values that are missing or infinite"
    if matrix.data.min() < 0:
        return None, f"holds negative values, down to {matrix.data.min():.3g}: it was scaled"
    seen, state = told(matrix), state_of(matrix)
    if seen is not None and state is not None:
        return state, str(seen)
    if seen is not None:
        corrected = seen.kind == "normalised" and seen.total is None
        return ("fractional_counts" if corrected else None), f"{_GUESS if corrected else ''}{seen}"
    sums = row_sums(matrix, "log1p")
    fits = [name for name, scale in SCALE.items() if matrix.data.max() < _LOGARITHM and sums.max() < scale * (1 + NEAR)]
    if not fits:
        return None, "its values show no sum that cells share, before or after a logarithm"
    near = fits[0]
    return near, f"{_GUESS}cells sum to {sums.max():,.6g} at most after expm1, as those of some of the genes would"


def best_slot(slots: Sequence[Slot]) -> Slot | None:
    """The slot to read: counts where there are any, X before raw before layers of counts before others."""

    def place(slot: Slot) -> tuple[int, int]:
        layer = slot.slot.removeprefix("layers/")
        order = {"X": 0, "raw": 1}.get(slot.slot, 2 if re.search("count|raw|umi", layer, re.IGNORECASE) else 3)
        return _STATES.index(str(slot.state)), order

    return min((slot for slot in slots if slot.state), key=place, default=None)


def note_matrix(found: Findings, slots: Sequence[Slot], slot: Slot | None) -> None:
    """Note which slot is read, and what the others are."""
    if slot is None:
        for one in slots:
            found.open.append(f"{one.slot}: {one.why}")
        found.choose("matrix", "none", "no matrix whose values are known; methods that read expression are skipped")
        found.lines += ["matrix: {state: none}   # say where the values are and what: slot, state"]
        return
    others = "; ".join(f"{one.slot}: {one.state or one.why}" for one in slots if one is not slot)
    found.choose("matrix", f"{slot.slot}: {slot.state}", slot.why + (f" ({others})" if others else ""))
    found.lines += ["matrix:", f"  slot: {scalar(slot.slot)}", f"  state: {slot.state}   # {comment(slot.why)}"]
    if slot.why.startswith(_GUESS):
        found.open.append(f"what {slot.slot} holds could not be told for certain: {slot.state} is {slot.why}")


# genes


def note_genes(found: Findings, source: "H5adFile | StoreFile", of_obs: Sequence[Column]) -> None:
    """Note where ids and symbols are, what is left out, and the organism."""
    if not source.genes:
        return
    var = source.var
    spec = GenesSpec(id="auto", name="auto", require=())
    table = gene_table(var, spec, source.path.name)
    ids = int((table["feature_id"] != "").sum())
    name = _symbol_column(var, table)
    if name:
        table = gene_table(var, GenesSpec(id="auto", name=name, require=()), source.path.name)
        found.lines += [f"genes: {{name: {scalar(name)}}}   # the column of var that holds symbols"]
    mask, kinds = not_genes(var, table["feature_name"].tolist())
    where = [_place(var, table, column) for column in ("feature_id", "feature_name")]
    other = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    why = f"Ensembl ids: {f'{ids:,} in {where[0]}' if ids else 'none'}; symbols: {where[1] or 'none'}"
    found.choose("genes", f"{int((~mask).sum()):,}", why + (f"; left out: {other}" if other else ""))
    if twice := int(gene_keys(table[~mask]).duplicated().sum()):
        found.open.append(f"{counted(twice, 'gene')} listed again: of each gene the column with most counts is kept")
    if mask.all():
        found.open.append("no feature is a gene by its type or name: set genes.features to all to keep them")
    if not ids and table["feature_name"].str.fullmatch(r"\d*").mean() > 0.5:
        found.open.append("var has neither Ensembl ids nor symbols: models and other data cannot be joined by genes")
    _organism(found, organism_of(table[~mask]), of_obs)


def _place(var: "pd.DataFrame", table: "pd.DataFrame", column: str) -> str:
    """Where ids or symbols were found: a column of var, or its row names; empty where there are none of their own."""
    if column == "feature_name" and _are_ids(table[column]).mean() > 0.5:
        return ""
    wanted = _begun(table[column])
    shares = {f"var['{name}']": (_begun(var[name]) == wanted).mean() for name in var}
    shares["the row names of var"] = (_begun(var.index.to_series()) == wanted).mean()
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] else ""


def _begun(texts: "pd.Series") -> "NDArray[np.object_]":
    """The first 15 letters, which an Ensembl id has before its version."""
    return texts.astype(str).str.slice(0, 15).to_numpy(dtype=object)


def _are_ids(texts: "pd.Series") -> "pd.Series":
    return texts.astype(str).map(strip_version) != ""


def _symbol_column(var: "pd.DataFrame", table: "pd.DataFrame") -> str | None:
    """A column of var that holds symbols, where those that are looked for are not there."""
    names = table["feature_name"]
    if (~_are_ids(names) & names.str.match(_SYMBOL)).mean() > 0.5:
        return None
    for column in var.columns:
        texts = var[column].astype(str)
        like = texts.str.match(_SYMBOL) & ~_are_ids(texts)
        if like.mean() >= _SHARE and texts.nunique() > len(var) / 2:
            return str(column)
    return None


def _organism(found: Findings, seen: Told, of_obs: Sequence[Column]) -> None:
    stated = choose_by_name(of_obs, "organism")
    said = list(stated.column.values) if stated else []
    wrong = [name for name in said if seen.contradicts(name)]
    if wrong:
        found.open.append(f"obs says that the organism is {wrong[0]}, but the genes tell {seen.organism} ({seen.by})")
    if said:
        found.choose("organism", ", ".join(said[:3]), f"obs['{stated.column.name}']" if stated else "")
    elif seen.organism:
        found.choose("organism", seen.organism, f"by the {seen.by} of {seen.share:.0%} of the genes")
    else:
        found.open.append("the organism cannot be told from the genes")
