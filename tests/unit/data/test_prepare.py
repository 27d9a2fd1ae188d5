"""What is promised: any source becomes the same cells, or is refused with a message that says what to do."""

import warnings
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from annobench.cells.gene_table import chosen_genes, gene_table, keep_one_each
from annobench.cells.genes import shared_genes, strip_version
from annobench.config.entities import load_dataset
from annobench.config.schema import load_yaml, validate
from annobench.core.errors import ConfigError, DataError
from annobench.core.files import read_json, sha256_of, write_json
from annobench.core.parquet import read_columns
from annobench.core.paths import ROOT
from annobench.data.prepare.dataset import prepare_dataset
from annobench.data.prepare.pair import prepare_pair
from annobench.data.prepare.spec import DatasetSpec, GenesSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.data.spec import SourceSpec
from annobench.ontology import Ontology
from helpers import source_h5ad

TABLE = "original\tlabel_id\tcomment\nB cell\tCL:0000236\t\nT cell\tCL:0000084\t\n"


@pytest.fixture
def prepare(tmp_path: Path, ontology: Ontology):
    """Prepare a file with a dataset's settings; returns cells and card."""
    table = tmp_path / "labels.tsv"
    table.write_text(TABLE)

    def prepared(file: Path, labels: bool = True, **settings: dict) -> tuple[ad.AnnData, dict]:
        text = {"label": "d", "summary": "s", "citation": "c", "licence": "l", "source": {"kind": "local", "path": "x"}}
        spec = DatasetSpec.of(validate(text | settings, "dataset", "d.yaml"))
        record = tmp_path / "source.json"
        write_json(record, {"sha256": sha256_of(file), "file": file.name})
        outputs = PreparedFiles.within(tmp_path / "out")
        label_table = table if labels else None
        prepare_dataset("d", spec, file, record, outputs, ontology=ontology, label_table=label_table)
        return ad.read_h5ad(outputs.cells), read_json(outputs.card)

    return prepared


def test_the_contract(prepare, tmp_path: Path) -> None:
    file = source_h5ad(tmp_path / "a.h5ad", lab=["x", "x", "y", "y", "y", None])
    cells, card = prepare(file, cells={"study": "lab", "tissue": "=blood"})
    assert cells.X.dtype == np.float32
    assert list(cells.obs.columns) == [
        "label_id",
        "label",
        "label_original",
        "study",
        "donor",
        "batch",
        "assay",
        "tissue",
        "disease",
    ]
    assert list(cells.obs["label_id"].astype(str))[:2] == ["CL:0000236", "CL:0000084"]
    assert list(cells.obs["label"].astype(str))[:2] == ["B cell", "T cell"]
    assert list(cells.obs["study"].astype(str)) == ["x", "x", "y", "y", "y", "unknown"]
    assert list(cells.obs["batch"]) == list(cells.obs["study"])
    assert set(cells.obs["tissue"]) == {"blood"}
    assert set(cells.obs["donor"]) == {"unknown"}
    assert list(cells.var.columns) == ["feature_id", "feature_name"]
    assert cells.uns["annobench"]["matrix"] == "counts"
    assert card["sha256"] == sha256_of(tmp_path / "out" / "cells.h5ad")
    assert card["labels"]["CL:0000236"] == {"label": "B cell", "cells": 3}
    columns = read_columns(tmp_path / "out" / "obs.parquet")
    assert list(columns["cell_id"]) == list(cells.obs_names)


@pytest.mark.parametrize("text", ["", "NA", "nan", "None", "<NA>", " - ", "not available", "Unknown", "null", None])
def test_a_donor_that_is_missing_is_nobody(prepare, tmp_path: Path, text: str | None) -> None:
    donors = ["d1", text, "d2", text, "d2", "d1"]
    file = source_h5ad(tmp_path / "a.h5ad", donor=donors, treated=["none", "NA", "x", "x", "x", "x"])
    cells, card = prepare(file, cells={"donor": "donor", "study": "donor", "columns": {"condition": "treated"}})
    assert cells.obs["donor"].tolist() == ["d1", "unknown", "d2", "unknown", "d2", "d1"]
    assert card["donors"] == {"d1": 2, "d2": 2, "unknown": 2}
    assert card["cells_without"] == {"donor": 2, "study": 2, "condition": 1}
    assert cells.obs["condition"].tolist() == ["none", "unknown", "x", "x", "x", "x"]


