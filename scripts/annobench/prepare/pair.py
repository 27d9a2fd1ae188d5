"""A reference to query pair: prepared datasets joined on the genes that all of them have."""

from pathlib import Path
from typing import Any

from annobench.errors import DataError
from annobench.files import read_json
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

    Cell ids are prefixed with the dataset. Genes are named as the query names them; coordinates of a spatial query are
    kept (NaN for the references). Raises DataError where too few genes are shared, with the overlap both ways.
    """
    import anndata
    import numpy as np

    query = dataset["pair"]["query"]
    loaded = {part: read_h5ad(cells) for part, (cells, _) in parts.items()}
    states = {part: str(cells.uns["annobench"]["matrix"]) for part, cells in loaded.items()}
    if len(set(states.values())) > 1:
        raise DataError(
            f"{name}: pair: the parts hold different values ({states}); declare all as counts, or all as the same "
            "log1p state"
        )
    positions = shared_genes(
        [cells.var[["feature_id", "feature_name"]].astype(str).reset_index(drop=True) for cells in loaded.values()]
    )
    shared = len(positions[0])
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
    joined = []
    for (part, cells), columns in zip(loaded.items(), positions, strict=True):
        piece = cells[:, columns].copy()
        piece.var_names = loaded[query].var_names[positions[list(loaded).index(query)]]
        piece.obs_names = [f"{part}:{cell}" for cell in piece.obs_names]
        piece.obs["part"] = "query" if part == query else "reference"
        del piece.obsm, piece.uns
        joined.append(piece)
    cells = anndata.concat(joined, join="inner")
    cells.var = loaded[query].var.iloc[positions[list(loaded).index(query)]][["feature_id", "feature_name"]]
    cells.uns["annobench"] = {"matrix": states[query], "ontology": ontology.release}
    if "spatial" in loaded[query].obsm:
        spatial = np.asarray(loaded[query].obsm["spatial"], dtype=float)
        cells.obsm["spatial"] = np.full((cells.n_obs, spatial.shape[1]), np.nan)
        cells.obsm["spatial"][(cells.obs["part"] == "query").to_numpy()] = spatial
    cards = {part: read_json(card) for part, (_, card) in parts.items()}
    write_cells(
        name,
        cells,
        outputs,
        ontology,
        {"parts": {part: card["sha256"] for part, card in cards.items()}, "overlap": overlap},
    )
