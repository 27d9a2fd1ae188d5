"""A release in the form of the CELLxGENE Census, built from prepared datasets, that its own client opens.

    census_info/summary, datasets               build date, and a row for every dataset
    census_data/homo_sapiens/obs                a row for every cell
    census_data/homo_sapiens/ms/RNA/var         a row for every gene, by Ensembl id
    census_data/homo_sapiens/ms/RNA/X/raw       counts
    .../feature_dataset_presence_matrix         which dataset measured which gene

All releases of one family have the same genes in the same order, whatever they hold.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.cells.stored_cells import open_store, read_cells
from annobench.core.errors import DataError
from annobench.core.files import sha256_of, write_json
from annobench.core.parquet import NOT_GIVEN
from annobench.core.progress import Report, silent
from annobench.data.census.release import LAYER, MEASUREMENT, DatasetRow
from annobench.data.census.spec import GeneTable, PartSpec
from annobench.data.census.symbols import GeneMap, gene_map
from annobench.data.spec import Step

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import tiledbsoma as soma
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

_BLOCK = 2_048  # cells that are written at a time
_TILE = 256  # cells that lie together in the array of counts
_OBS = {  # column of the Census: that of prepared cells
    "assay": "assay",
    "cell_type": "label",
    "cell_type_ontology_term_id": "label_id",
    "disease": "disease",
    "donor_id": "donor",
    "tissue": "tissue",
    "tissue_general": "tissue",
}
_NOT_KNOWN = ("development_stage", "self_reported_ethnicity", "sex", "suspension_type")


@dataclass(frozen=True)
class Part:
    """A prepared dataset in a release: its name, its cells.h5ad, and what census_info/datasets says of it."""

    name: str
    cells: Path
    about: PartSpec = field(default_factory=PartSpec)


@dataclass
class _Written:
    """What is written so far: rows of datasets and obs, and which dataset measured which gene."""

    datasets: list[DatasetRow] = field(default_factory=list)
    obs: "list[pd.DataFrame]" = field(default_factory=list)
    presence: "list[tuple[int, NDArray[np.int64]]]" = field(default_factory=list)
    cells: int = 0


def build_release(
    release: str,
    parts: Sequence[Part],
    folder: Path,
    record: Path,
    *,
    family: Mapping[str, Path] | None = None,
    gene_table: GeneTable | None = None,
    by_dictionary: bool = True,
    report: Report = silent,
) -> None:
    """Write a release in the form of the Census.

    log1p values are converted back and rounded, which the record states.

    Parameters
    ----------
    release
        Its date.
    parts
        The datasets that it holds.
    folder
        Of the release, which is written beside it and renamed when it is whole.
    record
        Gets what became of each part (JSON).
    family
        All prepared datasets (name -> cells.h5ad) whose genes the release knows; by default those of its parts. A
        dataset that has symbols only gets its Ensembl ids from the others, or from `gene_table`.
    gene_table
        A table of ids and symbols.
    by_dictionary
        Whether texts of obs are dictionary-encoded, as in the Census since late 2023.
    report
        Says one line of progress.

    Raises
    ------
    DataError
    """
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", release):
        raise DataError(f"release: '{release}' is not a date such as 2023-05-15, as releases are called")
    names = [part.name for part in parts]
    if len(set(names)) < len(names) or not names:
        raise DataError(f"release {release}: expected different datasets, found {names or 'none'}")
    family = {**(family or {}), **{part.name: part.cells for part in parts}}
    genes = gene_map({name: _var(cells) for name, cells in sorted(family.items())}, gene_table)
    begun = folder.with_name(f"{folder.name}.part")
    rmtree(begun, ignore_errors=True)
    begun.parent.mkdir(parents=True, exist_ok=True)
    about = _write(release, parts, begun, genes, by_dictionary=by_dictionary, report=report)
    rmtree(folder, ignore_errors=True)
    begun.rename(folder)
    write_json(record, about)


def _write(
    release: str, parts: Sequence[Part], folder: Path, genes: GeneMap, *, by_dictionary: bool, report: Report
) -> Step:
    import pyarrow as pa
    import tiledbsoma as soma

    total = sum(_count(part.cells) for part in parts)
    about: dict[str, dict[str, object]] = {}
    written = _Written()
    made: Any = soma.Collection.create(str(folder))
    with made as census:
        experiment = census.add_new_collection("census_data").add_new_collection("homo_sapiens", soma.Experiment)
        measurement = experiment.add_new_collection("ms").add_new_collection(MEASUREMENT, soma.Measurement)
        layers = measurement.add_new_collection("X")
        shape = (total, len(genes.ids))
        with layers.add_new_sparse_ndarray(
            LAYER, type=pa.float32(), shape=shape, platform_config=_layout(*shape)
        ) as array:
            for part in parts:
                about[part.name] = _write_part(part, genes, array, written)
                report(f"{part.name}: {_count(part.cells):,} cells, {about[part.name]['genes']}")
        var = {"feature_id": genes.ids, "feature_name": genes.names}
        _frame(measurement, "var", {"soma_joinid": range(len(genes.ids)), **var})
        matrix = measurement.add_new_sparse_ndarray(
            "feature_dataset_presence_matrix", type=pa.bool_(), shape=(len(written.datasets), len(genes.ids))
        )
        with matrix:
            _write_presence(matrix, written)
        _write_obs(experiment, written, by_dictionary)
        info = census.add_new_collection("census_info")
        _frame(info, "datasets", {key: [row[key] for row in written.datasets] for key in written.datasets[0]})
        facts = {
            "census_schema_version": "1.2.0",
            "census_build_date": release,
            "total_cell_count": str(written.cells),
            "number_donors_homo_sapiens": str(sum(obs["donor_id"].nunique() for obs in written.obs)),
            "built_by": "annobench",
        }
        rows = {"soma_joinid": range(len(facts)), "label": list(facts), "value": list(facts.values())}
        _frame(info, "summary", rows)
    return {
        "release": release,
        "genes": len(genes.ids),
        "parts": about,
        "cells": written.cells,
        "datasets": [row["dataset_id"] for row in written.datasets],
    }


def _write_part(part: Part, genes: GeneMap, array: "soma.SparseNDArray", written: _Written) -> Step:
    """Append the counts and annotations of a part; returns what the record says of it."""
    import pandas as pd
    import pyarrow as pa
    import tiledbsoma as soma

    place = genes.places[part.name]
    state, first = _state(part.cells), written.cells
    tables = []
    above_zero = left = 0
    for counts, obs in _blocks(part.cells):
        tables.append(_annotations(part, obs))
        for start in range(0, len(obs), _BLOCK):
            block = _as_counts(counts[start : start + _BLOCK], state)
            above_zero, left = above_zero + counts[start : start + _BLOCK].count_nonzero(), left + block.count_nonzero()
            entries = _placed(block, place, len(genes.ids))
            columns = {
                "soma_dim_0": np.repeat(np.arange(entries.shape[0]), np.diff(entries.indptr)) + written.cells,
                "soma_dim_1": entries.indices.astype(np.int64),
                "soma_data": entries.data.astype(np.float32),
            }
            array.write(pa.table(columns), platform_config=soma.TileDBWriteOptions(sort_coords=False))
            written.cells += entries.shape[0]
    obs = pd.concat(tables, ignore_index=True)
    obs.insert(0, "soma_joinid", np.arange(first, written.cells))
    several = obs["study"].nunique() > 1
    base = part.about.dataset_id or part.name
    obs["dataset_id"] = obs["study"].map(_dataset_ids(base, obs["study"].unique())) if several else base
    for name, some in obs.groupby("dataset_id", sort=True):
        if any(row["dataset_id"] == name for row in written.datasets):
            raise DataError(f"dataset_id: '{name}' of {part.name} is that of another dataset too; give it another id")
        number = len(written.datasets)
        title, collection = part.about.title or part.name, part.about.collection
        written.datasets.append(
            {
                "soma_joinid": number,
                "collection_id": _slug(collection or part.name),
                "collection_name": collection or title,
                "collection_doi": "",
                "dataset_id": str(name),
                "dataset_title": f"{title}, {some['study'].iloc[0]}" if several else title,
                "dataset_h5ad_path": f"{name}.h5ad",
                "dataset_total_cell_count": len(some),
            }
        )
        written.presence.append((number, np.unique(place[place >= 0])))
    written.obs.append(obs.drop(columns="study"))
    values = "counts"
    if state != "counts":
        lost = 1 - left / max(above_zero, 1)
        values = f"round(expm1(x)) of {state}: whole numbers, but not counts; {lost:.1%} of the values became zero"
    return {"cells": len(obs), "values": values, "genes": genes.about[part.name], "sha256": sha256_of(part.cells)}


def _dataset_ids(base: str, studies: Sequence[str]) -> dict[str, str]:
    """An id for every study; numbered where letters alone do not distinguish them."""
    slugs = {study: _slug(study) for study in studies}
    often = Counter(slugs.values())
    return {
        study: f"{base}_{slug}" if slug and often[slug] == 1 else f"{base}_{slug or 'study'}__{number}"
        for number, (study, slug) in enumerate(sorted(slugs.items()), start=1)
    }


def _annotations(part: Part, obs: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    table = {new: obs[old].astype(str).to_numpy() if old in obs else NOT_GIVEN for new, old in _OBS.items()}
    people = zip(obs["donor"].astype(str), obs.index.astype(str), strict=True)
    names = [hashlib.blake2b(f"{a}\t{b}".encode(), digest_size=8).hexdigest() for a, b in people]
    more = dict.fromkeys(_NOT_KNOWN, NOT_GIVEN)
    study = obs["study"].astype(str).to_numpy()
    facts = {"is_primary_data": part.about.primary, "observation_joinid": names, "study": study}
    return pd.DataFrame({**table, **more, **facts})


def _layout(cells: int, genes: int) -> dict[str, object]:
    """The layout of the counts on disk: whole rows one after the other, so that they are written without sorting."""
    packed = ["ByteShuffleFilter", {"_type": "ZstdFilter", "level": 3}]
    dimensions = {
        "soma_dim_0": {"tile": min(_TILE, cells), "filters": packed},
        "soma_dim_1": {"tile": genes, "filters": packed},
    }
    order = {"cell_order": "row-major", "tile_order": "row-major"}
    return {"tiledb": {"create": {"dims": dimensions, "attrs": {"soma_data": {"filters": packed}}, **order}}}


def _placed(matrix: "csr_matrix", place: "NDArray[np.int64]", genes: int) -> "csr_matrix":
    """The columns of a matrix moved to their places among `genes` genes; columns without a place are left out."""
    from scipy.sparse import csr_matrix

    kept = np.flatnonzero(place >= 0)
    part = matrix[:, kept]
    moved = csr_matrix((part.data, place[kept][part.indices], part.indptr), shape=(matrix.shape[0], genes))
    moved.sort_indices()
    return moved


def _as_counts(matrix: "csr_matrix", state: str) -> "csr_matrix":
    """Whole numbers: log1p values are converted back and rounded."""
    if state == "counts":
        return matrix
    counts = matrix.copy()
    counts.data = np.rint(np.expm1(counts.data.astype(np.float64)))
    counts.eliminate_zeros()
    return counts


def _state(cells: Path) -> str:
    """What the values of prepared cells are."""
    import h5py

    with h5py.File(cells, "r") as file:
        return str(file["uns/annobench/matrix"].asstr()[()])


def _var(cells: Path) -> "pd.DataFrame":
    import h5py
    from anndata.io import read_elem

    if not cells.is_file():
        raise DataError(f"{cells}: there is no such file; prepare the dataset first (snakemake {cells})")
    with h5py.File(cells, "r") as file:
        table: pd.DataFrame = read_elem(file["var"])
    if missing := {"feature_id", "feature_name"} - set(table.columns):
        raise DataError(
            f"{cells}: var has no column {sorted(missing)[0]}; it is not the cells.h5ad of a prepared dataset"
        )
    return table


def _count(cells: Path) -> int:
    import h5py

    store = open_store(cells)
    if store is not None:
        return store.n
    with h5py.File(cells, "r") as file:
        obs = file["obs"]
        return len(obs[obs.attrs["_index"]])


def _blocks(cells: Path) -> "Iterator[tuple[csr_matrix, pd.DataFrame]]":
    """Values and annotations of consecutive cells."""
    from scipy.sparse import csr_matrix

    store = open_store(cells, verify=True)
    if store is None:
        whole = read_cells(cells)
        yield csr_matrix(whole.X), whole.obs
        return
    for start in range(0, store.n, _BLOCK):
        positions = np.arange(start, min(start + _BLOCK, store.n))
        yield store.counts(positions), store.obs(positions=positions)


def _write_presence(matrix: "soma.SparseNDArray", written: _Written) -> None:
    import pyarrow as pa

    for number, there in written.presence:
        dataset = np.full(len(there), number, dtype=np.int64)
        matrix.write(
            pa.table({"soma_dim_0": dataset, "soma_dim_1": there.astype(np.int64), "soma_data": [True] * len(there)})
        )


def _write_obs(experiment: "soma.Experiment", written: _Written, by_dictionary: bool) -> None:
    import pandas as pd
    import pyarrow as pa

    obs = pd.concat(written.obs, ignore_index=True)
    columns: dict[str, Any] = {}
    for name in obs:
        if obs[name].dtype != object:
            columns[str(name)] = pa.array(obs[name].to_numpy())
        else:
            texts = pa.array(obs[name].to_numpy(), pa.large_string())
            coded = by_dictionary and name != "observation_joinid"
            columns[str(name)] = texts.dictionary_encode() if coded else texts
    _frame(experiment, "obs", columns)


def _frame(parent: Any, name: str, columns: "Mapping[str, Sequence[object] | pa.Array]") -> None:
    """Add a data frame that is indexed by soma_joinid."""
    import pyarrow as pa
    import tiledbsoma as soma

    arrays = {}
    for key, values in columns.items():
        plain = isinstance(values, pa.Array)
        kind = pa.int64() if isinstance(values, range) or isinstance(values[0], int) else pa.large_string()
        arrays[key] = values if plain else pa.array(list(values), kind)
    table = pa.table(arrays)
    domain = [[0, len(table) - 1]]
    made = parent.add_new_dataframe(name, schema=table.schema, index_column_names=["soma_joinid"], domain=domain)
    made.close()
    # opened again: the open collection writes as of the moment it was opened, when the dictionary had no texts yet
    with soma.DataFrame.open(made.uri, "w") as frame:
        frame.write(table)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def build_from_files(
    release: str,
    datasets: Sequence[str],
    folder: Path,
    *,
    know: Sequence[str] = (),
    gene_table: GeneTable | None = None,
    report: Report = print,
) -> None:
    """Build a release of datasets given as NAME=CELLS, as the command line has them. Raises DataError."""

    def parsed(texts: Sequence[str]) -> dict[str, Path]:
        pairs = [text.partition("=") for text in texts]
        for text, (name, _, cells) in zip(texts, pairs, strict=True):
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or not cells:
                raise DataError(f"'{text}' is not NAME=CELLS, such as lung=results/data/lung/cells.h5ad")
        return {name: Path(cells).absolute() for name, _, cells in pairs}

    parts = [Part(name, cells) for name, cells in parsed(datasets).items()]
    record = folder.with_name(f"{folder.name}.json")
    build_release(release, parts, folder.absolute(), record, family=parsed(know), gene_table=gene_table, report=report)
