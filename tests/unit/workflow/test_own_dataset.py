"""What is promised: a dataset file that is written from a file of cells loads and prepares at once, and says why."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from annobench.__main__ import main
from annobench.config.entities import load_dataset
from annobench.core.errors import ConfigError, DataError
from annobench.core.files import expanded, sha256_of, write_json
from annobench.core.paths import ROOT
from annobench.data.prepare.dataset import prepare_dataset
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.ontology import UNKNOWN, Ontology
from annobench.workflow.own.guess import Column, choose_by_name, squeezed
from annobench.workflow.scaffold import new_dataset_of_file

GENES = ["CD3E", "CD19", "NKG7", "LYZ", "MS4A1", "GNLY", "CD8A", "CD4", "FCGR3A", "PPBP", "IL7R", "CCR7"] * 3


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repo"
    for name in ("config/datasets", "config/labels"):
        (folder / name).mkdir(parents=True)
    common = "config/labels/common_names.tsv"
    (folder / common).write_text((ROOT / common).read_text())
    monkeypatch.chdir(folder)
    return folder


def write_cells(path: Path, *, values: Any = None, var: Any = None, n: int = 120, **obs: Any) -> Path:
    """A file with counts, labels of three types, two donors; `obs` adds or (None) removes columns."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.0, (n, len(GENES))).astype("float32") if values is None else values
    columns: dict[str, Any] = {
        "cell_type": np.resize(["NK cells", "B cells", "T cell", "mystery"], n),
        "donor_id": np.resize(["d1", "d2"], n),
    } | obs
    frame = pd.DataFrame({k: v for k, v in columns.items() if v is not None}, index=[f"c{i}" for i in range(n)])
    names = pd.DataFrame(index=[f"{gene}{i}" for i, gene in enumerate(GENES)]) if var is None else var
    ad.AnnData(csr_matrix(counts), obs=frame, var=names).write_h5ad(path)
    return path


def prepared(name: str, root: Path, ontology: Ontology) -> ad.AnnData:
    """What preparing makes of a dataset, as the workflow does it."""
    dataset = load_dataset(name, root, "test")
    file = expanded(dataset["source"]["path"])
    record, out = root / "record.json", root / "prepared" / name
    out.mkdir(parents=True)
    write_json(record, {"sha256": sha256_of(file), "file": file.name})
    table = dataset["cells"]["label_table"]
    prepare_dataset(
        name,
        DatasetSpec.of(dataset),
        file,
        record,
        PreparedFiles.within(out),
        ontology=ontology,
        label_table=root / "config" / "labels" / f"{table}.tsv" if table else None,
    )
    return ad.read_h5ad(out / "cells.h5ad")


def test_a_file_becomes_a_dataset_that_prepares(root: Path, ontology: Ontology) -> None:
    file = write_cells(root / "my.h5ad", dataset=np.resize(["Lab A (2020)", "lab-a 2020", "B"], 120))
    text, written = new_dataset_of_file("mine", str(file), root=root)
    assert written == ["config/datasets/mine.yaml", "config/labels/mine.tsv"]
    dataset = load_dataset("mine", root, "test")
    assert (dataset["source"]["kind"], dataset["source"]["path"]) == ("local", "my.h5ad")
    assert dataset["matrix"]["slot"] == "X"
    assert dataset["matrix"]["state"] == "counts"
    cells = dataset["cells"]
    assert (cells["label"], cells["label_table"], cells["donor"], cells["study"]) == (
        "cell_type",
        "mine",
        "donor_id",
        "dataset",
    )
    assert dataset["families"] == {
        "b": {"study": ["B"]},
        "lab_a_2020": {"study": ["Lab A (2020)"]},
        "lab_a_2020_3": {"study": ["lab-a 2020"]},
    }
    assert "1 label of 30 cells without a sure id (mystery)" in text
    found = prepared("mine", root, ontology)
    assert found.obs["label"].astype(str).value_counts().to_dict() == {
        "natural killer cell": 30,
        "B cell": 30,
        "T cell": 30,
        UNKNOWN: 30,
    }
    assert set(found.obs["donor"]) == {"d1", "d2"}


def test_the_path_is_that_from_the_repository(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "data").mkdir()
    write_cells(root / "data" / "my.h5ad")
    other = write_cells(tmp_path / "other.h5ad")
    monkeypatch.chdir(root / "data")
    new_dataset_of_file("mine", "my.h5ad", root=root)
    assert load_dataset("mine", root, "test")["source"]["path"] == "data/my.h5ad"
    monkeypatch.setenv("ANNOBENCH_DATA", str(tmp_path))
    new_dataset_of_file("other", str(other), root=root)
    assert load_dataset("other", root, "test")["source"]["path"] == "$ANNOBENCH_DATA/other.h5ad"