def test_unmapped_labels_stay_visible_and_are_counted(prepare, tmp_path: Path) -> None:
    file = source_h5ad(tmp_path / "a.h5ad", cell_type=["B cell", "T cell", "blob", "blob", "T cell", "B cell"])
    cells, card = prepare(file)
    assert list(cells.obs["label_id"].astype(str))[2:4] == ["unknown", "unknown"]
    assert list(cells.obs["label_original"].astype(str))[2] == "blob"
    assert card["labels_unmapped"] == {"blob": "2 cells: not in the table"}
    assert card["cells_with_unknown_label"] == 2


@pytest.mark.parametrize(
    ("break_file", "part"),
    [
        (lambda data: data[: len(data) // 2], "not a readable h5ad file"),
        (lambda data: b"", "not a readable h5ad file"),
        (lambda data: b"cell,gene\n1,2\n", "not a readable h5ad file"),
        (lambda data: data[:2000] + bytes(4000) + data[6000:], "not a readable h5ad file"),
    ],
    ids=["cut off", "empty file", "a CSV", "zeroed inside"],
)
def test_broken_files(prepare, tmp_path: Path, break_file, part: str) -> None:
    file = source_h5ad(tmp_path / "a.h5ad")
    file.write_bytes(break_file(file.read_bytes()))
    with pytest.raises(DataError, match=part):
        prepare(file)


def test_an_empty_dataset(prepare, tmp_path: Path) -> None:
    file = source_h5ad(tmp_path / "a.h5ad", np.zeros((0, 4)), cell_type=[])
    with pytest.raises(DataError, match=r"is empty \(0 cells, 4 genes\)"):
        prepare(file)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (-1.0, "1 values are negative.*first in row 2.*look like scaled values"),
        (np.nan, "1 values are NaN or infinite.*first in row 2"),
        (np.inf, "1 values are NaN or infinite"),
        (0.5, "matrix.state says counts, but 1 of .* not whole numbers.*row 2: 0.5.*fractional_counts"),
    ],
)
def test_values_that_counts_cannot_be(prepare, tmp_path: Path, value: float, part: str) -> None:
    matrix = np.ones((6, 4))
    matrix[2, 1] = value
    with pytest.raises(DataError, match=part):
        prepare(source_h5ad(tmp_path / "a.h5ad", matrix))


def test_a_bad_value_in_the_last_row_is_found(prepare, tmp_path: Path) -> None:
    matrix = np.ones((600, 4))
    matrix[599, 3] = 1.5
    with pytest.raises(DataError, match="first in row 599"):
        prepare(source_h5ad(tmp_path / "a.h5ad", matrix))


def test_normalised_values_where_log1p_was_promised(prepare, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="more than 10000; these look like whole numbers.*matrix.state` to counts"):
        prepare(source_h5ad(tmp_path / "a.h5ad", np.full((6, 4), 9.0)), matrix={"state": "log1p_cp10k"})


