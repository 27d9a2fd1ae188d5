"""What is promised: prepared datasets become a release that the Census's own client opens, with nothing lost unseen."""

import re
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from annobench.__main__ import main
from annobench.cells.store.store import Store
from annobench.config.census import check_census, chunk_names
from annobench.config.entities import available, load_dataset, load_named
from annobench.config.results import Results
from annobench.config.schema import load_yaml
from annobench.config.study import load_study
from annobench.core.errors import ConfigError, DataError
from annobench.core.files import read_json
from annobench.core.paths import ROOT
from annobench.data.census.build import Part, _dataset_ids, build_release
from annobench.data.census.chunks import fetch_chunk
from annobench.data.census.release import client_context, opened_release
from annobench.data.census.select import select_cells
from annobench.data.census.spec import GeneTable, PartSpec
from annobench.data.census.symbols import gene_map
from annobench.workflow.census import CensusRules
from annobench.workflow.data import DataRules
from annobench.workflow.plan import Plan
from census_release import DECEMBER, GENES, MAY, entry, outputs, prepared, source


def client(folder: Path, **how: object) -> tuple[ad.AnnData, np.ndarray]:
    """Cells and presence matrix, as the client gives them."""
    import cellxgene_census

    with cellxgene_census.open_soma(uri=str(folder), context=client_context(())) as census, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client's own about its index
        found = cellxgene_census.get_anndata(census, "Homo sapiens", **how)
        return found, cellxgene_census.get_presence_matrix(census, "Homo sapiens").toarray()


def test_the_client_finds_what_was_prepared(tmp_path: Path) -> None:
    first = prepared(tmp_path, "first", 30, genes=slice(0, 50))
    second = prepared(tmp_path, "second", 20, genes=slice(30, 100), seed=1)
    parts = [Part("first", first, PartSpec("One")), Part("second", second, PartSpec(collection="C", primary=False))]
    build_release(MAY, parts, tmp_path / "r", tmp_path / "r.json")
    found, presence = client(tmp_path / "r")
    one, two = ad.read_h5ad(first), ad.read_h5ad(second)
    assert list(found.var["feature_id"]) == [gene for gene, _ in GENES]
    np.testing.assert_array_equal(found.X[:30, :50].toarray(), one.X.toarray())
    np.testing.assert_array_equal(found.X[30:, 30:].toarray(), two.X.toarray())
    assert found.X.sum() == one.X.sum() + two.X.sum()
    np.testing.assert_array_equal(presence.sum(axis=1), [50, 70])
    assert list(found.obs["cell_type_ontology_term_id"][:30]) == list(one.obs["label_id"])
    assert found.obs["is_primary_data"].tolist() == [True] * 30 + [False] * 20
    assert found.obs["observation_joinid"].is_unique
    with opened_release(MAY, str(tmp_path / "r")) as release:
        rows = release.datasets()
    assert [(row["dataset_id"], row["dataset_title"]) for row in rows] == [("first", "One"), ("second", "second")]
    assert [row["collection_name"] for row in rows] == ["One", "C"]
    some, _ = client(tmp_path / "r", obs_value_filter="dataset_id == 'second' and disease == \"Crohn's disease\"")
    assert some.n_obs == 10


def test_logarithms_are_turned_back_and_the_record_says_so(tmp_path: Path) -> None:
    logs = prepared(tmp_path, "logs", 10, state="log1p_cpm")
    build_release(MAY, [Part("logs", logs)], tmp_path / "r", tmp_path / "r.json")
    found, _ = client(tmp_path / "r")
    np.testing.assert_array_equal(found.X.toarray(), np.rint(np.expm1(ad.read_h5ad(logs).X.toarray())))
    assert read_json(tmp_path / "r.json")["parts"]["logs"]["values"].startswith("round(expm1(x)) of log1p_cpm")