def test_ids_of_the_source_go_before_a_table(root: Path, ontology: Ontology) -> None:
    ids = np.resize(["CL:0000623", "CL_0000236", "CL:0000084", "unknown"], 120)
    file = write_cells(root / "my.h5ad", cell_type_ontology_term_id=ids, tissue="blood", organism="Homo sapiens")
    text, written = new_dataset_of_file("mine", str(file), root=root)
    assert written == ["config/datasets/mine.yaml"]
    assert "3 Cell Ontology ids; 30 cells without a live one" in text
    cells = load_dataset("mine", root, "test")["cells"]
    assert cells["label_id"] == "cell_type_ontology_term_id"
    assert cells["columns"] == {"organism": "organism"}
    assert (prepared("mine", root, ontology).obs["label_id"] == UNKNOWN).sum() == 30


COUNTS = np.random.default_rng(1).poisson(2.0, (120, 36)).astype("float32") + 1
SCALED = COUNTS / COUNTS.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("values", "state", "prepares"),
    [
        (COUNTS, "counts", "counts"),
        (np.log1p(SCALED * 1e4), "log1p_cp10k", "log1p_cp10k"),
        (np.log1p(SCALED * 1e6), "log1p_cpm", "log1p_cpm"),
        (np.log1p(SCALED * 650), "log1p", "log1p_cp10k"),
        (np.log2(SCALED * 1e4 + 1), "log2", "log1p_cp10k"),
        (SCALED * 1e6, "normalised", "log1p_cp10k"),
        (COUNTS - 3, "none", "none"),
        (np.log1p(np.log1p(SCALED * 1e4)), "none", "none"),
    ],
)
def test_the_state_of_the_matrix_is_told(
    values: np.ndarray, state: str, prepares: str, root: Path, ontology: Ontology
) -> None:
    file = write_cells(root / "my.h5ad", values=values.astype("float32"))
    text, _ = new_dataset_of_file("mine", str(file), root=root)
    assert load_dataset("mine", root, "test")["matrix"]["state"] == state, text
    assert prepared("mine", root, ontology).uns["annobench"]["matrix"] == prepares


def test_counts_are_taken_wherever_they_are(root: Path) -> None:
    file = write_cells(root / "my.h5ad", values=np.log1p(SCALED * 1e4).astype("float32"))
    cells = ad.read_h5ad(file)
    cells.layers["spliced"] = csr_matrix(COUNTS)
    cells.layers["raw_counts"] = csr_matrix(COUNTS)
    cells.write_h5ad(file)
    text, _ = new_dataset_of_file("mine", str(file), root=root)
    assert load_dataset("mine", root, "test")["matrix"]["slot"] == "layers/raw_counts"
    assert "X: log1p_cp10k" in text


def test_symbols_are_found_in_columns_of_any_name(root: Path, ontology: Ontology) -> None:
    names = [f"{gene}{i}" for i, gene in enumerate(GENES)]
    var = pd.DataFrame({"HGNC": names}, index=[f"ENSG{i:011d}.2" for i in range(len(names))])
    text, _ = new_dataset_of_file("mine", str(write_cells(root / "my.h5ad", var=var)), root=root)
    assert load_dataset("mine", root, "test")["genes"]["name"] == "HGNC"
    assert "Ensembl ids: 36 in the row names of var; symbols: var['HGNC']" in text
    assert list(prepared("mine", root, ontology).var["feature_name"]) == names


def test_an_organism_that_the_genes_contradict_is_said(root: Path) -> None:
    var = pd.DataFrame(index=[f"ENSMUSG{i:011d}" for i in range(len(GENES))])
    text, _ = new_dataset_of_file("mine", str(write_cells(root / "my.h5ad", var=var, species="human")), root=root)
    assert "obs says that the organism is human, but the genes tell Mus musculus (Ensembl ids)" in text


@pytest.mark.parametrize("name", ["cell type", "#cell_type", "null", "cell-type: fine", "'cell' \"type\"", "Zelltyp ä"])
def test_names_of_columns_come_back_from_yaml(name: str, root: Path, ontology: Ontology) -> None:
    labels = {"cell_type": None, name: np.resize(["NK cells", "B cells", "T cell", "mystery"], 120)}
    new_dataset_of_file("mine", str(write_cells(root / "my file.h5ad", **labels)), name, root=root)
    assert load_dataset("mine", root, "test")["cells"]["label"] == name
    assert prepared("mine", root, ontology).obs["label_original"].nunique() == 4


