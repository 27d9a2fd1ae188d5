"""What is promised: a panel cuts the same genes whoever asks, or says why it cannot; values keep their scale."""

import gzip
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from annobench.cells.expression import to_cp10k
from annobench.cells.panel import MEASURED, hidden, measured, only_measured, restricted
from annobench.config.schema import load_yaml, validate
from annobench.core.errors import DataError, MethodSkipped
from annobench.core.files import read_json, write_json
from annobench.core.paths import ROOT
from annobench.data.panel import fetch_panel, read_panel
from annobench.data.prepare.pair import prepare_pair
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.data.spec import PanelColumns, PanelSpec
from annobench.ontology import Ontology

COUNTS = np.array([[1.0, 0, 3, 4, 2], [0, 5, 5, 0, 10], [2, 2, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 7, 0, 0]])
IDS = [f"ENSG0000000000{i}" for i in range(5)]
SCALES = {"log1p_cp10k": 1e4, "log1p_cpm": 1e6}


def logged(counts: np.ndarray, scale: float) -> np.ndarray:
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return np.log1p(counts / totals * scale)


def cells(state: str = "counts", ids: bool = True, names: str = "ABCDE") -> ad.AnnData:
    values = COUNTS if state == "counts" else logged(COUNTS, SCALES[state])
    var = pd.DataFrame({"feature_id": IDS if ids else [""] * 5, "feature_name": list(names)}, index=list("vwxyz"))
    obs = pd.DataFrame(index=[f"c{i}" for i in range(5)])
    return ad.AnnData(csr_matrix(values.astype(np.float32)), obs=obs, var=var, uns={"annobench": {"matrix": state}})


def panel(folder: Path, ids: list[str], names: list[str]) -> Path:
    path = folder / "some_panel.csv"
    pd.DataFrame({"feature_id": ids, "feature_name": names}).to_csv(path, index=False)
    return path


# which genes


def test_a_panel_is_matched_by_id_whatever_the_names(tmp_path: Path) -> None:
    file = panel(tmp_path, [IDS[3], IDS[0], "ENSG00000000099"], ["renamed", "also", "E"])
    assert measured(cells().var, file).tolist() == [True, False, False, True, False]


def test_a_panel_is_matched_by_symbol_where_a_side_has_no_id(tmp_path: Path) -> None:
    by_panel = panel(tmp_path, ["", "", ""], ["E", "B", "Z"])
    assert measured(cells().var, by_panel).tolist() == [False, True, False, False, True]
    of_dataset = panel(tmp_path, [IDS[0], IDS[1]], ["E", "B"])
    assert measured(cells(ids=False).var, of_dataset).tolist() == [False, True, False, False, True]


def test_without_a_panel_it_is_what_the_query_measures(tmp_path: Path) -> None:
    data = cells()
    assert measured(data.var, None).all()
    data.var[MEASURED] = [True, True, False, False, True]
    assert measured(data.var, None).tolist() == [True, True, False, False, True]
    both = panel(tmp_path, ["", ""], ["B", "C"])
    assert measured(data.var, both).tolist() == [False, True, False, False, False]


def test_no_overlap_is_a_skip_that_gives_both_sides(tmp_path: Path) -> None:
    file = panel(tmp_path, ["", "", ""], ["X", "Y", "Z"])
    with pytest.raises(
        MethodSkipped, match="some_panel measures none.*0 of its 3 genes are among the 5 of the dataset"
    ):
        measured(cells().var, file)
    data = cells()
    data.var[MEASURED] = [True, True, False, False, True]
    file = panel(tmp_path, ["", ""], ["C", "D"])
    with pytest.raises(MethodSkipped, match="2 of its 2 genes .* 0 of which the query measures"):
        measured(data.var, file)


def test_ensembl_ids_against_symbols_are_named_as_the_likely_reason(tmp_path: Path) -> None:
    file = panel(tmp_path, ["", ""], IDS[:2])  # somebody gave the column of ids as names
    message = "Ensembl ids against symbols\\? See genes.id and genes.name of the dataset and `columns` of the panel"
    with pytest.raises(MethodSkipped, match=message):
        measured(cells().var, file)


# cells cut down

MASK = np.array([True, False, True, True, False])


def linear(matrix: Any) -> np.ndarray:
    return np.expm1(matrix.toarray().astype(float))