def test_several_studies_of_one_dataset_are_several_datasets(tmp_path: Path) -> None:
    cells = prepared(tmp_path, "both", 10)
    adata = ad.read_h5ad(cells)
    adata.obs["study"] = ["Smith 2020"] * 4 + ["Jones, B."] * 6
    adata.write_h5ad(cells)
    build_release(MAY, [Part("both", cells)], tmp_path / "r", tmp_path / "r.json")
    found, presence = client(tmp_path / "r")
    assert found.obs["dataset_id"].value_counts().to_dict() == {"both_jones_b": 6, "both_smith_2020": 4}
    assert presence.shape == (2, 80)


def test_studies_and_datasets_are_told_apart(tmp_path: Path) -> None:
    assert _dataset_ids("x", ["A b", "a-b", "c", "甲"]) == {
        "A b": "x_a_b__1",
        "a-b": "x_a_b__2",
        "c": "x_c",
        "甲": "x_study__4",
    }
    parts = [Part(name, prepared(tmp_path, name, 10), PartSpec(dataset_id="same")) for name in ("one", "two")]
    with pytest.raises(DataError, match="'same' of two is that of another dataset too"):
        build_release(MAY, parts, tmp_path / "release", tmp_path / "record.json")


def test_genes_by_symbol_get_the_ids_of_others() -> None:
    def table(*genes: tuple[str, str]) -> pd.DataFrame:
        return pd.DataFrame(genes, columns=["feature_id", "feature_name"])

    known = table(("E1", "A"), ("E2", "B"), ("E3", "C"), ("E4", "C"), ("E5", "D"), ("E6", "F"))
    symbols = table(("", "A"), ("", "B"), ("", "B"), ("", "C"), ("", "Z"), ("E5", "D2"), ("", "D"), ("", "F"))
    found = gene_map({"known": known, "symbols": symbols})
    assert found.ids == ["E1", "E2", "E3", "E4", "E5", "E6"]
    assert found.names == ["A", "B", "C", "C", "D", "F"]
    # B stands twice, C is two genes, Z is nobody's, D is the name of a gene that is there already
    assert found.places["symbols"].tolist() == [0, -1, -1, -1, -1, 4, -1, 5]
    assert found.about["symbols"] == {"by_id": 1, "by_symbol": 2, "dropped": 5}
    with pytest.raises(DataError, match="no gene of symbols has an Ensembl id"):
        gene_map({"symbols": table(("", "A"))})


def test_genes_by_symbol_get_the_ids_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "genes.tsv"
    path.write_text("id\tsymbol\nE1\tA\nE2\tB\n")
    symbols = pd.DataFrame({"feature_id": ["", ""], "feature_name": ["A", "Q"]})
    table = GeneTable(str(path), "id", "symbol")
    found = gene_map({"symbols": symbols}, table)
    assert (found.ids, found.places["symbols"].tolist()) == (["E1"], [0, -1])
    with pytest.raises(DataError, match="no column 'name'"):
        gene_map({"symbols": symbols}, replace(table, name="name"))
    with pytest.raises(DataError, match="no file"):
        gene_map({"symbols": symbols}, replace(table, file=str(tmp_path / "none")))


def test_releases_of_a_family_have_the_same_genes(tmp_path: Path) -> None:
    one = prepared(tmp_path, "one", 5, genes=slice(0, 10), with_ids=False)
    two = prepared(tmp_path, "two", 5, genes=slice(5, 20))
    family = {"one": one, "two": two}
    build_release(MAY, [Part("one", one)], tmp_path / "a", tmp_path / "a.json", family=family)
    build_release(DECEMBER, [Part("two", two)], tmp_path / "b", tmp_path / "b.json", family=family)
    (a, _), (b, _) = client(tmp_path / "a"), client(tmp_path / "b")
    assert list(a.var["feature_id"]) == list(b.var["feature_id"]) == [gene for gene, _ in GENES[5:20]]
    assert read_json(tmp_path / "a.json")["parts"]["one"]["genes"] == {"by_id": 0, "by_symbol": 5, "dropped": 5}