def test_what_lacks_is_said_and_the_rest_still_prepares(root: Path, ontology: Ontology) -> None:
    file = write_cells(root / "my.h5ad", cell_type=None, donor_id=None, my_sample=np.resize(["s1", "s2"], 120))
    text, written = new_dataset_of_file("mine", str(file), root=root)
    assert "no labels: such a dataset can be the query of a pair, and nothing else" in text
    assert "no column of donors (is it my_sample?): intervals resample cells" in text
    assert written == ["config/datasets/mine.yaml"]
    assert load_dataset("mine", root, "test")["cells"]["label"] is None
    assert prepared("mine", root, ontology).n_obs == 120


def test_values_that_are_missing_or_listed_twice_are_said(root: Path, ontology: Ontology) -> None:
    names = ["CD4", "CD4", *(f"{gene}{i}" for i, gene in enumerate(GENES[2:]))]
    var = pd.DataFrame({"feature_name": names}, index=[f"row{i}" for i in range(len(names))])
    labels = pd.Categorical(np.resize(np.array(["NK", None, "B"], dtype=object), 120))
    text, _ = new_dataset_of_file("mine", str(write_cells(root / "my.h5ad", cell_type=labels, var=var)), root=root)
    assert "40 cells without a label: they train nothing, and are counted" in text
    assert "1 gene listed again: of each gene the column with most counts is kept" in text
    found = prepared("mine", root, ontology)
    assert found.n_vars == 35
    assert (found.obs["label_id"] == UNKNOWN).sum() == 40


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([f"type {i}" for i in range(120)], "120 values (type 0, type 1, type 2, ...)"),
        ([None] * 120, "no cell has a value"),
        ([True, False] * 60, "2 values (True, False)"),
    ],
)
def test_a_column_that_is_called_labels_and_holds_none_is_said(values: list[object], said: str, root: Path) -> None:
    labels = pd.Series(values, index=[f"c{i}" for i in range(120)], dtype=None if values[0] is not None else "float64")
    file = write_cells(root / "my.h5ad", cell_type=labels)
    text, _ = new_dataset_of_file("mine", str(file), root=root)
    assert f"obs['cell_type'] is not taken for the labels: {said}" in text


def test_clusters_are_labels_only_where_they_are_named(root: Path) -> None:
    file = write_cells(root / "my.h5ad", cell_type=None, leiden=np.resize(["0", "1", "2"], 120))
    new_dataset_of_file("mine", str(file), root=root)
    assert load_dataset("mine", root, "test")["cells"]["label"] is None
    text, written = new_dataset_of_file("other", str(file), "leiden", root=root)
    assert "no label has an id yet, so the dataset cannot be prepared" in text
    assert written[1] == "config/labels/other.tsv"


def test_labels_that_are_numbers_are_those_that_are_read(root: Path, ontology: Ontology) -> None:
    """Whole numbers beside missing values are decimal numbers in the file."""
    clusters = np.resize([0.0, 1.0, np.nan], 120)
    new_dataset_of_file("mine", str(write_cells(root / "my.h5ad", cell_type=clusters)), "cell_type", root=root)
    table = root / "config" / "labels" / "mine.tsv"
    table.write_text(table.read_text().replace("\t\tto decide", "\tCL:0000084\tT cell"))
    assert (prepared("mine", root, ontology).obs["label"] == "T cell").sum() == 80


def test_the_column_of_ids_can_be_that_of_the_labels(root: Path, ontology: Ontology) -> None:
    ids = np.resize(["CL:0000623", "CL:0000236"], 120)
    new_dataset_of_file("mine", str(write_cells(root / "my.h5ad", my_ontology=ids)), "my_ontology", root=root)
    cells = load_dataset("mine", root, "test")["cells"]
    assert (cells["label"], cells["label_id"]) == ("my_ontology", "my_ontology")
    assert prepared("mine", root, ontology).obs["label_id"].nunique() == 2


def test_a_column_that_holds_no_labels_cannot_be_named(root: Path) -> None:
    file = write_cells(root / "my.h5ad", barcode=[f"b{i}" for i in range(120)])
    with pytest.raises(DataError, match=r"obs\['barcode'\]: holds 120 different values in 120 cells, expected labels"):
        new_dataset_of_file("mine", str(file), "barcode", root=root)


