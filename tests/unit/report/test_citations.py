"""Promises: every work is cited once, known works in full, others by their text; keys differ; nothing breaks BibTeX."""

import re

import yaml
from hypothesis import given
from hypothesis import strategies as st

from annobench.core.paths import ROOT
from annobench.report.citations import CELL_ONTOLOGY, SOFTWARE, Bibliography


def test_known_works_have_all_their_fields() -> None:
    works = Bibliography()
    assert works.cite("Zheng et al., Nature Communications 2017, doi 10.1038/ncomms14049") == "[@zheng2017]"
    (entry,) = works.references
    assert entry.kind == "article"
    assert list(entry.fields) == ["author", "title", "journal", "year", "doi"]
    assert entry.fields["author"] == "Zheng and others"


def test_several_works_in_one_citation_and_one_work_twice() -> None:
    works = Bibliography()
    text = "Theodoris et al., Nature 2023, doi 10.1038/s41586-023-06139-9; Hu et al., ICLR 2022, arXiv 2106.09685"
    assert works.cite(text) == "[@theodoris2023; @hu2022]"
    assert works.cite("Hu et al., arXiv 2106.09685") == "[@hu2022]"
    assert len(works.references) == 2
    assert works.references[1].fields["archiveprefix"] == "arXiv"


def test_unknown_works_keep_their_text_and_doi_and_get_keys_of_their_own() -> None:
    works = Bibliography()
    assert works.cite("Müller & Söhne 2031, doi 10.9999/a_b.1") == "[@muller2031]"
    assert works.cite("Müller 2031, another one") == "[@muller2031b]"
    first, second = works.references
    assert first.fields == {"note": r"Müller \& Söhne 2031, doi 10.9999/a\_b.1", "doi": "10.9999/a_b.1"}
    assert second.kind == "misc"


def test_the_tool_itself_and_references_to_other_files_are_not_cited() -> None:
    works = Bibliography()
    assert [works.cite(text) for text in ("annobench", "annobench (scripts/x.py)", "see pbmc68k", "")] == [""] * 4
    assert works.references == []


def test_all_works_of_the_list_make_entries() -> None:
    works = Bibliography()
    known = yaml.safe_load((ROOT / "config" / "references.yaml").read_text())
    for identifier in known:
        assert works.cite(str(identifier)).startswith("[@")
    assert {*SOFTWARE.values(), CELL_ONTOLOGY} <= set(known)
    keys = [one.key for one in works.references]
    assert len(set(keys)) == len(known)
    assert all(re.fullmatch(r"[a-z0-9-]+", key) for key in keys)


def test_citations_of_the_files_of_the_repository_are_cited() -> None:
    works = Bibliography()
    for folder in ("datasets", "methods"):
        for path in (ROOT / "config" / folder).glob("*.yaml"):
            works.cite(str(yaml.safe_load(path.read_text()).get("citation", "")))
    full = [one for one in works.references if one.kind == "article"]
    assert len(full) > 0.7 * len(works.references)


@given(st.lists(st.text(max_size=60), max_size=5))
def test_any_text_makes_balanced_entries_with_distinct_keys(texts: list[str]) -> None:
    works = Bibliography()
    for text in texts:
        works.cite(text)
    keys = [one.key for one in works.references]
    assert len(set(keys)) == len(keys)
    for one in works.references:
        entry = one.bibtex()
        assert entry.count("{") == entry.count("}")
