"""What is promised: a label that is said to be sure means its term, and others get candidates with similar names."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annobench.core.paths import ROOT
from annobench.ontology import UNKNOWN, Ontology, Term
from annobench.ontology.labels import read_table
from annobench.ontology.matching import (
    COMMON,
    ID,
    NAME,
    NO_TYPE,
    SHORT,
    SPELLING,
    SYNONYM,
    Matcher,
    common_names,
    words,
)

LABELS = ROOT / "config" / "labels"


@pytest.fixture(scope="module")
def matcher(ontology: Ontology) -> Matcher:
    return Matcher(ontology, common_names(LABELS / COMMON, ontology))


@pytest.mark.parametrize(
    ("label", "name", "how"),
    [
        ("CL:0000084", "T cell", ID),
        ("CL_0000084", "T cell", ID),
        ("T cell", "T cell", NAME),
        (" t CELL ", "T cell", NAME),
        ("type II pneumocyte", "pulmonary alveolar type 2 cell", SYNONYM),
        ("NK cell", "natural killer cell", SYNONYM),
        ("T cells", "T cell", SPELLING),
        ("Alveolar_macrophages", "alveolar macrophage", SPELLING),
        ("γδ T cells", "gamma-delta T cell", SPELLING),
        ("Naïve B cells", "naive B cell", SPELLING),
        ("SmoothMuscle cell", "smooth muscle cell", SPELLING),
        ("mast", "mast cell", SPELLING),
        ("Proliferating NK cells", "cycling natural killer cell", SHORT),
        ("NK", "natural killer cell", SHORT),
        ("Tregs", "regulatory T cell", SHORT),
        ("CD4 T", "CD4-positive, alpha-beta T cell", SHORT),
        ("T cells CD8+", "CD8-positive, alpha-beta T cell", SHORT),
        ("pDC", "plasmacytoid dendritic cell", SYNONYM),
        ("CD56bright NK cells", "CD16-negative, CD56-bright natural killer cell, human", SHORT),
    ],
)
def test_a_label_that_is_sure(matcher: Matcher, ontology: Ontology, label: str, name: str, how: str) -> None:
    match = matcher.match(label)
    assert match.how == how
    assert match.label_id is not None
    assert ontology.label(match.label_id) == name
    assert match.candidates == ()


@pytest.mark.parametrize("label", ["unknown", "Unassigned", "doublets", "NA", "", "low_quality", "other", "-"])
def test_a_label_that_says_that_there_is_no_type(matcher: Matcher, label: str) -> None:
    assert matcher.match(label) == matcher.match("unknown")
    assert matcher.match(label).label_id == UNKNOWN
    assert matcher.match(label).how == NO_TYPE


@pytest.mark.parametrize(
    ("label", "first"),
    [
        ("Alevolar cell type 2", "pulmonary alveolar type 2 cell"),  # as a published file has it
        ("Activated NK cells", "natural killer cell"),
        ("CD16- NK", "CD16-negative, CD56-bright natural killer cell, human"),
        ("CD4+ CD25+ Treg", "CD4-positive, CD25-positive, alpha-beta regulatory T cell"),
        ("endoth. vein", "vein endothelial cell"),
        ("DC2", "plasmacytoid dendritic cell"),
    ],
)
def test_a_label_that_is_not_sure_has_candidates(matcher: Matcher, ontology: Ontology, label: str, first: str) -> None:
    match = matcher.match(label)
    assert match.label_id is None
    assert ontology.label(match.candidates[0].label_id) == first
    scores = [one.score for one in match.candidates]
    assert scores == sorted(scores, reverse=True)
    assert len({one.label_id for one in match.candidates}) == len(scores) <= 5


@pytest.mark.parametrize("label", ["alpha", "Delta cells", "T/NK", "T & B cells", "VIP", "Vip GABA", "DC1", "12", "C3"])
def test_what_could_mean_several_things_is_not_sure(matcher: Matcher, label: str) -> None:
    assert matcher.match(label).label_id is None


def test_types_of_the_tissue_come_first(ontology: Ontology) -> None:
    def first(*tissues: str) -> str:
        return ontology.label(Matcher(ontology, tissues=tissues).match("delta cells").candidates[0].label_id)

    assert first("pancreas") == "pancreatic D cell"
    assert first("stomach") == "type D cell of stomach"


def test_numbers_and_genes_have_no_candidates(matcher: Matcher) -> None:
    assert matcher.match("7").candidates == ()
    assert matcher.match("XKR4").candidates == ()


def test_obsolete_terms_are_no_candidates_and_former_names_lead_to_their_successor() -> None:
    terms = {
        "CL:0000000": Term("cell"),
        "CL:0000001": Term("blue cell", ("CL:0000000",), ("azure cell",)),
        "CL:0000002": Term("obsolete red cell", obsolete=True, replaced_by="CL:0000001"),
        "CL:0000003": Term("green cell", obsolete=True),
    }
    matcher = Matcher(Ontology("2000-01-01", terms))
    assert matcher.match("red cell").label_id == "CL:0000001"
    assert matcher.match("CL:0000002").label_id == "CL:0000001"
    assert matcher.match("green cells").label_id is None
    assert matcher.match("azures").how == SPELLING
    assert matcher.match("blue thing").candidates[0].name == "blue cell"


def test_words_are_what_names_share() -> None:
    assert words("CD4-positive, alpha-beta T cell") == ("cd4", "alpha", "beta", "t")
    assert words("CD4+ αβ T-cells") == ("cd4", "alpha", "beta", "t")
    assert words("NK_CD56bright_CD16-") == ("natural", "killer", "cd56-bright", "cd16-negative")
    assert words("Alveolar Mφ") == ("alveolar", "macrophage")
    assert words("ILC2s, human") == ("group", "2", "innate", "lymphoid")
    assert words("Tumour centre") == ("tumor", "center")


@given(st.text(max_size=40))
def test_any_text_is_a_label(text: str) -> None:
    terms = {"CL:0000000": Term("cell"), "CL:0000084": Term("T cell", ("CL:0000000",), ("T lymphocyte",))}
    match = Matcher(Ontology("2000-01-01", terms), {"T": "CL:0000084"}).match(text)
    assert (match.label_id is None) == (match.how == "")
    assert all(0 < one.score <= 1 for one in match.candidates)


@given(st.sampled_from(["T cell", "natural killer cell", "type II pneumocyte", "pulmonary alveolar type 2 cell"]))
def test_case_plural_and_hyphens_do_not_matter(name: str) -> None:
    for spelled in (name.upper(), f"{name}s", name.replace(" ", "-"), name.replace(" ", "_")):
        assert sorted(words(spelled)) == sorted(words(name))


def test_every_name_of_the_ontology_finds_its_own_term(matcher: Matcher, ontology: Ontology) -> None:
    for key, term in ontology.terms.items():
        if not term.obsolete and key.startswith("CL:") and not term.label.isdigit():
            assert matcher.match(term.label).label_id in (key, ontology.find(term.label)), term.label


def test_common_names_are_none_that_the_ontology_has_for_another_term(ontology: Ontology) -> None:
    for name, label_id in common_names(LABELS / COMMON, ontology).items():
        found = ontology.find(name)
        assert found in (None, label_id), name


def test_terms_that_a_release_lacks_are_left_out(tmp_path: Path, ontology: Ontology) -> None:
    table = tmp_path / "t.tsv"
    table.write_text("original\tlabel_id\tcomment\nT\tCL:0000084\tT cell\nX\tCL:9999999\tnew\n")
    assert common_names(table, ontology) == {"T": "CL:0000084"}


def test_tables_made_by_hand_are_found_again(matcher: Matcher, ontology: Ontology) -> None:
    """People chose by what they know of the data; a sure match is theirs, or lies above or below it."""
    counts: Counter[str] = Counter()
    for file in sorted(LABELS.glob("*.tsv")):
        if file.name == COMMON:
            continue
        for label, label_id in read_table(file, ontology).items():
            if label_id == UNKNOWN:
                continue
            match = matcher.match(label)
            ids = [one.label_id for one in match.candidates]
            if match.label_id is None:
                counts["open"] += 1
                counts["first"] += ids[:1] == [label_id]
                counts["listed"] += label_id in ids
            else:
                near = ontology.ancestors(label_id) | ontology.descendants(label_id) | {label_id}
                counts["sure"] += 1
                counts["same"] += match.label_id == label_id
                counts["near"] += match.label_id in near
    assert counts["same"] >= 0.8 * counts["sure"]
    assert counts["near"] >= 0.97 * counts["sure"]
    assert counts["sure"] >= 0.45 * (counts["sure"] + counts["open"])
    assert counts["first"] >= 0.3 * counts["open"]
    assert counts["listed"] >= 0.5 * counts["open"]
