"""A reference to query pair: prepared datasets joined on the genes that all of them, or all references, have."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from annobench.cells.expression import to_cp10k
from annobench.cells.genes import shared_genes
from annobench.cells.matrix import placed
from annobench.cells.panel import DEPTH, MEASURED
from annobench.cells.stored_cells import read_cells, store_folder
from annobench.core.errors import AnnobenchError, DataError
from annobench.core.files import damaged, read_json
from annobench.core.parquet import NOT_GIVEN
from annobench.core.progress import Report, silent
from annobench.data.prepare.card import Notes, write_cells
from annobench.data.prepare.join import Join, extra_columns
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.ontology import Ontology

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from annobench.data.prepare.join import Columns


def prepare_pair(
    name: str,
    spec: DatasetSpec,
    parts: Mapping[str, PreparedFiles],
    outputs: PreparedFiles,
    *,
    ontology: Ontology,
    report: Report = silent,
) -> None:
    """Join prepared datasets into one with a column `part`.

    Cell ids are prefixed with the dataset. Coordinates of a spatial query are kept (NaN for the references), and the
    counts of a cell over the kept genes (`total_counts`; NaN where a part holds logarithmic values). Where a part lies
    in a store, or `storage` asks for it, so does the pair.

    Parameters
    ----------
    name
        Of the pair.
    spec
        What its YAML says.
    parts
        The prepared datasets by name, the query last.
    outputs
        Where cells, observations and card go; a store is written beside them.
    ontology
        The release of the study.
    report
        Says one line of progress.

    Raises
    ------
    DataError
        Where the parts hold different values, or share too few genes; then with the overlap both ways.
    """
    pair = spec.pair
    assert pair is not None  # the rule calls this for pairs only
    joining = Joining(
        name=name,
        key="pair",
        kinds={part: "query" if part == pair.query else "reference" for part in parts},
        query=pair.query,
        all_of_reference=pair.genes == "reference",
        values=pair.values,
        min_genes=pair.min_genes,
        storage=spec.storage,
    )
    prepare_joined(joining, parts, outputs, ontology=ontology, report=report)


@dataclass(frozen=True, kw_only=True)
class Joining:
    """What the YAML says of how prepared datasets become one.

    Parameters
    ----------
    name, key
        The dataset, and the key of its file (`pair` or `combined`), for messages.
    kinds
        What the column `part` says of the cells of each part.
    query
        The part that is annotated, after which genes are named; None where there is no such part.
    all_of_reference
        Whether the genes are those that all other parts share, not only those that the query has as well.
    values, min_genes, storage
        As in the YAML.
    """

    name: str
    key: str
    kinds: Mapping[str, str]
    query: str | None
    all_of_reference: bool
    values: str
    min_genes: int
    storage: str


def prepare_joined(
    joining: Joining,
    parts: Mapping[str, PreparedFiles],
    outputs: PreparedFiles,
    *,
    ontology: Ontology,
    report: Report,
    notes: Notes | None = None,
) -> None:
    """Join prepared datasets over their genes; see `prepare_pair`. `notes` are further entries of the card."""
    stored = [part for part, files in parts.items() if store_folder(files.cells)]
    # of a part in a store this is its header, of any other all of it
    heads = {part: _head(files.cells, header=part in stored) for part, files in parts.items()}
    states = {part: str(head.uns["annobench"]["matrix"]) for part, head in heads.items()}
    in_store = joining.storage == "store" or (joining.storage == "auto" and bool(stored))
    same, (*_, last) = joining.values == "same", parts
    _check_states(joining, states, in_store=in_store)
    genes = {part: head.var for part, head in heads.items()}
    overlap = _overlap(joining, genes)
    columns, var = _columns(genes, joining.query, all_of_reference=joining.all_of_reference)
    about: Notes = {"parts": {part: read_json(files.card)["sha256"] for part, files in parts.items()}}
    about |= {"overlap": overlap, **(notes or {})}
    join = Join(joining.name, joining.kinds, joining.query, columns, var, about)
    if in_store:
        from annobench.data.prepare.stored_pair import prepare_stored_pair

        files: dict[str, Path] = {part: one.cells for part, one in parts.items()}
        prepare_stored_pair(join, files, outputs, ontology, report)
        return
    loaded = {part: read_cells(one.cells) if part in stored else heads[part] for part, one in parts.items()}
    joined = _joined(loaded, join, same=same)
    joined.uns["annobench"] = {"matrix": states[last] if same else "log1p_cp10k", "ontology": ontology.release}
    write_cells(joining.name, joined, outputs, ontology, join.notes)


def _head(path: Path, *, header: bool) -> "AnnData":
    """A prepared part, or what its file says of its store. Raises DataError where it is damaged or has no genes."""
    import anndata

    try:
        cells = anndata.read_h5ad(path) if header else read_cells(path)
    except AnnobenchError:
        raise
    except Exception as error:  # whatever h5py and anndata raise on broken files
        raise damaged(path, error) from error
    if not cells.n_vars:
        raise DataError(f"{path}: is empty: it has no genes to join it by (matrix.state: none)")
    return cells


def _check_states(joining: Joining, states: Mapping[str, str], *, in_store: bool) -> None:
    """Raise DataError where the values of the parts cannot be joined as the YAML asks."""
    name, key, values = joining.name, joining.key, joining.values
    if values == "same" and len(set(states.values())) > 1:
        raise DataError(
            f"{name}: {key}: the parts hold different values ({states}); declare all as counts, all as the same log1p "
            f"state, or set {key}.values to log1p_cp10k"
        )
    if in_store and (values != "same" or set(states.values()) != {"counts"}):
        raise DataError(
            f"{name}: storage: a store holds counts, but {key}.values is {values} and the parts hold {states}; set "
            f"{key}.values to same and declare all parts as counts, or set storage to memory"
        )


class Overlap(TypedDict):
    """Genes of a part, how many of them all parts have, and what share that is."""

    genes: int
    shared: int
    share: float


def _overlap(joining: Joining, genes: "Mapping[str, pd.DataFrame]") -> dict[str, Overlap]:
    """The overlap of every part. Raises DataError where fewer than `min_genes` genes are shared."""
    name, key, least = joining.name, joining.key, joining.min_genes
    shared = len(shared_genes(list(genes.values()))[0])
    overlap = {part: Overlap(genes=len(v), shared=shared, share=round(shared / len(v), 4)) for part, v in genes.items()}
    if shared < least:
        ways = "; ".join(f"{part}: {o['shared']} of {o['genes']} genes" for part, o in overlap.items())
        raise DataError(
            f"{name}: {key}: only {shared} genes are shared ({ways}), {key}.min_genes is {least}. "
            "Ensembl ids against symbols? See genes.id and genes.name of the parts."
            + (" Organisms share none: set combined.genes to none." if key == "combined" else "")
        )
    return overlap


def _columns(
    genes: "Mapping[str, pd.DataFrame]", query: str | None, *, all_of_reference: bool
) -> "tuple[Columns, pd.DataFrame]":
    """For each part which of its genes go where in the joined table; and the table of its genes.

    It has the genes that all parts share, or that all references share.
    """
    import numpy as np

    basis = [part for part in genes if part != query] if all_of_reference else list(genes)
    shared = dict(zip(basis, shared_genes([genes[part] for part in basis]), strict=True))
    # genes are named as the query names them; where it lacks some, or there is none, as the first part does
    naming = query if query is not None and not all_of_reference else basis[0]
    var = genes[naming].iloc[shared[naming]][["feature_id", "feature_name"]].copy()
    whole = np.arange(len(var))
    columns = {part: (np.asarray(positions, dtype=int), whole) for part, positions in shared.items()}
    if all_of_reference and query is not None:
        of_reference, of_query = (np.asarray(positions, dtype=int) for positions in shared_genes([var, genes[query]]))
        var[MEASURED] = np.isin(whole, of_reference)
        columns[query] = of_query, of_reference
    return columns, var


def _joined(loaded: "Mapping[str, AnnData]", join: Join, *, same: bool) -> "AnnData":
    """All cells of the parts over the genes of the pair."""
    import anndata
    import numpy as np
    from scipy.sparse import csr_matrix

    pieces = []
    extra = extra_columns([list(cells.obs) for cells in loaded.values()])
    for part, cells in loaded.items():
        matrix = placed(csr_matrix(cells.X), join.columns[part], len(join.genes))
        piece = anndata.AnnData(matrix, obs=cells.obs.copy(), var=join.genes[[]])
        state = str(cells.uns["annobench"]["matrix"])
        # the depth of a cell over the genes that are kept, which logarithmic values no longer tell
        piece.obs[DEPTH] = np.asarray(piece.X.sum(axis=1)).ravel() if state == "counts" else np.nan
        if not same:
            piece.X = to_cp10k(piece.X, state)
        for key in extra:
            piece.obs[key] = piece.obs[key].astype(str) if key in piece.obs else NOT_GIVEN
        piece.obs_names = [f"{part}:{cell}" for cell in piece.obs_names]
        piece.obs["part"] = join.kinds[part]
        pieces.append(piece)
    joined = anndata.concat(pieces, join="inner")
    joined.var = join.genes
    if join.located is not None and "spatial" in loaded[join.located].obsm:
        spatial = np.asarray(loaded[join.located].obsm["spatial"], dtype=float)
        joined.obsm["spatial"] = np.full((joined.n_obs, spatial.shape[1]), np.nan)
        joined.obsm["spatial"][(joined.obs["part"] == join.kinds[join.located]).to_numpy()] = spatial
    return joined