def test_log1p_values_are_kept_and_named(prepare, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((6, 4)) * 4
    cells, card = prepare(source_h5ad(tmp_path / "a.h5ad", values), matrix={"state": "log1p_cp10k"})
    assert card["matrix"] == "log1p_cp10k"
    assert np.allclose(cells.X.toarray(), values)


def test_counts_are_recovered_from_log1p_values(prepare, tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(3, (6, 4)) + 1.0
    totals = counts.sum(axis=1) + 10  # genes that are not in the file count as well
    file = source_h5ad(tmp_path / "a.h5ad", np.log1p(counts / totals[:, None] * 1e4), n_counts=totals)
    cells, card = prepare(file, matrix={"state": "log1p_cp10k", "counts_from": "n_counts"})
    assert (cells.X.toarray() == counts).all()
    assert card["matrix"] == "counts"
    recover = {"state": "log1p_cp10k", "counts_from": "n_counts"}
    wrong = source_h5ad(tmp_path / "b.h5ad", np.log1p(counts / totals[:, None] * 1e4), n_counts=totals * 1.1)
    with pytest.raises(DataError, match="not whole numbers"):
        prepare(wrong, matrix=recover)
    zero = source_h5ad(tmp_path / "c.h5ad", np.log1p(counts), n_counts=totals * 0)
    with pytest.raises(DataError, match="must be positive"):
        prepare(zero, matrix=recover)


def test_duplicated_cell_ids(prepare, tmp_path: Path) -> None:
    file = source_h5ad(tmp_path / "a.h5ad")
    data = ad.read_h5ad(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.obs_names = ["c0", "c0", "c2", "c3", "c4", "c5"]
    data.write_h5ad(file)
    with pytest.raises(DataError, match=r"1 duplicate cell ids \(such as c0\)"):
        prepare(file)
    cells, _ = prepare(file, cells={"duplicated_ids": "suffix"})
    assert cells.obs_names.is_unique


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"cells": {"label": "celltype"}}, "cells.label: there is no column 'celltype'; did you mean 'cell_type'"),
        ({"cells": {"donor": "person"}}, "cells.donor: there is no column 'person'"),
        (
            {"cells": {"donor": "cell_type", "rename": {"donor": {"B cel": "x"}}}},
            "cells.rename.donor: no cell has 'B cel'; did you mean 'B cell'",
        ),
        ({"matrix": {"slot": "raw"}}, "there is no matrix raw; valid: X"),
        ({"matrix": {"slot": "layers/count"}}, "there is no matrix layers/count; valid: X"),
        (
            {"matrix": {"state": "log1p_cp10k", "counts_from": "total"}},
            "matrix.counts_from: there is no column 'total'",
        ),
        ({"matrix": {"counts_from": "cell_type"}}, "counts cannot be had from the state 'counts'"),
        ({"genes": {"id": "ensembl"}}, "genes.id: var has no column 'ensembl'"),
        ({"genes": {"id": "index"}}, "nothing in 'index' is an Ensembl id"),
        ({"genes": {"name": "symbol"}}, "genes.name: var has no column 'symbol'"),
        ({"genes": {"require": ["in_all"]}}, "genes.require: there is no column 'in_all'"),
    ],
)
def test_settings_that_do_not_fit_the_file(prepare, tmp_path: Path, settings: dict, part: str) -> None:
    with pytest.raises(DataError, match=part):
        prepare(source_h5ad(tmp_path / "a.h5ad"), **settings)


def test_samples_of_one_person_can_be_given_one_name(prepare, tmp_path: Path) -> None:
    file = source_h5ad(tmp_path / "a.h5ad", who=["p1", "p1_NAT", "p2", "p2", "p1", None])
    settings = {"donor": "who", "batch": "who", "rename": {"donor": {"p1_NAT": "p1"}}}
    cells, _ = prepare(file, cells=settings)
    assert list(cells.obs["donor"]) == ["p1", "p1", "p2", "p2", "p1", "unknown"]
    assert list(cells.obs["batch"])[1] == "p1_NAT"  # only the column that was named


