"""A combined dataset: the cells of several prepared datasets, over the genes that all have, or without any gene."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from annobench.cells.stored_cells import SPATIAL, open_store, read_without_matrix
from annobench.config.names import NO_MATRIX, OBS_COLUMNS
from annobench.core.files import read_json
from annobench.core.parquet import NOT_GIVEN, read_columns
from annobench.core.progress import Report, silent
from annobench.data.prepare.card import Notes, write_cells
from annobench.data.prepare.join import extra_columns
from annobench.data.prepare.pair import Joining, prepare_joined
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.ontology import Ontology

if TYPE_CHECKING:
    import pandas as pd


def prepare_combined(
    name: str,
    spec: DatasetSpec,
    parts: Mapping[str, PreparedFiles],
    outputs: PreparedFiles,
    *,
    ontology: Ontology,
    report: Report = silent,
) -> None:
    """Join prepared datasets into one whose column `part` holds the name of each cell's dataset.

    Cell ids are prefixed with the dataset, columns that only some datasets have are `unknown` in the others, and
    coordinates are left out. Labels are ids of the Cell Ontology in all of them.

    Parameters
    ----------
    name
        Of the combined dataset.
    spec
        What its YAML says. With `genes: none` the counts of the parts are not read.
    parts
        The prepared datasets by name.
    outputs
        Where cells, observations and card go.
    ontology
        The release of the study.
    report
        Says one line of progress.

    Raises
    ------
    DataError
        Where genes are to be kept, and the parts hold different values or share too few genes.
    """
    combined = spec.combined
    assert combined is not None  # the rule calls this for combined datasets only
    if shared := _shared_donors(parts):
        report(
            f"{len(shared)} donors have one name in several datasets ({', '.join(list(shared)[:3])}); they count as "
            "the same person"
        )
    notes: Notes = {"donors_in_several_parts": shared, "coordinates_left_out": _with_coordinates(parts)}
    if combined.genes == "none":
        _prepare_observations(name, parts, outputs, ontology, notes)
        return
    joining = Joining(
        name=name,
        key="combined",
        kinds={part: part for part in parts},
        query=None,
        all_of_reference=False,
        values=combined.values,
        min_genes=combined.min_genes,
        storage=spec.storage,
    )
    prepare_joined(joining, parts, outputs, ontology=ontology, report=report, notes=notes)


def _shared_donors(parts: Mapping[str, PreparedFiles]) -> dict[str, list[str]]:
    """Donors that several datasets name alike, and these datasets."""
    found: dict[str, list[str]] = {}
    for part, files in parts.items():
        for donor in read_columns(files.obs, ["donor"], categorical=["donor"])["donor"].counts():
            found.setdefault(donor, []).append(part)
    return {donor: of for donor, of in sorted(found.items()) if len(of) > 1 and donor != NOT_GIVEN}


def _with_coordinates(parts: Mapping[str, PreparedFiles]) -> list[str]:
    """Datasets whose cells have coordinates, which mean nothing beside those of another one."""
    import h5py

    found = []
    for part, files in parts.items():
        store = open_store(files.cells)
        with h5py.File(files.cells, "r") as file:
            if "obsm/spatial" in file or any(name.startswith(SPATIAL) for name in (store.columns if store else ())):
                found.append(part)
    return found


def _prepare_observations(
    name: str, parts: Mapping[str, PreparedFiles], outputs: PreparedFiles, ontology: Ontology, notes: Notes
) -> None:
    """The observations of all parts, without genes."""
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    read = {part: read_without_matrix(files.cells) for part, files in parts.items()}
    extra = extra_columns([list(cells.obs) for cells in read.values()])
    obs = pd.concat([_observations(cells.obs, part, extra) for part, cells in read.items()])
    var = pd.DataFrame({"feature_id": [], "feature_name": []}, dtype=str, index=pd.Index([], dtype=str))
    cells = AnnData(csr_matrix((len(obs), 0), dtype=np.float32), obs=obs, var=var)
    cells.uns["annobench"] = {"matrix": NO_MATRIX, "ontology": ontology.release}
    hashes = {part: read_json(files.card)["sha256"] for part, files in parts.items()}
    genes = {part: len(one.var) for part, one in read.items()}
    write_cells(name, cells, outputs, ontology, {"parts": hashes, "genes_left_out": genes, **notes})


def _observations(obs: "pd.DataFrame", part: str, extra: list[str]) -> "pd.DataFrame":
    """The observations of a part, with the columns of the whole."""
    table = obs[list(OBS_COLUMNS)].astype(str)
    for key in extra:
        table[key] = obs[key].astype(str) if key in obs else NOT_GIVEN
    table["part"] = part
    table.index = [f"{part}:{cell}" for cell in obs.index]
    table.index.name = "cell_id"
    return table