def test_the_command_for_own_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = prepared(tmp_path, "mine", 8)
    place = ["census-release", str(tmp_path / "r"), "--date", MAY]
    assert main([*place, "--dataset", f"mine={cells}"]) == 0
    assert client(tmp_path / "r")[0].n_obs == 8
    assert "mine: 8 cells" in capsys.readouterr().out
    for wrong, message in (
        ([*place, "--dataset", str(cells)], "is not NAME=CELLS"),
        ([*place, "--dataset", f"a={tmp_path / 'none.h5ad'}"], "there is no such file"),
        (["census-release", "x", "--date", "May", "--dataset", f"a={cells}"], "'May' is not a date"),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err


def test_the_lung_releases_of_real_data(real_data: Path, tmp_path: Path) -> None:
    """Travaglini has symbols only; the genes that it shares with the others survive, and its counts too."""
    parts = {}
    for name, file in (("travaglini", "travaglini2020_lca_1000"), ("tabula", "tabula_sapiens_lung_1000")):
        raw = ad.read_h5ad(real_data / "lung_multistudy" / f"{file}.h5ad")[:40].copy()
        ids = raw.var["ensembl_id"].astype(str) if "ensembl_id" in raw.var else ""
        obs = pd.DataFrame(
            {"label_id": raw.obs["cell_type_ontology_term_id"], "label": raw.obs["cell_type"], "study": name}
        ).astype(str)
        obs["donor"] = raw.obs["donor_id"].astype(str)
        var = pd.DataFrame({"feature_id": ids, "feature_name": raw.var_names}, index=raw.var_names)
        cells = ad.AnnData(raw.X, obs=obs, var=var)
        cells.uns["annobench"] = {"matrix": "counts"}
        parts[name] = Part(name, tmp_path / f"{name}.h5ad")
        cells.write_h5ad(parts[name].cells)
    family = {name: part.cells for name, part in parts.items()}
    for date, some in ((MAY, ["travaglini"]), (DECEMBER, ["travaglini", "tabula"])):
        build_release(date, [parts[name] for name in some], tmp_path / date, tmp_path / f"{date}.json", family=family)
    files = outputs(tmp_path)
    given = source(DECEMBER, new_since=MAY, genes={"measured": True})
    select_cells(given, files, uri=str(tmp_path / DECEMBER), older_uri=str(tmp_path / MAY), ontology=None)
    fetch_chunk(given.chunk(), 0, files, tmp_path / "c", uri=str(tmp_path / DECEMBER))
    found, whole = Store.open(tmp_path / "c").read(), ad.read_h5ad(parts["tabula"].cells)
    assert set(found.obs["dataset_id"]) == {"tabula"}
    assert found.X.sum() == whole.X.sum()
    about = read_json(tmp_path / f"{MAY}.json")["parts"]["travaglini"]["genes"]
    assert about["by_symbol"] > 17_000
    assert about["by_symbol"] + about["dropped"] == 23_681


# what the configuration says


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"built": "lung", "uri": "x"}, "does not go with source.built"),
        ({"new_since_uri": "x"}, "without new_since"),
        ({"new_since": "2023-12-15"}, "is not older than the release"),
        ({"genes": {"file": "a", "measured": True}}, "`file` or `measured`, not both"),
        ({"exclude": {"column": "id"}}, "key 'path' is missing"),
        ({"exclude": {"urls": ["https://a"]}}, "`urls` needs `file`"),
        ({"corpus": {"ontology": {"release": MAY, "path": "a", "urls": ["https://a"]}}}, "`path` or `urls`, not both"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_census(entry(**wrong), "d.yaml")


def study(dataset: str, **more: object) -> "object":
    text = load_yaml(ROOT / "config" / "config.yaml")
    text |= {"evaluations": [{"dataset": dataset, "regime": "pair"}], "methods": ["majority"], "controls": []}
    return load_study(text | more, ROOT, "test")


def test_all_datasets_of_the_census_are_valid() -> None:
    for name in available("datasets", ROOT):
        load_dataset(name, ROOT, "test")
    for name in available("releases", ROOT):
        assert load_named("release", name, ROOT, "test")["releases"]


def test_a_release_that_is_built_here_brings_its_datasets_along() -> None:
    found = study("lung_release")
    assert set(found.datasets) >= {"lung_may", "lung_december", "lung_travaglini", "lung_maynard"}
    census, data = CensusRules(found), DataRules(found)
    select = census.select_inputs(SimpleNamespace(dataset="lung_december"))
    assert select["release"] == "results/releases/lung/2023-12-15"
    assert select["new_since"] == "results/releases/lung/2023-05-15"
    gathered = data.fetch_inputs(SimpleNamespace(dataset="lung_december"))
    assert gathered["chunks"] == [f"results/data/lung_december/chunks/{i}" for i in ("0000", "0001")]
    built = census.built_inputs(SimpleNamespace(built="lung", date=MAY))
    assert "results/data/lung_maynard/cells.h5ad" in built["parts"]  # its genes are known to every release


def test_the_whole_hce_corpus_is_planned_without_a_network(tmp_path: Path) -> None:
    found = study("hce_release")
    census, data = CensusRules(found), DataRules(found)
    where = SimpleNamespace(dataset="hce_may", chunk="0000")
    assert len(data.fetch_inputs(where)["chunks"]) == 64
    assert [Path(table).name for table in census.select_inputs(where)["tables"]] == ["sctab_19331.tsv"]
    assert census.select_memory(where, 1) < 10_000
    assert census.chunk_memory(where, 1) < 4_500
    assert census.chunk_minutes(where, 2) == 2 * census.chunk_minutes(where, 1)
    assert "hours of download" in Plan(found, Results(tmp_path)).text()
    assert chunk_names(3) == ["0000", "0001", "0002"]


@pytest.mark.parametrize(("name", "fits", "gpu_hours"), [("hce", 36, 20), ("hce_clean", 20, 3)])
def test_the_study_is_planned_with_cells_disk_and_hours(tmp_path: Path, name: str, fits: int, gpu_hours: int) -> None:
    text = load_yaml(ROOT / "config" / "config.yaml") | load_yaml(ROOT / "config" / "studies" / f"{name}.yaml")
    found = load_study(text, ROOT, f"{name}.yaml")
    printed = Plan(found, Results(tmp_path)).text()
    assert re.search(r"hce_release\w* +24,789,056 +4,000 ", printed)  # its counts are those of its parts, linked
    assert re.search(r"hce_may\w* +2023-05-15 +64 of 64 +99,\d{3} +20\.\d\n", printed)
    left = re.search(rf"Left to do: {fits} fits, .* CPU hours .*, ([\d.]+) GPU hours, (\d+) MB of disk", printed)
    assert left
    assert gpu_hours < float(left[1]) < gpu_hours + 1
    assert 115_000 < int(left[2]) < 150_000


def test_a_release_that_the_file_does_not_have_is_named() -> None:
    from annobench.config import census

    load = {"releases": {MAY: ["a"], DECEMBER: ["a", "b"]}}
    assert census.release_parts(entry(DECEMBER, built="lung"), lambda name: load, "d.yaml") == ["a", "b"]
    with pytest.raises(ConfigError, match="has no release 2023-12-16; did you mean '2023-12-15'"):
        census.release_parts(entry("2023-12-16", built="lung"), lambda name: load, "d.yaml")


def test_the_gene_and_class_tables_are_whole() -> None:
    genes = pd.read_csv(ROOT / "config" / "genes" / "sctab_19331.tsv", sep="\t")["feature_id"]
    assert len(genes) == genes.nunique() == 19_331
    assert genes.str.fullmatch(r"ENSG\d{11}").all()
    classes = pd.read_csv(ROOT / "config" / "classes" / "hce_164.tsv", sep="\t")
    assert list(classes["index"]) == list(range(164))
    assert classes["label_id"].nunique() == 164
    assert classes["ood_80"].sum() == 80
    assert classes["node_class"].value_counts().to_dict() == {
        "connected_leaf": 78,
        "internal": 46,
        "isolated_leaf": 40,
    }
