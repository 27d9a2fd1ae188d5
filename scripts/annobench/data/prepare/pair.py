"""A reference to query pair: prepared datasets joined on the genes that all of them, or all references, have."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annobench.cells.expression import to_cp10k
from annobench.cells.genes import shared_genes
from annobench.cells.matrix import placed
from annobench.cells.panel import DEPTH, MEASURED
from annobench.cells.stored_cells import read_cells, store_folder
from annobench.core.errors import DataError
from annobench.core.files import read_json
from annobench.core.parquet import NOT_GIVEN
from annobench.data.prepare.card import read_h5ad, write_cells
from annobench.data.prepare.observations import OPTIONAL
from annobench.ontology import Ontology

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray


def prepare_pair(
    name: str,
    dataset: dict[str, Any],
    parts: dict[str, tuple[Path, Path]],
    ontology: Ontology,
    outputs: dict[str, Path],
    report: Callable[[str], None] = lambda text: None,
) -> None:
    """Join prepared datasets (name -> cells.h5ad, card.json; the query last) into one with a column `part`.

    Cell ids are prefixed with the dataset. Coordinates of a spatial query are kept (NaN for the references), and the
    counts of a cell over the kept genes (`total_counts`; NaN where a part holds logarithmic values). Where a part lies
    in a store, or `storage` asks for it, so does the pair. Raises DataError where too few genes are shared, with the
    overlap both ways.
    """
    import anndata

    settings = dataset["pair"]
    query, same = settings["query"], settings["values"] == "same"
    stored = [part for part, (cells, _) in parts.items() if store_folder(cells)]
    # of a part in a store this is what is known of it, of any other all of it
    heads = {
        part: anndata.read_h5ad(cells) if part in stored else read_h5ad(cells) for part, (cells, _) in parts.items()
    }
    states = {part: str(head.uns["annobench"]["matrix"]) for part, head in heads.items()}
    if same and len(set(states.values())) > 1:
        raise DataError(
            f"{name}: pair: the parts hold different values ({states}); declare all as counts, all as the same log1p "
            "state, or set pair.values to log1p_cp10k"
        )
    genes = {part: head.var for part, head in heads.items()}
    overlap = _overlap(name, genes, settings["min_genes"])
    columns, var = _columns(genes, query, settings["genes"] == "reference")
    notes = {"parts": {part: read_json(card)["sha256"] for part, (_, card) in parts.items()}, "overlap": overlap}
    if dataset["storage"] == "store" or (dataset["storage"] == "auto" and stored):
        from annobench.data.prepare.stored_pair import prepare_stored_pair

        if not same or set(states.values()) != {"counts"}:
            raise DataError(
                f"{name}: storage: a store holds counts, but pair.values is {settings['values']} and the parts hold "
                f"{states}; set pair.values to same and declare all parts as counts, or set storage to memory"
            )
        files = {part: cells for part, (cells, _) in parts.items()}
        prepare_stored_pair(name, files, query, columns, var, notes, ontology, outputs, report)
        return
    loaded = {part: read_cells(cells) if part in stored else heads[part] for part, (cells, _) in parts.items()}
    joined = _joined(loaded, query, columns, var, same)
    joined.uns["annobench"] = {"matrix": states[query] if same else "log1p_cp10k", "ontology": ontology.release}
    write_cells(name, joined, outputs, ontology, notes)


def _overlap(name: str, genes: "Mapping[str, pd.DataFrame]", least: int) -> dict[str, dict[str, Any]]:
    """How many genes all parts share, and what share that is of each. Raises DataError for fewer than `least`."""
    shared = len(shared_genes(list(genes.values()))[0])
    overlap = {
        part: {"genes": len(var), "shared": shared, "share": round(shared / len(var), 4)} for part, var in genes.items()
    }
    if shared < least:
        ways = "; ".join(f"{part}: {o['shared']} of {o['genes']} genes" for part, o in overlap.items())
        raise DataError(
            f"{name}: pair: only {shared} genes are shared ({ways}), pair.min_genes is {least}. "
            "Ensembl ids against symbols? See genes.id and genes.name of the parts."
        )
    return overlap


def _columns(
    genes: "Mapping[str, pd.DataFrame]", query: str, all_of_reference: bool
) -> "tuple[dict[str, tuple[NDArray[np.intp], NDArray[np.intp]]], pd.DataFrame]":
    """For each part which of its genes stand where in the joined table; and that table.

    It has the genes that all parts share, or those that all references share.
    """
    import numpy as np

    basis = [part for part in genes if part != query] if all_of_reference else list(genes)
    shared = dict(zip(basis, shared_genes([genes[part] for part in basis]), strict=True))
    # genes are named as the query names them; where it lacks some, as the first reference does
    naming = basis[0] if all_of_reference else query
    var = genes[naming].iloc[shared[naming]][["feature_id", "feature_name"]].copy()
    whole = np.arange(len(var))
    columns = {part: (np.asarray(positions, dtype=int), whole) for part, positions in shared.items()}
    if all_of_reference:
        of_reference, of_query = (np.asarray(found, dtype=int) for found in shared_genes([var, genes[query]]))
        var[MEASURED] = np.isin(whole, of_reference)
        columns[query] = of_query, of_reference
    return columns, var


def _joined(loaded: "Mapping[str, AnnData]", query: str, columns: Any, var: "pd.DataFrame", same: bool) -> "AnnData":
    """All cells of the parts over the genes of `var`."""
    import anndata
    import numpy as np
    from scipy.sparse import csr_matrix

    pieces = []
    optional = [key for key in OPTIONAL if any(key in cells.obs for cells in loaded.values())]
    for part, cells in loaded.items():
        matrix = placed(csr_matrix(cells.X), columns[part], len(var))
        piece = anndata.AnnData(matrix, obs=cells.obs.copy(), var=var[[]])
        state = str(cells.uns["annobench"]["matrix"])
        # the depth of a cell over the genes that are kept, which logarithmic values no longer tell
        piece.obs[DEPTH] = np.asarray(piece.X.sum(axis=1)).ravel() if state == "counts" else np.nan
        if not same:
            piece.X = to_cp10k(piece.X, state)
        for key in optional:
            piece.obs[key] = piece.obs[key].astype(str) if key in piece.obs else NOT_GIVEN
        piece.obs_names = [f"{part}:{cell}" for cell in piece.obs_names]
        piece.obs["part"] = "query" if part == query else "reference"
        pieces.append(piece)
    found = anndata.concat(pieces, join="inner")
    found.var = var
    if "spatial" in loaded[query].obsm:
        spatial = np.asarray(loaded[query].obsm["spatial"], dtype=float)
        found.obsm["spatial"] = np.full((found.n_obs, spatial.shape[1]), np.nan)
        found.obsm["spatial"][(found.obs["part"] == "query").to_numpy()] = spatial
    return found
