"""The order of the rooms, kept by the imports of every file, lazy ones included."""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from annobench.core.paths import ROOT, SCRIPTS

LIBRARY = SCRIPTS / "annobench"
FLOORS = [
    {"core"},
    {"config", "ontology", "cells"},
    {"data", "splits", "fit"},
    {"methods", "score"},
    {"tables", "figures", "report"},
    {"workflow"},  # asks rooms what a rule needs to know; nothing of a chapter imports it
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
PLUGINS = ("methods", "tables", "figures")
POSITIONAL = 5
ANY_IN_SIGNATURES = 34  # `Any` itself
ANY_OR_ALIAS = 113  # `Any`, and names such as Document = dict[str, Any], in signatures
ANY_MAPPINGS = 23  # dict[str, Any] and Mapping[str, Any], anywhere


def module_of(path: Path) -> str:
    parts = path.relative_to(SCRIPTS).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in sorted(LIBRARY.rglob("*.py"))}


def imported(tree: ast.AST) -> set[str]:
    """Modules of the library that a file imports, at the top or inside functions, for types too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            while parts and ".".join(parts) not in FILES:
                parts.pop()
            if len(parts) > 1:
                found.add(".".join(parts))
    return found


@cache
def graph() -> dict[str, set[str]]:
    return {module: imported(ast.parse(path.read_text(encoding="utf-8"))) - {module} for module, path in FILES.items()}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_file_lies_in_a_room_of_a_floor() -> None:
    assert {room(module) for module in FILES if module != "annobench"} == set(FLOOR)


@pytest.mark.parametrize("module", [module for module in FILES if module != "annobench"])
def test_imports_go_down(module: str) -> None:
    """A room imports rooms of the floors below; beside each other lie only rooms that do not need each other."""
    wrong = {
        other
        for other in graph()[module]
        if room(other) != room(module) and room(other) and FLOOR[room(other)] >= FLOOR[room(module)]
    }
    assert not wrong, f"{module} imports {sorted(wrong)}"


def ring(arrows: dict[str, set[str]]) -> list[str] | None:
    """A ring of nodes that reach each other, or None."""
    state: dict[str, int] = {}
    path: list[str] = []

    def visit(node: str) -> list[str] | None:
        state[node] = 1
        path.append(node)
        for other in sorted(arrows[node]):
            if state.get(other) == 1:
                return path[path.index(other) :]
            if other not in state and (found := visit(other)):
                return found
        path.pop()
        state[node] = 2
        return None

    return next((found for node in sorted(arrows) if node not in state and (found := visit(node))), None)


def test_no_files_import_each_other_in_a_ring() -> None:
    assert ring(graph()) is None


@pytest.mark.parametrize("folder", sorted({module.rsplit(".", 1)[0] for module in FILES if "." in module}))
def test_the_parts_of_a_folder_form_no_ring(folder: str) -> None:
    """Files and folders that lie in one folder, each folder taken as one."""
    depth = folder.count(".") + 2

    def part(module: str) -> str:
        return ".".join(module.split(".")[:depth])

    inside = {module for module in FILES if module.startswith(f"{folder}.")}
    arrows: dict[str, set[str]] = {part(module): set() for module in inside}
    for module in inside:
        arrows[part(module)] |= {part(other) for other in graph()[module] & inside} - {part(module)}
    assert ring(arrows) is None


def test_every_chapter_has_a_module_of_what_its_rules_ask_for() -> None:
    chapters = {path.stem for path in (ROOT / "workflow" / "rules").glob("*.smk")}
    assert chapters <= {path.stem for path in (LIBRARY / "workflow").glob("*.py")}


def test_every_chapter_has_a_room() -> None:
    """`common` is of all; cells of the Census are data, and so are checkpoints and tokens."""
    chapters = {path.stem for path in (ROOT / "workflow" / "rules").glob("*.smk")} - {"common", "census", "checkpoints"}
    assert chapters <= {path.name for path in LIBRARY.iterdir() if path.is_dir()}


@pytest.mark.parametrize("room", PLUGINS)
def test_tests_mirror_the_rooms(room: str) -> None:
    assert (ROOT / "tests" / "unit" / room).is_dir()


def test_what_the_snakefile_imports_loads_neither_numpy_nor_pandas() -> None:
    code = (
        "import sys; from annobench.core.paths import ROOT; "
        "from annobench.config.schema import load_yaml; from annobench.config.study import load_study; "
        "import annobench.workflow.common; "
        "load_study(load_yaml(ROOT / 'config' / 'config.yaml'), ROOT); "
        "print(sorted({'numpy', 'pandas', 'scipy', 'anndata', 'torch', 'pyarrow'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def trees() -> dict[Path, ast.Module]:
    """Every Python file below scripts/, with the drivers."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SCRIPTS.rglob("*.py"))}


def functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def annotations(function: Function) -> list[str]:
    """The types in a signature."""
    given = function.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    types = [one.annotation for one in arguments if one is not None] + [function.returns]
    return [ast.unparse(one) for one in types if one is not None]


def is_kernel(function: Function) -> bool:
    """Whether numba compiles a function: compiled code takes no keywords."""
    return any(re.match(r"(njit|intrinsic)\b", ast.unparse(one)) for one in function.decorator_list)


def too_many(tree: ast.AST) -> list[str]:
    """Functions with more positional arguments than POSITIONAL, but for kernels and autograd functions.

    `forward` and `backward` of the latter are called by PyTorch, which takes no keywords.
    """
    exempt = {
        id(function)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and "torch.autograd.Function" in map(ast.unparse, node.bases)
        for function in node.body
        if isinstance(function, Function) and function.name in ("forward", "backward")
    }
    wrong = []
    for function in functions(tree):
        names = [one.arg for one in [*function.args.posonlyargs, *function.args.args]]
        if names[:1] in (["self"], ["cls"]):
            names = names[1:]
        if len(names) > POSITIONAL and not is_kernel(function) and id(function) not in exempt:
            wrong.append(function.name)
    return wrong


def test_no_function_takes_more_than_five_positional_arguments() -> None:
    wrong = {str(path.relative_to(ROOT)): names for path, tree in trees().items() if (names := too_many(tree))}
    assert not wrong, "make arguments keyword-only"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def f(a, b, c, d, e): ...", []),
        ("def f(a, b, c, d, e, f): ...", ["f"]),
        ("def f(a, b, c, d, e, *, f, g): ...", []),
        ("def f(a, b, /, c, d, e, f): ...", ["f"]),
        ("class A:\n    def f(self, a, b, c, d, e): ...", []),
        ("class A:\n    def f(self, a, b, c, d, e, f): ...", ["f"]),
        ("class A:\n    def forward(ctx, a, b, c, d, e, f): ...", ["forward"]),
        ("class A(torch.autograd.Function):\n    def forward(ctx, a, b, c, d, e, f): ...", []),
        ("class A(torch.autograd.Function):\n    def apply(ctx, a, b, c, d, e, f): ...", ["apply"]),
        ("@njit\ndef f(a, b, c, d, e, f): ...", []),
        ("@njit(fastmath=True)\ndef f(a, b, c, d, e, f): ...", []),
        ("@cache\ndef f(a, b, c, d, e, f): ...", ["f"]),
    ],
)
def test_positional_arguments_are_counted(code: str, found: list[str]) -> None:
    assert too_many(ast.parse(code)) == found


def aliases_of_any() -> set[str]:
    """Names of types that are made of `Any`."""
    return {
        target.id
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and re.match(r"(?:\w+\[.*)?\bAny\b", ast.unparse(node.value))
    }


def named(words: set[str]) -> int:
    """How often some names occur in the signatures of all functions."""
    pattern = re.compile(rf"\b({'|'.join(sorted(words))})\b")
    texts = [text for tree in trees().values() for function in functions(tree) for text in annotations(function)]
    return sum(len(pattern.findall(text)) for text in texts)


def test_any_does_not_spread() -> None:
    """Lower a limit when a count falls; never raise one."""
    mappings = re.compile(r"\b(dict|Mapping)\[str, Any\]")
    assert named({"Any"}) <= ANY_IN_SIGNATURES
    assert named({"Any"} | aliases_of_any()) <= ANY_OR_ALIAS
    assert sum(len(mappings.findall(path.read_text(encoding="utf-8"))) for path in trees()) <= ANY_MAPPINGS
