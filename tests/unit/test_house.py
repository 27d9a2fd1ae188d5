"""What is promised of the house itself: thin drivers, literal rules, pins in step, nothing of one machine."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from annobench.config.entities import available, load_method
from annobench.config.schema import validate
from annobench.config.study import load_study
from annobench.core.paths import ROOT, SCRIPTS

DRIVERS = sorted(SCRIPTS.glob("*.py"))
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
NOT_LOCKED = {"spatialcore", "squidpy"}  # of one method that nothing else needs
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib", "py-xgboost": "xgboost"}


def tracked() -> list[Path]:
    """Files of the repository, as git sees them; all files where there is no git."""
    done = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    names = done.stdout.splitlines() if done.returncode == 0 else []
    found = [ROOT / name for name in names] or [p for p in ROOT.rglob("*") if ".venv" not in p.parts]
    return [path for path in found if path.is_file()]


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda path: path.name)
def test_drivers_map_snakemake_to_one_call(driver: Path) -> None:
    text = driver.read_text()
    assert len(text.splitlines()) < 60
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    modules = {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert modules <= {"annobench", "snakemake", "json", "pathlib", "typing"}


def test_every_rule_has_its_driver_and_every_driver_its_rule() -> None:
    text = "".join(path.read_text() for path in RULES)
    called = set(re.findall(r"scripts/(\w+)\.py", text))
    assert called == {driver.stem for driver in DRIVERS}
    rules = set(re.findall(r"^rule (\w+):", text, re.MULTILINE))
    assert rules == called  # the script of a rule has the name of the rule


def test_snakefile_is_a_table_of_contents() -> None:
    assert len((ROOT / "Snakefile").read_text().splitlines()) < 60


@pytest.mark.parametrize("file", RULES, ids=lambda path: path.name)
def test_chapters_say_what_goes_in_and_out(file: Path) -> None:
    head = file.read_text().split('"""')[1]
    assert "\nin " in head
    assert "\nout " in head


def test_rules_have_log_conda_and_resources() -> None:
    for file in RULES:
        for body in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            name = body.split(":")[0]
            wanted = ["log:", "conda:"] + (["benchmark:", "resources:", "code="] if name != "plan" else [])
            assert all(word in body for word in wanted), name


def lock(name: str = "requirements.txt") -> dict[str, str]:
    lines = [line.split(";")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return {n.lower(): v for n, v in (line.split("==") for line in lines if "==" in line)}


@pytest.mark.parametrize("file", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda path: path.stem)
def test_conda_pins_equal_the_lock(file: Path) -> None:
    for entry in yaml.safe_load(file.read_text())["dependencies"]:
        for pin in entry["pip"] if isinstance(entry, dict) else [entry]:
            name, _, version = re.match(r"([\w-]+) ?(=+)?(.*)", pin).groups()
            if name in {"python", "pip", *NOT_LOCKED}:
                assert version or name == "pip"
                continue
            locked = lock("requirements-scvi.txt") | lock("requirements-adaptation.txt") | lock()
            assert locked[CONDA_NAMES.get(name, name)] == version, f"{file.name}: {pin}"


def test_every_method_names_an_environment_that_exists() -> None:
    for name in available("methods", ROOT):
        assert (ROOT / "envs" / f"{load_method(name, ROOT, '')['environment']}.yaml").is_file()


def test_locks_agree_with_each_other() -> None:
    main = lock()
    for name in (
        "requirements-dev.txt",
        "requirements-docs.txt",
        "requirements-scvi.txt",
        "requirements-adaptation.txt",
    ):
        assert {one: version for one, version in lock(name).items() if main.get(one, version) != version} == {}


def test_the_lock_holds_all_that_is_asked_for() -> None:
    groups = ("dev", "docs", "scvi", "adaptation")
    for name in ("requirements", *(f"requirements-{group}" for group in groups)):
        asked = re.findall(r"^([A-Za-z][\w-]*)", (ROOT / f"{name}.in").read_text(), re.MULTILINE)
        assert {a.lower() for a in asked} <= set(lock(f"{name}.txt"))


def test_nothing_of_one_machine_stands_in_the_repository() -> None:
    home = str(Path.home()) + "/"
    for path in tracked():
        text = path.read_bytes()
        assert len(text) < 1_000_000, path
        if path.suffix not in (".png", ".pdf"):
            decoded = text.decode("utf-8")
            assert str(ROOT.parent) + "/" not in decoded, path
            assert home not in decoded, path


def test_readme_commands_name_a_profile_and_exist() -> None:
    text = (ROOT / "README.md").read_text()
    for command in re.findall(r"^ *(?:\.venv/bin/)?snakemake .*$", text, re.MULTILINE):
        assert "--workflow-profile workflow/profiles/" in command, command
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z][a-z-]+)", text)) <= targets


PAGES = [
    ROOT / "README.md",
    *(
        path
        for path in (ROOT / "config", ROOT / "docs", ROOT / "benchmarks", ROOT / "results")
        for path in sorted(path.rglob("*.md"))
    ),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for path in re.findall(r"\]\(((?!http)[^)#]+)", page.read_text()):
        assert (page.parent / path).exists(), path


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    assert len((ROOT / "config" / "README.md").read_text().splitlines()) <= 130


def examples() -> list[tuple[str, str]]:
    """The examples of config/README.md, each with its kind of file."""
    text = (ROOT / "config" / "README.md").read_text()
    found = []
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        keys = set(yaml.safe_load(block))
        marks = {"study": "config", "implementation": "method", "extends": "variant", "targets": "rollup"}
        marks |= {"releases": "release", "columns": "panel", "organism": "checkpoint"}
        marks["source"] = "dataset"
        if isinstance(yaml.safe_load(block).get("columns"), list):
            marks["columns"] = "orthologue"
        found.append((next(kind for key, kind in marks.items() if key in keys), block))
    return found


@pytest.mark.parametrize(("kind", "text"), examples(), ids=lambda value: value if len(value) < 20 else "")
def test_examples_of_the_manual_are_valid(kind: str, text: str) -> None:
    document = yaml.safe_load(text)
    if kind == "config":
        load_study(document, ROOT, "config/README.md")
    elif kind == "variant":
        assert set(document) == {"extends", "label", "summary", "parameters"}
        assert load_method(document["extends"], ROOT, "config/README.md")["implementation"]
    else:
        validate(document, kind, "config/README.md")


def test_every_kind_of_file_has_an_example() -> None:
    known = {"config", "dataset", "method", "variant", "panel", "rollup", "release", "checkpoint", "orthologue"}
    assert {kind for kind, _ in examples()} == known


def test_names_of_test_files_differ() -> None:
    """pytest imports them by their names alone."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)