def test_counts_stay_as_they_are() -> None:
    data = cells()
    cut, seen = restricted(data, MASK), hidden(data, MASK)
    assert cut.X.toarray().tolist() == COUNTS[:, MASK].tolist()
    assert list(cut.var_names) == ["v", "x", "y"]
    assert seen.X.toarray().tolist() == (COUNTS * MASK).tolist()
    assert seen.var[MEASURED].tolist() == MASK.tolist()
    assert seen.X.nnz == (COUNTS * MASK > 0).sum()
    assert data.X.toarray().tolist() == COUNTS.tolist()
    assert MEASURED not in data.var


@pytest.mark.parametrize("state", SCALES)
def test_logarithmic_values_fill_their_scale_again(state: str) -> None:
    data = cells(state)
    expected = logged(COUNTS[:, MASK], SCALES[state])
    cut, seen = restricted(data, MASK), hidden(data, MASK)
    assert cut.X.toarray() == pytest.approx(expected, rel=1e-5)
    assert seen.X.toarray()[:, MASK] == pytest.approx(expected, rel=1e-5)
    assert not seen.X.toarray()[:, ~MASK].any()
    full = np.array([1, 1, 1, 0, 1]) * SCALES[state]  # the fourth cell has no counts at all
    assert linear(cut.X).sum(axis=1) == pytest.approx(full, rel=1e-5)
    assert linear(seen.X).sum(axis=1) == pytest.approx(full, rel=1e-5)
    assert cut.X.dtype == seen.X.dtype == np.float32
    assert data.X.toarray() == pytest.approx(logged(COUNTS, SCALES[state]), rel=1e-5)


@pytest.mark.parametrize("state", ["counts", *SCALES])
def test_a_mask_of_everything_changes_nothing(state: str) -> None:
    data = cells(state)
    for found in (restricted(data, np.ones(5, dtype=bool)), hidden(data, np.ones(5, dtype=bool))):
        assert (found.X != data.X).nnz == 0


def test_what_was_written_down_of_the_depth_follows(tmp_path: Path) -> None:
    for state in ("counts", *SCALES):
        data = cells(state)
        data.obs["total_counts"] = COUNTS.sum(axis=1)
        for found in (restricted(data, MASK), hidden(data, MASK)):
            assert found.obs["total_counts"].to_numpy() == pytest.approx(COUNTS[:, MASK].sum(axis=1), rel=1e-4)
        assert data.obs["total_counts"].tolist() == COUNTS.sum(axis=1).tolist()


def test_only_measured_drops_what_is_hidden() -> None:
    data = cells()
    assert only_measured(data) is data
    seen = hidden(data, MASK)
    assert only_measured(seen).X.toarray().tolist() == restricted(data, MASK).X.toarray().tolist()
    assert list(only_measured(seen).var_names) == ["v", "x", "y"]


@pytest.mark.parametrize("state", ["counts", *SCALES])
def test_cp10k_by_hand_whatever_the_matrix_holds(state: str) -> None:
    matrix = cells(state).X
    found = to_cp10k(matrix, state)
    assert found.toarray() == pytest.approx(logged(COUNTS, 1e4), rel=1e-5)
    assert found.dtype == np.float32
    assert (matrix != cells(state).X).nnz == 0  # the given one is left alone


# panels as they are published

COLUMNS = PanelColumns("gene", "ensembl")
TABLE = "gene,ensembl,note\nA,ENSG00000000001.3,x\n B ,,\nC,ENSG00000000003,\nC2,ENSG00000000003,again\nB,,\n"


@pytest.mark.parametrize("form", ["csv", "tsv", "txt", "csv.gz", "tsv.gz"])
def test_panels_in_every_form(tmp_path: Path, form: str) -> None:
    file = tmp_path / f"p.{form}"
    text = TABLE.replace(",", "\t") if "tsv" in form else TABLE
    file.write_bytes(gzip.compress(text.encode()) if form.endswith("gz") else text.encode())
    found = read_panel(file, COLUMNS)
    # versions are cut, spaces too; the second row of one gene is left out, whether by id or by symbol
    assert found["feature_id"].tolist() == ["ENSG00000000001", "", "ENSG00000000003"]
    assert found["feature_name"].tolist() == ["A", "B", "C"]


