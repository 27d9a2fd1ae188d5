"""A reference to query pair: prepared datasets joined on the genes that all of them, or all references, have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annobench.errors import DataError
from annobench.files import read_json
from annobench.genesets import DEPTH, MEASURED, to_cp10k
from annobench.ontology import Ontology
from annobench.prepare.cells import read_h5ad, write_cells
from annobench.prepare.genes import shared_genes


def prepare_pair(
    name: str,
    dataset: dict[str, Any],
    parts: dict[str, tuple[Path, Path]],
    ontology: Ontology,
    outputs: dict[str, Path],
) -> None:
    """Join prepared datasets (name -> cells.h5ad, card.json; the query last) into one with a column `part`.

    Cell ids are prefixed with the dataset. Coordinates of a spatial query are kept (NaN for the references), and the
    counts of a cell over the kept genes (`total_counts`; NaN where a part holds logarithmic values). Raises DataError
    where too few genes are shared, with the overlap both ways.
    """
    query = dataset["pair"]["query"]
    loaded = {part: read_h5ad(cells) for part, (cells, _) in parts.items()}
    states = {part: str(cells.uns["annobench"]["matrix"]) for part, cells in loaded.items()}
    same = dataset["pair"]["values"] == "same"
    if same and len(set(states.values())) > 1:
        raise DataError(
            f"{name}: pair: the parts hold different values ({states}); declare all as counts, all as the same log1p "
            "state, or set pair.values to log1p_cp10k"
        )
    shared = len(shared_genes([cells.var for cells in loaded.values()])[0])
    overlap = {
        part: {"genes": cells.n_vars, "shared": shared, "share": round(shared / cells.n_vars, 4)}
        for part, cells in loaded.items()
    }
    if shared < dataset["pair"]["min_genes"]:
        ways = "; ".join(f"{part}: {o['shared']} of {o['genes']} genes" for part, o in overlap.items())
        raise DataError(
            f"{name}: pair: only {shared} genes are shared ({ways}), pair.min_genes is {dataset['pair']['min_genes']}. "
            "Ensembl ids against symbols? See genes.id and genes.name of the parts."
        )
    joined = _joined(loaded, query, dataset["pair"]["genes"] == "reference", same)
    joined.uns["annobench"] = {"matrix": states[query] if same else "log1p_cp10k", "ontology": ontology.release}
    cards = {part: read_json(card) for part, (_, card) in parts.items()}
    write_cells(
        name,
        joined,
        outputs,
        ontology,
        {"parts": {part: card["sha256"] for part, card in cards.items()}, "overlap": overlap},
    )


def _joined(loaded: dict[str, Any], query: str, all_of_reference: bool, same: bool) -> Any:
    """All cells of the parts over the shared genes, or over the genes that all references share."""
    import anndata
    import numpy as np

    basis = [part for part in loaded if part != query] if all_of_reference else list(loaded)
    positions = dict(zip(basis, shared_genes([loaded[part].var for part in basis]), strict=True))
    # genes are named as the query names them; where it lacks some, as the first reference does
    naming = basis[0] if all_of_reference else query
    var = loaded[naming].var.iloc[positions[naming]][["feature_id", "feature_name"]].copy()
    if all_of_reference:
        of_reference, of_query = shared_genes([var, loaded[query].var])
        var[MEASURED] = np.isin(np.arange(len(var)), of_reference)
    pieces = []
    for part, cells in loaded.items():
        if part == query and all_of_reference:
            piece = _spread(cells, of_query, of_reference, var)
        else:
            piece = cells[:, positions[part]].copy()
            piece.var_names = var.index
        state = str(cells.uns["annobench"]["matrix"])
        # the depth of a cell over the genes that are kept, which logarithmic values no longer tell
        piece.obs[DEPTH] = np.asarray(piece.X.sum(axis=1)).ravel() if state == "counts" else np.nan
        if not same:
            piece.X = to_cp10k(piece.X, state)
        piece.obs_names = [f"{part}:{cell}" for cell in piece.obs_names]
        piece.obs["part"] = "query" if part == query else "reference"
        del piece.obsm, piece.uns
        pieces.append(piece)
    found = anndata.concat(pieces, join="inner")
    found.var = var
    if "spatial" in loaded[query].obsm:
        spatial = np.asarray(loaded[query].obsm["spatial"], dtype=float)
        found.obsm["spatial"] = np.full((found.n_obs, spatial.shape[1]), np.nan)
        found.obsm["spatial"][(found.obs["part"] == "query").to_numpy()] = spatial
    return found


def _spread(cells: Any, columns: Sequence[int], places: Sequence[int], var: Any) -> Any:
    """Cells with their `columns` put at `places` among all genes of `var`, zero elsewhere."""
    import numpy as np
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    matrix = csr_matrix(cells.X)[:, columns].tocoo()
    spread = csr_matrix((matrix.data, (matrix.row, np.asarray(places)[matrix.col])), shape=(cells.n_obs, len(var)))
    return AnnData(spread, obs=cells.obs.copy(), var=var[[]].copy())
