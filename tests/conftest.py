"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest

from annobench.core.paths import ROOT
from annobench.core.processes import THREAD_VARIABLES

# Read when numpy is imported, below: tests run side by side, and threads of a library that wait for work keep the
# cores busy meanwhile.
for variable in THREAD_VARIABLES:
    os.environ.setdefault(variable, "1")

from annobench.data.ontology import from_wheel  # noqa: E402
from annobench.ontology import Ontology  # noqa: E402

RELEASE = "2026-03-26"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Groups share what is costly to make; a pytest-xdist that does not see them would make it several times."""
    grouped = item.get_closest_marker("xdist_group")
    if grouped and getattr(item.config.option, "loadgroup", False) and "@" not in item.nodeid:
        pytest.fail("pytest-xdist does not group tests; take the versions of requirements-dev.txt", pytrace=False)


@pytest.fixture(scope="session")
def ontology() -> Ontology:
    """The release that the default study uses."""
    return from_wheel(RELEASE)


@pytest.fixture(scope="session")
def ontology_file(ontology: Ontology, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as the JSON that jobs read."""
    path = tmp_path_factory.mktemp("ontology") / "cl.json"
    ontology.save(path)
    return path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("ANNOBENCH_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data for development is not here: set ANNOBENCH_DATA (looked in {folder.name})")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the user's cache of downloads."""
    monkeypatch.setenv("ANNOBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
