"""What is promised: docs/config lists every key once, as the schemas have it, and prose names what there is."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annobench.config import manual
from annobench.config.regimes import regimes
from annobench.config.schema import load_schema, resolve, schema_folder
from annobench.core.errors import ConfigError
from annobench.core.paths import ROOT

PAGES = manual.pages()


def described(schema: Any, root: Any) -> Iterator[str]:
    """Keys of a schema at every depth."""
    if isinstance(schema, dict):
        schema = resolve(schema, root)
        for key, part in schema.get("properties", {}).items():
            if part is not False:
                yield key
                yield from described(part, root)
        for inner in ("items", "additionalProperties"):
            yield from described(schema.get(inner), root)
        for branch in schema.get("oneOf", []):
            yield from described(branch, root)


def test_the_pages_are_in_step_with_schemas_and_defaults() -> None:
    found = {path.stem: path.read_text(encoding="utf-8") for path in manual.FOLDER.glob("*.md")}
    assert found == PAGES
    assert json.dumps([1, 2, 3]) in PAGES["config"]  # the default seeds


@pytest.mark.parametrize("name", sorted(set(PAGES) - {"regimes"}))
def test_every_key_has_a_row(name: str) -> None:
    root = load_schema(name)
    text = PAGES[name] + (PAGES["regimes"] if name == "config" else "")
    listed = set(re.findall(r"^\| \[?`(\w+)`", text, re.MULTILINE))
    assert set(described(root, root)) <= listed


@pytest.mark.parametrize("name", sorted(PAGES))
def test_no_long_text_is_printed_twice(name: str) -> None:
    meanings = [line.rsplit(" | ", 1)[-1] for line in PAGES[name].splitlines() if line.startswith("|")]
    long = [text for text in meanings if len(text) > 80 and not text.startswith("As in")]
    assert len(long) == len(set(long))


@pytest.mark.parametrize("name", sorted(PAGES))
def test_links_lead_to_sections_and_pages(name: str) -> None:
    headings = re.findall(r"^#+ (.*)$", PAGES[name], re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert len(anchors) == len(headings)
    for link in re.findall(r"\]\(([^)]*)\)", PAGES[name]):
        assert link.removeprefix("#") in anchors if link.startswith("#") else (manual.FOLDER / link).is_file(), link


def test_the_page_of_the_regimes_lists_all_of_them_with_their_splits() -> None:
    rows = dict(re.findall(r"^\| \[`(\w+)`\].* \| ([^|]*) \|$", PAGES["regimes"].split("## ")[0], re.MULTILINE))
    assert list(rows) == regimes()
    assert rows["kfold"] == "`kfold_1` … `kfold_5`"
    assert rows["release"] == "`release_id`, `release_ood`"
    assert rows["cross_study"] == "`crossstudy_<family>`"


def test_pages_are_written_checked_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(manual, "FOLDER", tmp_path)
    (tmp_path / "gone.md").write_text("of a schema that was removed")
    assert manual.update(check=True) == 1
    assert (
        "docs/config is not in step with workflow/schemas (checkpoint, config, dataset, gone, "
        in capsys.readouterr().out
    )
    assert manual.update() == 0
    assert manual.update(check=True) == 0
    assert not (tmp_path / "gone.md").exists()


def test_a_key_without_a_description_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'scoring.bare' of study has no description"):
        manual._Page("config").row("scoring", "bare", {"type": "string"}, required=False)


def names_in_prose(folder: str) -> set[str]:
    """Names of the variants of a schema: regimes, kinds of sources."""
    return {path.stem for path in (schema_folder() / folder).glob("*.yaml")}


def test_prose_names_every_regime() -> None:
    """Where all regimes are listed, none is missing, and none is invented."""
    words = (ROOT / "docs" / "words.md").read_text(encoding="utf-8")
    line = next(line for line in words.splitlines() if line.startswith("| **regime**"))
    assert set(re.findall(r"[a-z_]+(?=[,.])", line.split(":")[1])) == names_in_prose("regimes")


PROSE = [ROOT / "README.md", ROOT / "config" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("file", PROSE, ids=lambda path: path.name)
def test_regimes_and_kinds_of_sources_that_prose_names_exist(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    regimes_named = re.findall(r"\bregimes? `(\w+)`", text) + re.findall(r"[{`,] ?regime: (\w+)", text)
    assert set(regimes_named) <= names_in_prose("regimes")
    kinds = re.findall(r"source(?:s of)?[.:]? ?\{?kind:? `?(\w+)", text) + re.findall(r"of kind `(\w+)`", text)
    assert set(kinds) <= names_in_prose("sources")


def test_where_kinds_of_sources_are_listed_none_is_missing() -> None:
    line = next(line for line in PROSE[0].read_text(encoding="utf-8").splitlines() if "source: {kind: " in line)
    one, others = re.findall(r"kind: (\w+)", line), re.findall(r"\w+", line.split("# or ")[1])
    assert {*one, *others} == names_in_prose("sources")
    said = re.search(r"Sources are ((?:`\w+`,?\s*(?:and )?)+)", PROSE[1].read_text(encoding="utf-8"))
    assert said
    assert set(re.findall(r"\w+", said.group(1))) - {"and"} == names_in_prose("sources")
