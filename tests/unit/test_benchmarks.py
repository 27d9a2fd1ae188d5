"""What is promised of benchmarks/: no ring of files, nothing private of the library, and nothing that is not there."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from test_architecture import ring

from annobench.core.paths import ROOT, SCRIPTS

FOLDER = ROOT / "benchmarks"
FILES = sorted(FOLDER.rglob("*.py"))
FILES = [path for path in FILES if not any(part.startswith(".") for part in path.relative_to(FOLDER).parts)]
COMMANDS = [path for path in FILES if "__main__" in path.read_text(encoding="utf-8") and path.name != "worker.py"]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_file(name: str) -> Path | None:
    """The file of a module of the library or of the benchmarks."""
    base = (SCRIPTS if name.startswith("annobench") else ROOT) / Path(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imports(path: Path) -> list[tuple[str, str, str]]:
    """(module, name, name in the file) of all that a file imports by `from`, inside functions and relative ones too."""
    package = ".".join(path.relative_to(ROOT).parts[:-1])
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom):
            module = ".".join(part for part in ((package if node.level else ""), node.module or "") if part)
            if not node.level and (FOLDER / f"{module}.py").is_file():
                module = f"benchmarks.{module}"  # a script imports its neighbour by name
            found += [(module, alias.name, alias.asname or alias.name) for alias in node.names]
    return [one for one in found if one[0].split(".")[0] in ("annobench", "benchmarks")]


def test_there_are_benchmarks() -> None:
    assert len(COMMANDS) >= 14


def test_no_files_import_each_other_in_a_ring() -> None:
    arrows: dict[str, set[str]] = {str(path): set() for path in FILES}
    for path in FILES:
        for module, name, _ in imports(path):
            target = module_file(f"{module}.{name}") or module_file(module)
            if target in FILES and target != path:
                arrows[str(path)].add(str(target))
    assert ring(arrows) is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_imports_are_public_and_exist(path: Path) -> None:
    """Lazy imports as well, which nobody would notice until the benchmark has run for an hour."""
    modules = set()
    for module, name, here in imports(path):
        assert not any(part.startswith("_") for part in [*module.split("."), name] if part != "__init__"), name
        if module_file(f"{module}.{name}"):
            modules.add((here, f"{module}.{name}"))
            continue
        file = module_file(module)
        assert file is not None, f"there is no module {module}"
        assert name in defined(file), f"{module} has no {name}"
    for node in ast.walk(tree(path)):
        for name, module in modules:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
                file = module_file(module)
                assert file is not None
                assert not node.attr.startswith("_"), f"{module}.{node.attr} is private"
                assert node.attr in defined(file), f"{module} has no {node.attr}"


@cache
def defined(path: Path) -> set[str]:
    """Names that a file defines or imports at its top."""
    names: set[str] = set()
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    return names


def test_the_table_of_the_readme_lists_every_command() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in COMMANDS:
        if path.parent == FOLDER:
            assert f"benchmarks/{path.name}" in text, path.name


@pytest.mark.slow
@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_every_command_says_what_it_does(path: Path) -> None:
    done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")
