"""What is promised: the site holds every page of the repository, and links between pages lead inside it."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from annobench.core.paths import ROOT

CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    """The hook of MkDocs, imported by its path."""
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / ".site" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed(entries: list[object]) -> list[str]:
    """All pages of the navigation."""
    found: list[str] = []
    for entry in entries:
        if isinstance(entry, str):
            found.append(entry)
        elif isinstance(entry, dict):
            for inside in entry.values():
                found += listed(inside if isinstance(inside, list) else [inside])
    return found


def test_the_navigation_holds_every_page_once(pages: ModuleType) -> None:
    docs = ROOT / "docs"
    wanted = [str(path.relative_to(docs)) for path in docs.rglob("*.md")] + list(pages.PAGES.values())
    assert sorted(listed(CONFIG["nav"])) == sorted(wanted)


def test_pages_that_lie_elsewhere_are_all_there_are(pages: ModuleType) -> None:
    folders = [ROOT, ROOT / "benchmarks", ROOT / "results", *(ROOT / "config").rglob("")]
    found = {str(path.relative_to(ROOT)) for folder in folders for path in folder.glob("*.md")}
    assert found == set(pages.PAGES)


def test_links_lead_inside_the_site(pages: ModuleType) -> None:
    def one(text: str, page: str) -> str:
        return pages.rewritten(text, page)

    assert one("[a](docs/score.md)", "README.md") == "[a](score.md)"
    assert one("![a](docs/quickstart_ranking.png)", "README.md") == "![a](quickstart_ranking.png)"
    assert one("[a](../docs/tables.md#tests)", "results/README.md") == "[a](tables.md#tests)"
    assert one("[a](../docs/config)", "config/README.md") == "a (`docs/config`)"
    assert one("[a](../config/README.md)", "docs/prepare.md") == "[a](config/index.md)"
    assert one("[a](dataset.md)", "docs/config/config.md") == "[a](dataset.md)"
    assert one("[a](../../benchmarks/RESULTS.md)", "docs/config/config.md") == "[a](../benchmarks/results.md)"
    assert one("[SCALE](SCALE.md)", "benchmarks/RESULTS.md") == "[SCALE](scale.md)"


def test_files_that_are_no_pages_keep_their_path_as_text(pages: ModuleType) -> None:
    text = "See [the awk](config/methods/awk_centroid.yaml) and [CITATION.cff](CITATION.cff)."
    assert pages.rewritten(text, "README.md") == "See the awk (`config/methods/awk_centroid.yaml`) and CITATION.cff."


@pytest.mark.parametrize(
    "text", ["[a](https://example.org/x.md)", "[a](#here)", "[a](nowhere.md)", "```sh\n[a](docs/score.md)\n```"]
)
def test_other_links_and_code_stay(text: str, pages: ModuleType) -> None:
    assert pages.rewritten(text, "README.md") == text


def test_no_font_or_script_is_fetched() -> None:
    assert CONFIG["theme"]["font"] is False
    assert "offline" in CONFIG["plugins"]
    assert not {"extra_javascript", "extra_css"} & set(CONFIG)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = shutil.which("mkdocs", path=f"{ROOT / '.venv-docs' / 'bin'}:{Path(sys.executable).parent}")
    if command is None:
        pytest.skip("mkdocs is not installed: `make site` sets it up in .venv-docs")
    done = subprocess.run(
        [command, "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "tutorial.html").is_file()
