"""What is promised: the closure is right on graphs, and releases are read alike from both sources."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annobench.core.errors import DataError
from annobench.core.files import sha256_of
from annobench.data.ontology import from_obo, from_wheel, read_release, wheel_releases
from annobench.data.spec import OntologySpec
from annobench.ontology import ROOT, Ontology, Term
from annobench.ontology.ids import canonical, is_id
from annobench.ontology.tree import class_tree
from helpers import toy_ontology


def test_ancestors_and_descendants_on_a_graph() -> None:
    toy = toy_ontology()
    assert toy.ancestors("A2x") == {"A2", "A", "B", ROOT}
    assert toy.descendants("A") == {"A1", "A2", "A2x"}
    assert toy.ancestors("not there") == frozenset()
    assert toy.depth("A2x") == 3
    assert toy.closure("A2x") == {"A2x", "A2", "A", "B"}
    assert toy.closure(ROOT) == frozenset()
    assert toy.closure("not there") == {"not there"}


def test_reachability_keeps_relations_through_absent_classes() -> None:
    classes = ["A", "A2x", "B"]
    expected = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1]], dtype=bool)
    assert (toy_ontology().reachability(classes) == expected).all()
    assert toy_ontology().reduced_edges(classes) == [("A", "A2x"), ("B", "A2x")]


def test_obsolete_terms_follow_their_replacement() -> None:
    toy = toy_ontology()
    assert toy.resolve("OLD") == "A1"
    assert toy.resolve("GONE") is None
    assert toy.resolve("A") == "A"
    assert "OLD" not in toy


def test_a_cycle_is_an_error() -> None:
    with pytest.raises(DataError, match="is broken: A is below B is below A"):
        Ontology("x", {"A": Term("a", ("B",)), "B": Term("b", ("A", "C")), "C": Term("c"), "D": Term("d", ("A",))})


def test_a_term_that_is_its_own_parent_loses_it() -> None:
    odd = Ontology("x", {"A": Term("a", ("A", "B")), "B": Term("b", ("B",))})
    assert odd.ancestors("A") == {"B"}
    assert odd.depth("A") == 1


def test_a_parent_that_is_not_there_names_the_file_that_helps() -> None:
    with pytest.raises(DataError, match=r"A \(a\) has the parent CL:0000001, .* Take cl-basic.obo"):
        Ontology("x", {"A": Term("a", ("CL:0000001",))})


@pytest.mark.parametrize(
    "text",
    [
        *("CL:0000084", "CL_0000084", "cl:0000084", " CL:0000084\u00a0", "http://purl.obolibrary.org/obo/CL_0000084"),
        *("<http://purl.obolibrary.org/obo/CL_0000084>", "https://www.ebi.ac.uk/ols4/x?iri=CL_0000084", "CL0000084"),
        *("obo:CL_0000084", "CL 0000084", "cl-0000084", "\ufeffCL:0000084"),
    ],
)
def test_ids_in_other_spellings(text: str, ontology: Ontology) -> None:
    assert canonical(text) == "CL:0000084"
    assert is_id(text)
    assert ontology.resolve(text) == "CL:0000084"


@pytest.mark.parametrize(
    "text", ["CL:84", "CL:00000841", "UBERON:0000084", "T cell", "", "XCL:0000084", "CL:0000084 x"]
)
def test_what_is_no_id_stays_as_it_is(text: str) -> None:
    assert canonical(text) == text
    assert not is_id(text)


def test_merged_ids_of_an_obo_file_resolve(tmp_path: Path) -> None:
    file = tmp_path / "mini.obo"
    term = "[Term]\nid: {}\nname: {}\n{}\n"
    file.write_text(
        "format-version: 1.2\ndata-version: cl/releases/2000-01-01\n\n"
        + term.format(ROOT, "cell", "")
        + term.format("CL:0000001", "one", f"is_a: {ROOT}\nis_a: CL:0000001\nalt_id: CL:0000009\nalt_id: CL:0000002\n")
        + term.format("CL:0000002", "two", f"is_a: {ROOT}\n")
    )
    read = from_obo(file, "2000-01-01")
    assert read.resolve("CL_0000009") == "CL:0000001"
    assert "CL:0000009" not in read
    assert read.resolve("CL:0000002") == "CL:0000002"  # a term of its own goes first
    assert read.ancestors("CL:0000001") == {ROOT}
    file.write_text(file.read_text() + term.format("CL:0000003", "three", "is_a: CL:0000004\n"))
    with pytest.raises(DataError, match=r"names the term CL:0000004, which it does not hold.*cl-basic.obo"):
        from_obo(file, "2000-01-01")


def test_save_and_load_give_the_same(tmp_path: Path, ontology: Ontology) -> None:
    ontology.save(tmp_path / "cl.json")
    again = Ontology.load(tmp_path / "cl.json")
    assert again.terms == ontology.terms
    assert again.release == ontology.release


@given(st.data())
def test_reachability_is_reflexive_antisymmetric_transitive(ontology: Ontology, data: st.DataObject) -> None:
    live = sorted(key for key, term in ontology.terms.items() if not term.obsolete)
    classes = data.draw(st.lists(st.sampled_from(live), min_size=1, max_size=40, unique=True))
    matrix = ontology.reachability(classes)
    assert matrix.diagonal().all()
    assert not (matrix & matrix.T & ~np.eye(len(classes), dtype=bool)).any()
    assert (((matrix.astype(int) @ matrix.astype(int)) > 0) <= matrix).all()
    for i, above in enumerate(classes):
        assert set(np.array(classes)[matrix[i]]) - {above} == ontology.descendants(above) & set(classes)


def test_a_release_that_the_wheel_lacks_lists_those_it_has() -> None:
    with pytest.raises(DataError, match=r"no Cell Ontology of 2026-03-27.*did you mean '2026-03-26'"):
        from_wheel("2026-03-27")
    assert "2026-03-26" in wheel_releases()


def test_obo_and_owl_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mini.obo"
    file.write_text(
        "format-version: 1.2\ndata-version: cl/releases/2000-01-01\n\n"
        "[Term]\nid: CL:0000000\nname: cell\n\n"
        '[Term]\nid: CL:0000001\nname: one\nsynonym: "uno" EXACT []\nsynonym: "wide" BROAD []\nis_a: CL:0000000\n\n'
        "[Term]\nid: CL:0000002\nname: obsolete two\nis_obsolete: true\nreplaced_by: CL:0000001\n\n"
        "[Term]\nid: GO:0000001\nname: not a cell\n"
    )
    found = from_obo(file, "2000-01-01")
    assert set(found.terms) == {"CL:0000000", "CL:0000001", "CL:0000002"}
    assert found.terms["CL:0000001"] == Term("one", ("CL:0000000",), ("uno",))
    assert found.resolve("CL:0000002") == "CL:0000001"
    with pytest.raises(DataError, match="states release 'cl/releases/2000-01-01', but the study asks for 2001-01-01"):
        from_obo(file, "2001-01-01")
    monkeypatch.setenv("ANNOBENCH_CACHE", str(tmp_path / "cache"))
    where = {"urls": [file.as_uri()], "file": "mini.obo", "sha256": sha256_of(file)}
    downloaded = read_release(OntologySpec("obo", "2000-01-01", **where))
    assert downloaded.terms == found.terms
    with pytest.raises(DataError, match="ontology.path: no file"):
        read_release(OntologySpec("obo", "2000-01-01", path=str(tmp_path / "nowhere.obo")))
    with pytest.raises(DataError, match="ontology.path: is missing"):
        read_release(OntologySpec("obo", "2000-01-01"))
    file.write_bytes(b"\x00\x01 nothing that could be read")
    with pytest.raises(DataError, match="not a readable OBO or OWL file"):
        from_obo(file, "2000-01-01")


def test_reachability_of_the_164_classes_of_hce(real_data: Path) -> None:
    with open(real_data / "hce" / "cell_types_164.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    classes = [row["cl_id"] for row in rows]
    old = from_obo(real_data / "ontology" / "cl-basic.v2022-09-15.obo.gz", "2022-09-15")
    matrix = old.reachability(classes)
    assert matrix.sum() == 545
    assert len(old.reduced_edges(classes)) == 124
    position = {row["label"]: i for i, row in enumerate(rows)}
    t_cell, naive = position["T cell"], position.get("naive T cell")
    if naive is not None:
        assert matrix[t_cell, naive]
        assert not matrix[naive, t_cell]
    internal = matrix.sum(axis=1) > 1
    assert internal.sum() == 46


def test_class_tree_holds_all_classes_once(ontology: Ontology) -> None:
    classes = ["CL:0000084", "CL:0000624", "CL:0000625", "CL:0000236", "CL:0000860"]
    nodes = class_tree(classes, ontology)
    ids = [node["label_id"] for node in nodes]
    assert len(set(ids)) == len(ids)
    assert {node["label_id"] for node in nodes if node["is_class"]} == set(classes)
    parents = {node["label_id"]: node["parent"] for node in nodes}
    assert parents["CL:0000624"] in ontology.ancestors("CL:0000624")
    assert all(parent == "" or parent in ids for parent in parents.values())
    inner = [node["label_id"] for node in nodes if not node["is_class"]]
    assert all(list(parents.values()).count(node) > 1 for node in inner)


def test_every_live_name_is_its_own(ontology: Ontology) -> None:
    live = [key for key, term in ontology.terms.items() if not term.obsolete]
    assert all(ontology.find(ontology.terms[key].label) == key for key in live)


def test_names_are_found_by_label_synonym_and_replacement() -> None:
    terms = {
        "X": Term("x cell", synonyms=("ex", "both", "y cell")),
        "Y": Term("y cell", synonyms=("both",)),
        "Z": Term("obsolete z cell", obsolete=True, replaced_by="Y"),
        "W": Term("w cell", obsolete=True),
    }
    names = Ontology("none", terms)
    assert names.find(" X Cell ") == "X"
    assert names.find("ex") == "X"
    assert names.find("y cell") == "Y"  # a label goes before a synonym
    assert names.find("both") is None  # two terms have it
    assert names.find("z cell") == "Y"
    assert names.find("w cell") is None


def test_names_of_the_release_find_their_own_terms(ontology: Ontology) -> None:
    """Live names themselves, obsolete ones what replaced them; nameless obsolete terms must not own the empty name."""
    wrong = [k for k, term in ontology.terms.items() if not term.obsolete and ontology.find(term.label) != k]
    assert wrong == []
    gone = [(k, t.label) for k, t in ontology.terms.items() if t.obsolete and t.label and ontology.resolve(k)]
    assert len(gone) > 50
    assert [k for k, name in gone if ontology.find(name.removeprefix("obsolete ")) != ontology.resolve(k)] == []
    assert any(t.obsolete and not t.label and ontology.resolve(k) for k, t in ontology.terms.items())
    assert ontology.find("") is None
    assert ontology.find("  ") is None