def test_a_file_as_spreadsheets_write_it(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_bytes(b"\xef\xbb\xbf" + b'"gene","ensembl"\r\n"A","ENSG00000000001"\r\n"NA",""\r\n"NA","ENSG2"\r\n')
    assert read_panel(file, COLUMNS)["feature_name"].tolist() == ["A"]  # NA is no gene
    file.write_bytes("gene;ensembl\r\nA;ENSG00000000001.2\r\n\u00a0B \r\n;\r\n".encode("utf-16"))
    assert read_panel(file, COLUMNS)["feature_name"].tolist() == ["A", "B"]


def test_a_file_of_one_column(tmp_path: Path) -> None:
    file = tmp_path / "p.txt"
    file.write_text("gene\nAATK\nABL1\nABL2\n")
    found = read_panel(file, PanelColumns("gene"))
    assert found["feature_name"].tolist() == ["AATK", "ABL1", "ABL2"]
    assert found["feature_id"].tolist() == ["", "", ""]


def test_rows_that_are_too_short_lack_their_last_values(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("gene,ensembl\nA\nB,ENSG00000000002\n")
    assert read_panel(file, COLUMNS)["feature_id"].tolist() == ["", "ENSG00000000002"]


@pytest.mark.parametrize(
    ("content", "columns", "part"),
    [
        (
            TABLE.encode(),
            PanelColumns("genes"),
            "p.csv: columns.name: there is no column 'genes'; did you mean",
        ),
        (TABLE.encode(), PanelColumns("gene", "ensemble"), "columns.id: there is no column 'ensemble'; did you mean"),
        (TABLE.encode(), PanelColumns("gene", "note"), "nothing in 'note' is an Ensembl id \\(first value: 'x'\\)"),
        (b"gene,ensembl\n", PanelColumns("gene"), "p.csv: lists no gene"),
        (b"gene,ensembl\n,\n", PanelColumns("gene"), "p.csv: lists no gene"),
        (b"gene,ensembl\n", COLUMNS, "nothing in 'ensembl' is an Ensembl id"),
        (b"", COLUMNS, "not a readable table of genes"),
        (b"gene,ensembl\nA,ENSG00000000001,1,2,3\n", COLUMNS, "not a readable table of genes"),
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", COLUMNS, "p.csv: "),
    ],
)
def test_malformed_panels(tmp_path: Path, content: bytes, columns: PanelColumns, part: str) -> None:
    file = tmp_path / "p.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=part):
        read_panel(file, columns)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(TABLE.encode() * 50)[:60], b"\x1f\x8b\x08\x00" + bytes(20) + b"\xff" * 40],
    ids=["plain text", "cut off", "damaged"],
)
def test_damaged_gzip(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "p.csv.gz"
    file.write_bytes(content)
    with pytest.raises(DataError, match="p.csv.gz: not a readable table of genes"):
        read_panel(file, COLUMNS)


def test_a_panel_is_fetched_and_written_as_methods_read_it(tmp_path: Path) -> None:
    source = tmp_path / "theirs.csv"
    source.write_text(TABLE)
    settings = {"source": {"kind": "local", "path": str(source)}, "columns": COLUMNS.to_params()}
    genes = tmp_path / "out" / "p.csv"
    genes.parent.mkdir()
    fetch_panel(
        "p", PanelSpec.from_params(settings), genes, tmp_path / "out" / "p.json", lock_file=tmp_path / "lock.yaml"
    )
    assert genes.read_text() == "feature_id,feature_name\nENSG00000000001,A\n,B\nENSG00000000003,C\n"
    assert read_json(tmp_path / "out" / "p.json")["sha256"]
    data = cells(ids=False)
    assert measured(data.var, genes).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "config" / "panels").glob("*.yaml"))])
def test_the_panels_of_the_repository_can_be_read(real_data: Path, name: str) -> None:
    settings = validate(load_yaml(ROOT / "config" / "panels" / f"{name}.yaml"), "panel", name)
    file = real_data / "xenium_panels" / settings["source"]["file"]
    if not file.is_file():
        pytest.skip(f"{file.name} is not among the real data for development")
    found = read_panel(file, PanelColumns(**settings["columns"]))
    assert len(found) > 200
    assert (found["feature_id"] != "").mean() > 0.9
    assert (found["feature_name"] != "").all()


# pairs


