"""What is promised: cells of a Census release are chosen by data and by scTab's rules; nothing is dropped silently."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.core.errors import AnnobenchError, DataError, DownloadError
from annobench.core.files import sha256_of
from annobench.core.parquet import Categorical
from annobench.core.paths import ROOT
from annobench.data.census import filters as filtering
from annobench.data.census.corpus import CorpusRules, kept_types
from annobench.data.census.filters import Filters
from annobench.data.census.older import Older
from annobench.data.census.release import NotReachedError, Place, client_context, opened_release, with_patience
from annobench.data.census.republished import compare, is_republished, normalised
from annobench.data.census.select import digest, select_cells
from annobench.data.census.spec import CellList, CorpusSpec, OntologyFile
from annobench.data.census.types import corpus_ontology
from annobench.data.ontology import from_json, from_obo
from annobench.ontology import Ontology
from census_release import DECEMBER, GENES, MAY, outputs, source, two_releases
from helpers import toy_ontology


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return two_releases(tmp_path_factory.mktemp("releases"))


@pytest.fixture
def select(releases: dict[str, Path], tmp_path: Path):
    """Select from one of the releases; returns cells, genes and record."""

    def selected(
        release: str = DECEMBER, ontology: Ontology | None = None, **more: Any
    ) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
        given = source(release, **more)
        files = outputs(tmp_path)
        older = str(releases[given.new_since]) if given.new_since else None
        select_cells(given, files, uri=str(releases[release]), older_uri=older, ontology=ontology)
        tables = [pd.read_parquet(path) for path in (files.cells, files.genes)]
        return *tables, json.loads(files.record.read_text())

    return selected


# filters


def test_the_cells_that_pass_all_filters_are_taken(select) -> None:
    wanted = {"is_primary_data": [True], "disease": ["Crohn's disease", "absent"]}
    cells, genes, record = select(filters=wanted, obs=["is_primary_data", "assay"])
    assert set(cells["is_primary_data"]) == {"true"}
    assert len(cells) == 30 + 15 + 25
    assert set(cells["disease"]) == {"Crohn's disease"}
    assert cells["soma_joinid"].is_monotonic_increasing
    assert set(cells["tech_sample"]) >= {"first_Ann", "new_Gil"}
    assert record["values_of_no_cell"] == {"disease": ["absent"]}
    assert record["cells_in_release"] == 160
    assert record["datasets"] == {"again": 15, "first": 30, "new": 25}
    assert record["datasets_sha256"] == digest(["first", "new", "again"])
    assert record["release"] == DECEMBER
    assert list(genes["feature_id"]) == sorted(gene for gene, _ in GENES)


@given(values=st.lists(st.text(max_size=8), min_size=1, max_size=4))
@settings(max_examples=60)
def test_any_text_becomes_a_literal_that_reads_as_itself(values: list[str]) -> None:
    import ast

    schema = pa.schema([("a b", pa.large_string()), ("flag", pa.bool_())])
    text = Filters({"a b": values, "flag": [True]}).expression(schema)
    sent = [v for v in values if not any(0xD800 <= ord(c) <= 0xDFFF for c in v)]
    tree = ast.parse(text, mode="eval").body
    assert [ast.literal_eval(node.comparators[0]) for node in tree.values] == [sent, True]


def test_what_the_client_cannot_filter_is_filtered_here(tmp_path: Path) -> None:
    import tiledbsoma as soma

    from annobench.data.census.rows import read_cells

    texts = ["Crohn's disease", 'say "hi"', "back\\slash", "both ' and \"", "naïve ✓", "", "two\nlines", "plain"]
    table = pa.table(
        {
            "soma_joinid": pa.array(range(len(texts)), pa.int64()),
            "plain": pa.array(texts, pa.large_string()),
            "orig.ident": pa.array(texts, pa.large_string()),
            "score": pa.array([i / 2 for i in range(len(texts))]),
        }
    )
    columns = {"schema": table.schema, "index_column_names": ["soma_joinid"], "domain": [[0, len(texts) - 1]]}
    with soma.DataFrame.create(str(tmp_path / "f"), context=client_context(()), **columns) as frame:
        frame.write(table)
    with soma.DataFrame.open(str(tmp_path / "f"), context=client_context(())) as frame:
        for i, text in enumerate(texts):
            for column in ("plain", "orig.ident"):
                ids, found = read_cells(frame, [column], Filters({column: [text, "not there"]}))
                assert (ids.tolist(), found[column].to_text().tolist()) == ([i], [text])
        wanted = Filters({"score": [0.5, 2.0], "plain": texts[1:]}).checked(frame.schema, "here")  # a float stays here
        assert "score" not in str(wanted.expression(frame.schema))
        assert read_cells(frame, ["plain"], wanted)[0].tolist() == [1, 4]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"diseases": ["normal"]}, r"no column 'diseases'; did you mean 'disease'\?"),
        ({"is_primary_data": ["true"]}, "'true' is not of type bool"),
        ({"disease": [True]}, "True is not of type str"),
        ({"dataset_id": ["first", "gone"]}, "has no dataset gone"),
        ({"disease": {"file": "config/none.tsv", "column": "a"}}, "no such file"),
        ({"disease": {"file": "config/classes/hce_164.tsv", "column": "ids"}}, "no column 'ids'"),
    ],
)
def test_a_filter_that_cannot_hold_is_refused(select, wrong: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        select(filters=wrong)


def test_an_empty_result_says_which_values_occur(select) -> None:
    with pytest.raises(DataError) as error:
        select(filters={"disease": ["Crohn's disease"], "assay": ["10x 3' v2", "Drop-seq"], "dataset_id": ["logs"],
                        "is_primary_data": [True]})  # fmt: skip
    text = str(error.value)
    assert "disease: Crohn's disease (80 cells)" in text
    assert "assay: 10x 3' v2 (160 cells), Drop-seq (no cell)" in text
    assert "is_primary_data: True (140 cells)" in text


def test_values_may_stand_in_a_table(select, tmp_path: Path) -> None:
    table = tmp_path / "types.csv"
    table.write_text("label_id,label\nCL:0000236,B cell\nCL:0000623,NK cell\nCL:0000236,B cell\n")
    cells, _, record = select(filters={"cell_type_ontology_term_id": {"file": str(table), "column": "label_id"}})
    assert set(cells["cell_type"]) == {"B cell", "natural killer cell"}
    assert record["filters"] == {"cell_type_ontology_term_id": ["CL:0000236", "CL:0000623"]}
    assert filtering.read_values(str(table), "label_id") == ["CL:0000236", "CL:0000623"]


def test_numbers_may_stand_in_a_table(select, tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("soma_joinid\n3\n5\n")
    numbers = {"file": str(tmp_path / "ids.csv"), "column": "soma_joinid"}
    cells, _, _ = select(filters={"soma_joinid": numbers}, obs=["soma_joinid"])
    assert cells["soma_joinid"].tolist() == [3, 5]


def test_a_draw_depends_on_the_seed_alone(select) -> None:
    one, _, record = select(max_cells=20, seed=1)
    assert record["dropped"] == {"max_cells": 140}
    assert one["soma_joinid"].is_monotonic_increasing
    assert list(select(max_cells=20, seed=1)[0]["soma_joinid"]) == list(one["soma_joinid"])
    assert list(select(max_cells=20, seed=2)[0]["soma_joinid"]) != list(one["soma_joinid"])


def test_more_chunks_than_cells_are_refused(select) -> None:
    with pytest.raises(DataError, match=r"source.chunks: 9, but only 5 cells"):
        select(max_cells=5, chunks=9)


# genes


def test_genes_are_taken_by_id_in_the_order_of_the_release(select, tmp_path: Path) -> None:
    table = tmp_path / "genes.tsv"
    table.write_text("feature_id\n" + "".join(f"{GENES[i][0]}\n" for i in (30, 3, 50)))
    _, genes, record = select(genes={"file": str(table)})
    assert list(genes["feature_id"]) == [GENES[i][0] for i in (3, 30, 50)]
    assert record["genes"] == {"genes": 3, "genes_in_release": 100, "missing_genes": []}


def test_a_gene_that_the_release_lacks_is_an_error_or_zero(select, tmp_path: Path) -> None:
    table = tmp_path / "genes.tsv"
    table.write_text(f"feature_id\nENSG99999999999\n{GENES[3][0]}\n")
    with pytest.raises(DataError, match=r"lacks 1 of 2 genes of .*ENSG99999999999.*missing_genes to zero"):
        select(genes={"file": str(table)})
    _, genes, record = select(genes={"file": str(table)}, missing_genes="zero")
    assert list(genes["soma_joinid"]) == [3, -1]
    assert record["genes"]["missing_genes"] == ["ENSG99999999999"]


def test_genes_that_all_chosen_datasets_measured(select) -> None:
    _, genes, _ = select(genes={"measured": True}, filters={"dataset_id": ["first", "new"]})
    assert list(genes["feature_id"]) == [gene for gene, _ in GENES[20:80]]


# the corpus rules


def test_the_corpus_rules_on_a_table_that_was_worked_by_hand() -> None:
    #         cells, samples, ancestors below root A: A1 (2 ancestors), A2 (2), A2x (4: A2, A, B, cell), B not below A
    rows = [("A1", "d1"), ("A1", "d2"), ("A1", "d2"), ("A2", "d1"), ("A2", "d1"), ("A2", "d1"), ("A2x", "d1"),
            ("A2x", "d2"), ("B", "d1"), ("B", "d2"), ("B", "d3"), ("gone", "d4")]  # fmt: skip
    types, samples = (Categorical.of(column) for column in zip(*rows, strict=True))

    def kept(**rules: Any) -> set[str]:
        mask, _ = kept_types(types, samples, toy_ontology(), CorpusRules("A", **rules))
        return set(types.to_text()[mask])

    assert kept(min_cells=0, min_donors=0, min_ancestors=0) == {"A1", "A2", "A2x"}  # strictly below: A itself is not
    assert kept(min_cells=3, min_donors=0, min_ancestors=0) == {"A1", "A2"}
    assert kept(min_cells=0, min_donors=2, min_ancestors=0) == {"A1", "A2x"}
    assert kept(min_cells=0, min_donors=0, min_ancestors=3) == {"A2x"}
    mask, table = kept_types(types, samples, toy_ontology(), CorpusRules("A", 3, 2, 2))
    assert mask.sum() == 3
    breaks = {row["label_id"]: row["breaks"] for row in table}
    assert breaks == {
        "A1": [],
        "A2": ["too_few_donors"],
        "A2x": ["too_few_cells"],
        "B": ["not_below_root", "too_few_ancestors"],
        "gone": ["not_below_root", "too_few_cells", "too_few_donors", "too_few_ancestors"],
    }
    assert next(row for row in table if row["label_id"] == "A2x")["ancestors"] == 4


def test_a_type_that_falls_does_not_make_others_fall() -> None:
    """All rules look at the table before anything is removed: d1 counts for A1 although its other cells go."""
    types, samples = Categorical.of(["A1", "A1", "B", "B"]), Categorical.of(["d1", "d2", "d1", "d2"])
    mask, _ = kept_types(types, samples, toy_ontology(), CorpusRules("A", 2, 2, 1))
    assert mask.tolist() == [True, True, False, False]


def test_a_release_without_native_cell_is_refused(ontology: Ontology) -> None:
    with pytest.raises(DataError, match=r"CL:0000003 is obsolete in Cell Ontology 2026-03-26.*2023-08-24"):
        kept_types(Categorical.of(["CL:0000084"]), Categorical.of(["d"]), ontology, CorpusRules("CL:0000003", 0, 0, 0))


def test_the_rules_are_told_in_the_record(select, ontology: Ontology) -> None:
    corpus = {"root": "CL:0000542", "min_cells": 1, "min_donors": 7, "min_ancestors": 0}  # lymphocyte
    cells, _, record = select(corpus=corpus, ontology=ontology)
    assert record["corpus"]["types_kept"] == 3
    assert record["dropped"] == {"corpus": 0}
    corpus["min_donors"] = 8
    with pytest.raises(DataError, match=r"no cell .* is left after .*'corpus': 160"):
        select(corpus=corpus, ontology=ontology)
    assert len(cells) == 160


def test_the_164_types_pass_the_rule_of_ancestors(real_data: Path) -> None:
    release = from_obo(real_data / "hce" / "cl-simple-v2022-09-15.obo", "2022-09-15")
    table = pd.read_csv(ROOT / "config" / "classes" / "hce_164.tsv", sep="\t")
    types = Categorical.of(list(table["label_id"]))
    rules = CorpusRules("CL:0000003", 0, 0, 8)
    mask, rows = kept_types(types, Categorical.of(["d"] * 164), release, rules)
    assert mask.all()
    assert min(row["ancestors"] for row in rows) == 8
    shortened = from_json(real_data / "ontology" / "CL-ancestors.v2022-09-15.json.gz", "2022-09-15")
    # the ancestors that CELLxGENE's validator carries lack those of one type, which is why the rules want the OBO file
    again, _ = kept_types(types, Categorical.of(["d"] * 164), shortened, rules)
    assert types.to_text()[~again].tolist() == ["CL:0002453"]  # oligodendrocyte precursor cell
    later = from_json(real_data / "hce" / "CL-ontology-v2024-01-04.json.gz", "2024-01-04")
    with pytest.raises(DataError, match="is obsolete in"):
        kept_types(types, types, later, rules)


def test_an_ontology_of_its_own(tmp_path: Path, ontology_file: Path) -> None:
    text = '{"CL:0000000": {"ancestors": {}, "label": "cell", "deprecated": false}, '
    text += '"CL:0000001": {"ancestors": {"CL:0000000": 1}, "label": "one", "deprecated": false}}'
    file = tmp_path / "CL-ontology-v2022-09-15.json"
    file.write_text(text)

    def read(of_study: Path | None = None, **own: Any) -> Ontology:
        found = corpus_ontology(
            CorpusSpec("CL:0000000", 0, 0, 0, OntologyFile(**own) if own else None), of_study, print
        )
        assert found is not None
        return found

    found = read(release="2022-09-15", path=str(file))
    assert found.ancestors("CL:0000001") == {"CL:0000000"}
    urls = {"urls": (file.as_uri(),), "file": "CL-2022-09-15.json", "sha256": sha256_of(file)}
    assert len(read(release="2022-09-15", **urls).terms) == 2
    assert read(ontology_file).release == "2026-03-26"
    assert read(release="2026-03-26").release == "2026-03-26"
    assert corpus_ontology(CorpusSpec(None, 0, 0, 0), None, print) is None
    with pytest.raises(DataError, match="its name does not contain the release 2023-01-01"):
        read(release="2023-01-01", path=str(file))
    file.write_text("[1]")
    with pytest.raises(DataError, match="is not a Cell Ontology"):
        from_json(file, "2022-09-15")


# what is excluded


def test_cells_of_an_erratum_are_left_out(select, tmp_path: Path) -> None:
    listed = tmp_path / "twice.csv"
    listed.write_text("soma_joinid\n3\n5\n5\n9999\n")
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.write(listed, "twice.csv")
    for path in (listed, tmp_path / "twice.zip"):
        cells, _, record = select(exclude={"path": str(path), "sha256": sha256_of(path)})
        assert not {3, 5} & set(cells["soma_joinid"])
        assert record["dropped"] == {"excluded": 2}
        assert record["exclude"]["listed"] == 3
    urls = {"urls": [listed.as_uri()], "file": "twice.csv"}
    assert select(exclude=urls)[2]["dropped"] == {"excluded": 2}
    with pytest.raises(DataError, match="expected 00000"):
        select(exclude={"path": str(listed), "sha256": "0" * 64})
    with pytest.raises(DataError, match="no column 'id'"):
        select(exclude={"path": str(listed), "column": "id"})
    listed.write_text("soma_joinid\nthree\n")
    with pytest.raises(DataError, match="not a list of whole numbers"):
        select(exclude={"path": str(listed)})


def test_the_real_erratum(real_data: Path) -> None:
    from annobench.data.census.exclude import excluded_ids

    path = real_data / "hce" / "duplicate_cells_census_LTS_2023-05-15.csv.zip"
    ids, about = excluded_ids(CellList(path=str(path)), print)
    assert len(ids) == about["listed"] == 243_569


# new since an older release


def test_only_new_datasets_are_taken_and_republished_ones_are_marked(select) -> None:
    cells, _, record = select(new_since=MAY, filters={"is_primary_data": [True]})
    assert record["datasets"] == {"again": 30, "new": 50}
    assert record["new_since"]["vanished"] == ["gone"]
    assert record["new_since"]["new"] == ["again", "logs", "new"]
    assert record["new_since"]["republished"] == ["again"]
    (match,) = record["new_since"]["matches"]["again"]
    assert (match["old_dataset"], match["title"], match["collection"], match["donors"]) == ("gone", True, True, True)
    assert match["share_of_cells"] == 1.0
    assert dict(cells.groupby("dataset_id")["republished"].first()) == {"again": "true", "new": "false"}


def test_a_dataset_that_vanished_is_named(select) -> None:
    with pytest.raises(DataError, match=r"has no dataset gone \(the older release had it\)"):
        select(new_since=MAY, filters={"dataset_id": ["gone"]})
    with pytest.raises(DataError, match=r"no cell .* that are new since"):
        select(new_since=MAY, filters={"dataset_id": ["logs"], "is_primary_data": [True]})
    with pytest.raises(DataError, match="has no dataset that .* lacks"):
        select(new_since=MAY, filters={"dataset_id": ["first"]})


def row(name: str, title: str = "t", collection: str = "c", cells: int = 10) -> dict[str, Any]:
    return {
        "dataset_id": name,
        "dataset_title": title,
        "collection_id": collection,
        "collection_name": collection,
        "dataset_total_cell_count": cells,
    }


@pytest.mark.parametrize(
    ("new", "new_donors", "old_donors", "expected"),
    [
        (row("n", "T!", "c", 11), ["x"], ["y"], True),  # same title within a collection
        (row("n", "other", "c", 10), ["x"], ["y"], True),  # same number of cells within a collection
        (row("n", "other", "c", 11), ["x"], ["y"], False),  # a collection alone grows
        (row("n", "t", "d", 11), ["x"], ["y"], False),  # a title alone is in use
        (row("n", "other", "d", 11), ["anna", "berta", "carla"], ["anna", "berta", "carla"], True),
        (row("n", "other", "d", 11), ["D1", "D2", "D3", "D4"], ["D1", "D2", "D3", "D4"], False),  # everyone has a D1
        (row("n", "other", "c", 11), ["D1", "D2"], ["D1", "D2"], True),  # but not twice in a collection
        (row("n", "other", "c", 11), ["pooled", "unknown"], ["pooled", "unknown"], False),
    ],
)
def test_what_makes_a_dataset_an_old_one(new, new_donors, old_donors, expected: bool) -> None:
    matches = compare([new], [row("o")], {"n": new_donors}, {"o": old_donors})
    assert any(map(is_republished, matches.get("n", []))) is expected
    assert normalised(" Données: A_b-2 ") == "donneesab2"


def test_shared_cells_decide_alone(releases: dict[str, Path]) -> None:
    match = {"share_of_cells": 0.2, "donors": False, "collection": False, "title": True, "size": False}
    assert is_republished(match)
    assert not is_republished(match | {"share_of_cells": 0.02})  # bare barcodes agree so often by chance
    assert not is_republished(match | {"title": False})
    assert is_republished(match | {"title": False, "share_of_cells": 0.6})
    with opened_release(MAY, str(releases[MAY])) as may, opened_release(DECEMBER, str(releases[DECEMBER])) as december:
        older = Older.read(may, Place(MAY, str(releases[MAY]), "homo_sapiens", {}), lambda text: None)
        assert older.donors["gone"] == {"Carol Ann", "Dan Ole", "Eve Kim"}
        assert older._shares_of_cells(december, ["again", "new"]) == {"again": {"gone": 1.0}, "new": {}}
    matches = compare([row("again", "other", "d", 1)], [row("gone")], {}, {}, {"again": {"gone": 1.0}})
    assert is_republished(matches["again"][0])


def test_a_release_that_does_not_know_its_cells_is_compared_by_the_rest(releases: dict[str, Path]) -> None:
    place = Place(MAY, str(releases[MAY]), "homo_sapiens", {})
    with place.opened() as may, opened_release(DECEMBER, str(releases[DECEMBER])) as december:
        older = Older.read(may, place, lambda text: None)
        older.knows_cells = False
        datasets = {one["dataset_id"]: one for one in december.datasets()}
        obs = {"dataset_id": Categorical.of(["again", "new"]), "donor_id": Categorical.of(["Carol Ann", "Fay"])}
        flags, record = older.flagged(december, datasets, obs, print)
        assert flags.to_text().tolist() == ["true", "false"]
    assert record["cells_compared"] is False
    assert record["matches"]["again"][0]["share_of_cells"] is None


# opening


def test_another_release_than_asked_for_is_refused(releases: dict[str, Path], tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=f"is release {MAY}, but {DECEMBER} is asked for"),
        opened_release(DECEMBER, str(releases[MAY])),
    ):
        pass
    with pytest.raises(DataError, match="there is no folder"), opened_release(MAY, str(tmp_path / "none")):
        pass
    with pytest.raises(DownloadError, match="could not be opened"), opened_release(MAY, str(tmp_path)):
        pass
    with pytest.raises(DataError, match=r"\$NO_SUCH_PLACE"), opened_release(MAY, "$NO_SUCH_PLACE/soma"):
        pass
    with (
        pytest.raises(DataError, match="has no 'mus_musculus'"),
        opened_release(MAY, str(releases[MAY]), organism="mus_musculus"),
    ):
        pass


def test_a_variable_in_the_address_is_replaced(releases: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELEASES", str(releases[MAY].parent))
    with opened_release(MAY, f"$RELEASES/{MAY}", tiledb={"vfs.s3.no_sign_request": False}) as release:
        assert release.build_date == MAY
    with opened_release(MAY, releases[MAY].as_uri()) as release:
        assert release.where == releases[MAY].as_uri()


def test_a_release_that_was_built_before_its_date_is_opened_by_the_client(
    releases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import cellxgene_census

    of_may = cellxgene_census.open_soma(uri=str(releases[MAY]), context=client_context(()))
    monkeypatch.setattr(cellxgene_census, "open_soma", lambda **_: of_may)
    with opened_release("2023-07-01") as release:  # as 2024-07-01, which states 2024-05-20
        assert release.build_date == MAY


def test_the_client_is_opened_without_the_merge_that_kills_it(releases: dict[str, Path]) -> None:
    """A stress of 4,500 selections died once with it; without it the code is not entered."""
    setting = "sm.query.sparse_global_order.preprocess_tile_merge"
    with opened_release(MAY, str(releases[MAY])) as release:
        assert str(release.obs.context.tiledb_config[setting]) == "0"
    with opened_release(MAY, str(releases[MAY]), tiledb={setting: 7}) as release:  # whoever has a mended client
        assert str(release.obs.context.tiledb_config[setting]) == "7"


def test_what_the_network_says_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import cellxgene_census

    def unreachable(**_: Any) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(cellxgene_census, "open_soma", unreachable)
    with pytest.raises(DownloadError, match=r"could not be reached \(ConnectionError: no route"), opened_release(MAY):
        pass

    def unknown(**_: Any) -> None:
        raise ValueError('The "2023-05-16" Census version is not valid. Use ...')

    monkeypatch.setattr(cellxgene_census, "open_soma", unknown)
    monkeypatch.setattr(cellxgene_census, "get_census_version_directory", lambda: {"stable": 1, MAY: 1})
    said = rf"no release '2023-05-16'; did you mean '{MAY}'"
    with pytest.raises(DataError, match=said), opened_release("2023-05-16"):
        pass


def test_a_lost_connection_is_tried_again() -> None:
    said: list[str] = []
    calls = iter([OSError("reset by peer"), RuntimeError("S3: timeout"), "found"])

    def read() -> str:
        found = next(calls)
        if isinstance(found, Exception):
            raise found
        return found

    assert with_patience(read, uri=None, report=said.append, first_wait=0.001) == "found"
    assert "reset by peer" in said[0]
    assert "attempt 2 of 6" in said[1]

    def never() -> None:
        said.append("asked")
        raise OSError("gone")

    said.clear()
    with pytest.raises(DownloadError, match="resumes where it stopped"):
        with_patience(never, uri="s3://bucket/soma", report=lambda text: None, attempts=3, first_wait=0.001)
    assert said == ["asked"] * 3
    said.clear()
    with pytest.raises(DownloadError):
        with_patience(never, uri="/a/folder", report=lambda text: None, attempts=3)
    assert said == ["asked"]  # what is on this machine fails again

    opened = iter([True, False])

    def unreachable() -> str:
        if next(opened):
            raise NotReachedError("the Census could not be reached")
        return "found"

    assert with_patience(unreachable, uri=None, report=said.append, first_wait=0.001) == "found"

    def wrong() -> None:
        raise AnnobenchError("for the user")

    with pytest.raises(AnnobenchError, match="for the user"):
        with_patience(wrong, uri=None, report=lambda text: None)


def test_ids_in_any_order_are_put_in_order(releases: dict[str, Path]) -> None:
    from annobench.data.census.rows import read_cells

    class Backwards:
        schema = pa.schema([("soma_joinid", pa.int64()), ("a", pa.string())])

        def read(self, *_: Any, **__: Any) -> list[pa.Table]:
            parts = ([5, 2], ["five", None]), ([1], ["one"])
            return [pa.table({"soma_joinid": ids, "a": texts}) for ids, texts in parts]

    ids, found = read_cells(Backwards(), ["a"], Filters({}))
    np.testing.assert_array_equal(ids, [1, 2, 5])
    assert found["a"].to_text().tolist() == ["one", "unknown", "five"]