def test_half_precision_in_a_dense_matrix(prepare, tmp_path: Path) -> None:
    """Rows of log1p CPM in float16 sum to a million within the precision of the type."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(3, (6, 200)) + 1.0
    values = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e6).astype("float16")
    obs = pd.DataFrame({"cell_type": ["B cell", "T cell"] * 3}, index=[f"c{i}" for i in range(6)])
    file = tmp_path / "a.h5ad"
    ad.AnnData(values, obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(200)])).write_h5ad(file)
    cells, card = prepare(file, matrix={"state": "log1p_cpm"})
    assert card["matrix"] == "log1p_cpm"
    assert cells.X.dtype == np.float32
    assert np.array_equal(cells.X.toarray(), values.astype("float32"))


def test_required_genes_are_true_or_false_as_text_too(prepare, tmp_path: Path) -> None:
    file = source_h5ad(tmp_path / "a.h5ad")
    data = ad.read_h5ad(file)
    data.var["kept"] = ["True", "False", "True", "False"]
    data.var["words"] = ["True", "perhaps", "True", "False"]
    data.write_h5ad(file)
    cells, _ = prepare(file, genes={"require": ["kept"]})
    assert list(cells.var["feature_name"]) == ["G0", "G2"]
    with pytest.raises(DataError, match="genes.require: column 'words' holds 'perhaps', expected true or false"):
        prepare(file, genes={"require": ["words"]})


@pytest.mark.parametrize(
    ("columns", "part"),
    [
        ({"tissue": "organ"}, "cells.columns: 'tissue' is the name of another column"),
        ({"part": "organ"}, "cells.columns: 'part' is the name of another column"),
        ({"spatial_0": "x"}, "cells.columns: 'spatial_0' is the name of another column"),
        ({"truth": "cell_type"}, "cells.columns.truth: 'cell_type' holds the labels"),
        ({"Day": "day"}, "cells.columns: 'Day' does not match"),
        ({"day": None}, "cells.columns.day: expected string"),
    ],
)
def test_extra_columns_that_are_refused(tmp_path: Path, columns: dict, part: str) -> None:
    text = {"label": "d", "summary": "s", "citation": "c", "licence": "l", "source": {"kind": "local", "path": "x"}}
    folder = tmp_path / "config" / "datasets"
    folder.mkdir(parents=True)
    (folder / "d.yaml").write_text(yaml.safe_dump(text | {"cells": {"columns": columns}}))
    with pytest.raises(ConfigError, match=part):
        load_dataset("d", tmp_path, "study.yaml")


def test_no_label_at_all_can_be_mapped(prepare, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no label could be mapped.*add a table in config/labels"):
        prepare(source_h5ad(tmp_path / "a.h5ad"), labels=False)


def test_a_source_that_changed_after_it_was_fetched(prepare, tmp_path: Path, ontology: Ontology) -> None:
    file = source_h5ad(tmp_path / "a.h5ad")
    spec = DatasetSpec.of(load_dataset("pbmc68k", ROOT, ""))
    write_json(tmp_path / "r.json", {"sha256": "0" * 64})
    outputs = PreparedFiles.within(tmp_path / "out")
    with pytest.raises(DataError, match="changed since it was fetched"):
        prepare_dataset("d", spec, file, tmp_path / "r.json", outputs, ontology=ontology)


# genes


@pytest.mark.parametrize(
    ("given_id", "expected"),
    [
        ("ENSG00000141510", "ENSG00000141510"),
        ("ENSG00000141510.17", "ENSG00000141510"),
        ("ENSG00000182378.14_PAR_Y", "ENSG00000182378"),
        ("ENSMUSG00000059552", "ENSMUSG00000059552"),
        ("TP53", ""),
        ("ENST00000269305", ""),
        ("ENSG0000014151", ""),
    ],
)
def test_ensembl_ids_are_recognised_by_their_form(given_id: str, expected: str) -> None:
    assert strip_version(given_id) == expected


def genes(index: list[str] | None = None, **columns: list[str]) -> pd.DataFrame:
    return gene_table(pd.DataFrame(columns, index=index), GenesSpec("auto", "auto", ()), "f")


def test_the_id_column_is_decided_over_all_genes_not_by_the_first() -> None:
    found = genes(index=["A", "B", "C"], key=["A", "ENSG00000000001.2", "ENSG00000000002"])
    assert list(found["feature_id"]) == ["", "ENSG00000000001", "ENSG00000000002"]
    assert list(found["feature_name"]) == ["A", "B", "C"]


def test_a_gene_without_symbol_is_called_by_its_id_or_its_row() -> None:
    names = ["CD3E", "nan", "", "NA", None, "-"]
    ids = ["ENSG00000000001", "ENSG00000000002", "", "", "", "x"]
    var = pd.DataFrame({"feature_name": names, "e": ids}, index=["a", "b", "MS4A1", "NaN", "LYZ", "7"])
    spec = GenesSpec("auto", "auto", ())
    table = gene_table(var, spec, "f")
    assert table["feature_name"].tolist() == ["CD3E", "ENSG00000000002", "MS4A1", "", "LYZ", ""]
    found = chosen_genes(var, spec, lambda: np.ones(6), "f")
    assert found.positions.tolist() == [0, 1, 2, 4]
    assert (found.nameless, found.duplicates, found.not_required) == (2, 0, 0)
    with pytest.raises(DataError, match="f: no gene has a name or an id"):
        chosen_genes(pd.DataFrame(index=["", "nan"]), spec, lambda: np.ones(2), "f")


def test_ids_in_the_index_and_symbols_in_a_column() -> None:
    found = genes(index=["ENSG00000000001", "ENSG00000000002"], feature_name=["A", "B"])
    assert list(found["feature_id"]) == ["ENSG00000000001", "ENSG00000000002"]
    assert list(found["feature_name"]) == ["A", "B"]


def test_of_duplicated_genes_the_one_with_most_counts_stays() -> None:
    table = pd.DataFrame({"feature_id": ["E1", "E1", "", "", ""], "feature_name": ["a", "b", "c", "c", "d"]})
    keep, dropped = keep_one_each(table, np.array([1, 5, 2, 2, 0]))
    assert list(keep) == [1, 2, 4]  # on a tie the first
    assert dropped == 2


@given(
    st.lists(st.tuples(st.sampled_from(["", "E1", "E2", "E3"]), st.sampled_from("abc"), st.integers(0, 3)), min_size=1)
)
def test_after_deduplication_every_gene_stands_once_with_its_largest_total(rows: list) -> None:
    table = pd.DataFrame([row[:2] for row in rows], columns=["feature_id", "feature_name"])
    totals = np.array([row[2] for row in rows])
    keep, dropped = keep_one_each(table, totals)
    key = table["feature_id"].where(table["feature_id"] != "", table["feature_name"])
    assert sorted(key.iloc[keep]) == sorted(set(key))
    assert len(keep) + dropped == len(rows)
    for position in keep:
        assert totals[position] == totals[(key == key.iloc[position]).to_numpy()].max()


def test_shared_genes_by_id_else_by_unambiguous_symbol() -> None:
    first = pd.DataFrame({"feature_id": ["E1", "", "E3", "", "E5"], "feature_name": ["a", "b", "c", "d", "e"]})
    second = pd.DataFrame(
        {"feature_id": ["E9", "E2", "E1", "", "", "E7"], "feature_name": ["c", "b", "renamed", "d", "d", "e"]}
    )
    left, right = shared_genes([first, second])
    # a by id although renamed; b by symbol; c has other ids on both sides; d is ambiguous; e has other ids
    assert list(zip(left, right, strict=True)) == [(0, 2), (1, 1)]


# pairs


def test_a_pair_joins_on_shared_genes_and_records_the_overlap(prepare, tmp_path: Path, ontology: Ontology) -> None:
    dataset = validate(load_yaml(ROOT / "config/datasets/lung_cross_study.yaml"), "dataset", "p")
    parts = {}
    for name, symbols in (("lung_travaglini", ["A", "B", "C", "X"]), ("lung_tabula_sapiens", ["C", "B", "Y", "A"])):
        file = source_h5ad(tmp_path / f"{name}.h5ad")
        data = ad.read_h5ad(file)
        data.var_names = symbols
        if name == "lung_tabula_sapiens":
            data.obsm["spatial"] = np.arange(12.0).reshape(6, 2)
        data.write_h5ad(file)
        prepare(file)
        (tmp_path / "out").rename(tmp_path / name)
        parts[name] = PreparedFiles.within(tmp_path / name)
    outputs = PreparedFiles.within(tmp_path / "pair")
    with pytest.raises(DataError, match="only 3 genes are shared.*3 of 4 genes.*pair.min_genes is 5000"):
        prepare_pair("p", DatasetSpec.of(dataset), parts, outputs, ontology=ontology)
    dataset["pair"]["min_genes"] = 2
    prepare_pair("p", DatasetSpec.of(dataset), parts, outputs, ontology=ontology)
    cells = ad.read_h5ad(outputs.cells)
    assert list(cells.var["feature_name"]) == ["A", "B", "C"]
    reference = ad.read_h5ad(parts["lung_travaglini"].cells)
    assert (cells[:6].X.toarray() == reference[:, :3].X.toarray()).all()
    query = ad.read_h5ad(parts["lung_tabula_sapiens"].cells)
    assert (cells[6:].X.toarray() == query[:, [3, 1, 0]].X.toarray()).all()
    assert list(cells.obs["part"].astype(str)) == ["reference"] * 6 + ["query"] * 6
    assert cells.obs_names[0] == "lung_travaglini:c0"
    assert np.isnan(cells.obsm["spatial"][:6]).all()
    assert (cells.obsm["spatial"][6:] == np.arange(12.0).reshape(6, 2)).all()
    assert read_json(outputs.card)["overlap"]["lung_travaglini"] == {"genes": 4, "shared": 3, "share": 0.75}


def test_zero_shared_genes(prepare, tmp_path: Path, ontology: Ontology) -> None:
    dataset = validate(load_yaml(ROOT / "config/datasets/lung_cross_study.yaml"), "dataset", "p")
    parts = {}
    for name, prefix in (("lung_travaglini", "A"), ("lung_tabula_sapiens", "ENSG0000000000")):
        file = source_h5ad(tmp_path / f"{name}.h5ad")
        data = ad.read_h5ad(file)
        data.var_names = [f"{prefix}{i}" for i in range(4)]
        data.write_h5ad(file)
        prepare(file)
        (tmp_path / "out").rename(tmp_path / name)
        parts[name] = PreparedFiles.within(tmp_path / name)
    outputs = PreparedFiles.within(tmp_path / "pair")
    with pytest.raises(DataError, match="only 0 genes are shared.*Ensembl ids against symbols"):
        prepare_pair("p", DatasetSpec.of(dataset), parts, outputs, ontology=ontology)


# real data


def test_pbmc68k_has_the_counts_that_others_recovered(real_data: Path, tmp_path: Path, ontology: Ontology) -> None:
    from annobench.data.fetch import fetch_dataset

    dataset = load_dataset("pbmc68k", ROOT, "")
    lock = tmp_path / "lock.yaml"
    source, record = SourceSpec.from_params(dataset["source"]), tmp_path / "s.json"
    fetch_dataset("pbmc68k", source, tmp_path / "s", record, lock_file=lock)
    outputs = PreparedFiles.within(tmp_path)
    file, table = tmp_path / "s" / "10x_pbmc68k_reduced.h5ad", ROOT / "config/labels/pbmc68k.tsv"
    prepare_dataset("pbmc68k", DatasetSpec.of(dataset), file, record, outputs, ontology=ontology, label_table=table)
    ours = ad.read_h5ad(outputs.cells)
    theirs = ad.read_h5ad(real_data / "pbmc_multistudy" / "pbmc68k_reduced_700_counts.h5ad")[ours.obs_names]
    assert (csr_matrix(theirs.X) != ours.X).nnz == 0
    assert list(ours.obs["label_id"].astype(str)) == list(theirs.obs["cell_type_ontology_term_id"].astype(str))


def test_a_broken_cellxgene_file_keeps_its_unknown_labels(real_data: Path, prepare) -> None:
    file = real_data / "cellxgene_fixture" / "example_invalid_CL.h5ad"
    column = "cell_type_ontology_term_id"
    settings = {"cells": {"label": column, "label_id": column}, "matrix": {"slot": "raw"}}
    cells, card = prepare(file, labels=False, **settings)
    assert card["cells_with_unknown_label"] > 0
    assert card["cells"] == cells.n_obs == 320


@pytest.mark.parametrize(
    ("name", "shape", "labels", "unknown", "spatial"),
    [
        ("merfish_lung", (3177, 479), 7, 0, True),
        ("cosmx_lung", (2661, 50), 5, 630, True),
        ("blood_pbmc3k", (2638, 16579), 8, 0, False),
        ("blood_kang", (1556, 1267), 5, 0, False),
    ],
)
def test_local_datasets_prepare(
    real_data: Path,
    tmp_path: Path,
    ontology: Ontology,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    shape: tuple[int, int],
    labels: int,
    unknown: int,
    spatial: bool,
) -> None:
    from annobench.data.fetch import fetch_dataset

    monkeypatch.setenv("ANNOBENCH_DATA", str(real_data))
    dataset = load_dataset(name, ROOT, "")
    record = tmp_path / "s.json"
    source = SourceSpec.from_params(dataset["source"])
    fetch_dataset(name, source, tmp_path / "s", record, lock_file=tmp_path / "lock.yaml")
    outputs, table = PreparedFiles.within(tmp_path), dataset["cells"]["label_table"]
    file, label_table = tmp_path / "s" / read_json(record)["file"], ROOT / f"config/labels/{table}.tsv"
    tables = {"label_table": label_table if table else None}
    prepare_dataset(name, DatasetSpec.of(dataset), file, record, outputs, ontology=ontology, **tables)
    card, cells = read_json(outputs.card), ad.read_h5ad(outputs.cells)
    assert (card["matrix"], cells.shape) == ("counts", shape)
    assert len(set(card["labels"]) - {"unknown"}) == labels
    assert card["cells_with_unknown_label"] == unknown
    assert "unknown" not in card["donors"]
    assert ("spatial" in cells.obsm) == spatial
    assert dataset["resources"]["cells"] == cells.n_obs


def test_the_table_of_maynard_says_what_was_curated(real_data: Path, ontology: Ontology) -> None:
    from annobench.ontology.labels import read_table

    obs = ad.read_h5ad(real_data / "lung_multistudy" / "maynard2020_nsclc_3000.h5ad", backed="r").obs
    curated = obs.groupby("cell_type_original", observed=True)["cell_type_ontology_term_id"].unique()
    table = read_table(ROOT / "config/labels/lung_maynard.tsv", ontology)
    assert {str(key): [str(v) for v in value] for key, value in curated.items()} == {k: [v] for k, v in table.items()}


# without expression


def test_a_dataset_may_have_no_expression(prepare, tmp_path: Path) -> None:
    """Only obs is read: the file need not have a matrix at all."""
    file = source_h5ad(tmp_path / "a.h5ad", lab=["x", "x", "y", "y", "y", "y"])
    with h5py.File(file, "r+") as handle:
        del handle["X"]
    cells, card = prepare(file, matrix={"state": "none"}, cells={"study": "lab"})
    assert cells.shape == (6, 0)
    assert cells.uns["annobench"]["matrix"] == card["matrix"] == "none"
    assert card["studies"] == {"x": 2, "y": 4}
    assert list(read_columns(tmp_path / "out" / "obs.parquet")["label_id"]) == ["CL:0000236", "CL:0000084"] * 3
    file.write_bytes(b"no file of HDF5")
    with pytest.raises(DataError, match="not a readable h5ad file"):
        prepare(file, matrix={"state": "none"})
