"""What is promised: every table is described in docs/tables.md and listed in results/README.md, as it declares."""

import re
from pathlib import Path

import pytest

from annobench.config import manual_tables
from annobench.config.tables import table_facts, tables
from annobench.core.paths import ROOT

PAGES = ["README.md", "config/README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def test_page_and_list_are_in_step_with_the_tables() -> None:
    for path, text in manual_tables.texts().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run make manual"


def test_every_table_has_a_section_with_all_its_columns() -> None:
    sections = re.split(r"^## ", manual_tables.PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert {section.split("\n")[0] for section in sections} == set(tables())
    for section in sections:
        facts = table_facts(section.split("\n")[0])
        assert re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE) == list(facts.columns)
        assert facts.meaning in section


def test_links_lead_to_files_and_sections() -> None:
    sections = set(re.findall(r"^## (\w+)", manual_tables.PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    for path in (manual_tables.PAGE, manual_tables.README):
        for link in re.findall(r"\]\(([^)]*)\)", path.read_text(encoding="utf-8")):
            file, _, anchor = link.partition("#")
            assert (path.parent / file).is_file(), link
            assert not anchor or anchor in sections, link


def test_what_is_out_of_date_is_named_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, readme = tmp_path / "docs" / "tables.md", tmp_path / "results" / "README.md"
    page.parent.mkdir()
    readme.parent.mkdir()
    readme.write_text("Kept.\n<!-- tables -->\n| `gone` | A table that is gone. |\n<!-- end -->\nKept too.\n")
    for name, value in (("ROOT", tmp_path), ("PAGE", page), ("README", readme)):
        monkeypatch.setattr(manual_tables, name, value)
    assert manual_tables.update(check=True) == 1
    assert "docs/tables.md, results/README.md: not in step with" in capsys.readouterr().out
    assert not page.exists()
    assert manual_tables.update() == manual_tables.update(check=True) == 0
    assert page.is_file()
    text = readme.read_text()
    assert (text[:5], text[-10:]) == ("Kept.", "Kept too.\n")
    assert "gone" not in text
    assert (ROOT / "results" / "README.md").is_file()


@pytest.mark.parametrize("page", PAGES)
def test_tables_that_prose_names_exist(page: str) -> None:
    assert set(re.findall(r"`([a-z_]+)\.csv`", (ROOT / page).read_text(encoding="utf-8"))) <= set(tables())