def test_ids_that_are_listed_twice_get_a_number(root: Path, ontology: Ontology) -> None:
    file = write_cells(root / "my.h5ad")
    cells = ad.read_h5ad(file)
    cells.obs_names = ["same", "same", *cells.obs_names[2:]]
    cells.write_h5ad(file)
    text, _ = new_dataset_of_file("mine", str(file), root=root)
    assert "1 cell id is listed twice" in text
    assert prepared("mine", root, ontology).obs_names.is_unique


def test_nothing_is_overwritten_and_nothing_is_left_behind(root: Path) -> None:
    file = write_cells(root / "my.h5ad")
    (root / "config" / "labels" / "mine.tsv").write_text("mine\n")
    with pytest.raises(ConfigError, match=r"config/labels/mine.tsv: exists already; choose another name"):
        new_dataset_of_file("mine", str(file), root=root)
    with pytest.raises(ConfigError, match="'Mine' does not match"):
        new_dataset_of_file("Mine", str(file), root=root)
    with pytest.raises(ConfigError, match=r"obs has no column 'celltype'; did you mean 'cell_type'\?"):
        new_dataset_of_file("other", str(file), "celltype", root=root)
    with pytest.raises(DataError, match="there is no such file"):
        new_dataset_of_file("other", str(root / "no.h5ad"), root=root)
    assert list((root / "config" / "datasets").iterdir()) == []


def test_wrong_use_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-dataset", "mine", "--label", "x"]) == 2
    assert capsys.readouterr().err == "annobench: --label goes with --file: it names a column of that file\n"
    assert main(["new-dataset", "mine", "--base", "pancreas", "--file", "x.h5ad"]) == 2
    assert "--base and --file cannot be given together" in capsys.readouterr().err


def test_columns_are_chosen_by_names_and_values() -> None:
    def column(name: str, values: int, kind: str = "O", cells: int = 1000) -> Column:
        return Column(name, {f"v{i}": cells // values for i in range(values)}, cells, kind)

    columns = [column("Patient.ID", 900), column("donor", 10), column("sample", 1), column("Library", 8)]
    donor = choose_by_name(columns, "donor")
    batch = choose_by_name(columns, "batch")
    assert donor is not None
    assert donor.column.name == "donor"  # the other has a value of its own for nearly every cell
    assert batch is not None
    assert batch.column.name == "Library"  # one sample tells nothing apart
    assert choose_by_name(columns, "donor", ["donor"]) is None
    assert choose_by_name([column("age", 30, "f"), column("donor", 9, "f")], "donor") is None
    assert squeezed("Cell-Type_1") == "celltype1"


REAL = [
    ("lung_multistudy/tabula_sapiens_lung_1000.h5ad", "counts", "cell_type", "donor_id", 31),
    ("lung_multistudy/maynard2020_nsclc_3000.h5ad", "log1p_cpm", "cell_type", "donor_id", 20),
    ("pancreas/human_pancreas_4studies_counts.h5ad", "counts", "cell_type", "donor_id", 9),
    ("pbmc_multistudy/pbmc68k_reduced_700_counts.h5ad", "counts", "cell_type", "donor_id", 10),
    ("spatial/merfish_human_lung_cancer_3177.h5ad", "counts", "cell_type", "donor_id", 6),
    ("fm_embeddings/transcriptformer_heart/heart_1000_counts_tfsapiens.h5ad", "counts", "cell_type", "donor_id", 9),
    ("bug_cases/01_nullable_names/c01.h5ad", "counts", "cell_type", "donor_id", 4),
    ("bug_cases/06_other_log_values/c06a.h5ad", "log1p", "cell_type", "donor_id", 4),
    ("bug_cases/14_label_tables_of_excel/c14g.h5ad", "counts", "cell_type", "donor_id", 4),
    ("bug_cases/19_no_x/c19a.h5ad", "counts", "cell_type", "donor_id", 4),
    ("bug_cases/23_fractional_counts/c23.h5ad", "fractional_counts", "cell_type", "donor_id", 4),
]


@pytest.mark.parametrize(
    ("file", "state", "label", "donor", "types"), REAL, ids=[one[0].rsplit("/")[-1] for one in REAL]
)
def test_real_files_prepare_at_once(
    real_data: Path, root: Path, ontology: Ontology, file: str, state: str, label: str, donor: str, types: int
) -> None:
    new_dataset_of_file("mine", str(real_data / file), root=root)
    dataset = load_dataset("mine", root, "test")
    assert dataset["matrix"]["state"] == state
    assert (dataset["cells"]["label"], dataset["cells"]["donor"]) == (label, donor)
    labels = set(prepared("mine", root, ontology).obs["label_id"]) - {UNKNOWN}
    assert len(labels) == types