@pytest.fixture
def pair(tmp_path: Path, ontology: Ontology) -> Any:
    """Prepare a pair of two references (counts; log1p CPM) and a query that lacks a gene and has coordinates."""

    def prepared(genes: str, values: str, states: tuple[str, ...] = ("counts", "log1p_cpm", "counts")) -> ad.AnnData:
        parts = {}
        columns = (list("ABCDE"), list("EDCBA"), list("CAZDQ"))
        for name, state, names in zip(("one", "two", "query"), states, columns, strict=True):
            data = cells(state, ids=False)
            data.var_names = names
            data.var["feature_name"] = names
            for column in ("label", "study", "donor"):
                data.obs[column] = name
            data.obs["label_id"] = "CL:0000084"
            if name == "query":
                data.obsm["spatial"] = np.arange(10.0).reshape(5, 2)
            parts[name] = PreparedFiles.within(tmp_path / name)
            write_json(parts[name].card, {"sha256": name})
            data.write_h5ad(parts[name].cells)
        pair = {"references": ["one", "two"], "query": "query", "genes": genes, "values": values, "min_genes": 3}
        text = {"label": "p", "summary": "s", "citation": "c", "licence": "l", "pair": pair}
        outputs, spec = PreparedFiles.within(tmp_path / "out"), DatasetSpec.of(validate(text, "dataset", "p.yaml"))
        prepare_pair("p", spec, parts, outputs, ontology=ontology)
        return ad.read_h5ad(outputs.cells)

    return prepared


def test_all_genes_of_the_references_are_kept_and_the_query_has_zeros_in_those_that_it_lacks(pair: Any) -> None:
    found = pair("reference", "log1p_cp10k")
    assert list(found.var["feature_name"]) == list("ABCDE")
    assert found.var[MEASURED].tolist() == [True, False, True, True, False]
    assert found.uns["annobench"]["matrix"] == "log1p_cp10k"
    values = found.X.toarray()
    assert values[:5] == pytest.approx(logged(COUNTS, 1e4), rel=1e-5)
    assert values[5:10] == pytest.approx(logged(COUNTS[:, ::-1], 1e4), rel=1e-5)  # its genes stand the other way round
    query = np.zeros((5, 5))
    query[:, [2, 0, 3]] = COUNTS[:, [0, 1, 3]]
    assert values[10:] == pytest.approx(logged(query, 1e4), rel=1e-5)
    # depth over the genes that are kept; unknown where the source gives logarithms
    assert found.obs["total_counts"].to_numpy()[:5].tolist() == COUNTS.sum(axis=1).tolist()
    assert np.isnan(found.obs["total_counts"].to_numpy()[5:10]).all()
    assert found.obs["total_counts"].to_numpy()[10:].tolist() == query.sum(axis=1).tolist()
    assert np.isnan(found.obsm["spatial"][:10]).all()
    assert found.obsm["spatial"][10:].tolist() == np.arange(10.0).reshape(5, 2).tolist()
    assert list(found.obs["part"].astype(str)) == ["reference"] * 10 + ["query"] * 5


def test_shared_genes_are_those_of_all_parts(pair: Any, tmp_path: Path) -> None:
    found = pair("shared", "log1p_cp10k")
    assert sorted(found.var["feature_name"]) == list("ACD")
    assert MEASURED not in found.var
    order = ["ABCDE".index(gene) for gene in found.var["feature_name"]]
    assert found.X.toarray()[:5] == pytest.approx(logged(COUNTS[:, order], 1e4), rel=1e-5)
    card = read_json(tmp_path / "out" / "card.json")
    assert card["overlap"]["query"] == {"genes": 5, "shared": 3, "share": 0.6}
    assert card["parts"] == {"one": "one", "two": "two", "query": "query"}


def test_unlike_states_are_refused_where_values_are_to_stay_the_same(pair: Any) -> None:
    with pytest.raises(DataError, match="p: pair: the parts hold different values.*'two': 'log1p_cpm'.*log1p_cp10k"):
        pair("shared", "same")


@pytest.mark.parametrize("genes", ["shared", "reference"])
def test_counts_stay_counts(pair: Any, genes: str) -> None:
    found = pair(genes, "same", ("counts",) * 3)
    assert found.uns["annobench"]["matrix"] == "counts"
    assert found[:5].X.sum() == COUNTS.sum() if genes == "reference" else True
    gene = list(found.var["feature_name"]).index("A")
    assert found.X.toarray()[10:, gene].tolist() == COUNTS[:, 1].tolist()
