"""Hash of the library code that a rule depends on.

Snakemake tracks the script of a rule but not the library behind it. So a rule has, among its params, a hash of every
library module that its driver imports, directly or not. Comments and docstrings do not count.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from annobench.core.paths import SCRIPTS

_PACKAGE = "annobench"
_SAYING = ("annobench", "annobench.core.errors", "annobench.workflow.driver", "annobench.core.paths")


@cache
def code_hash(*modules: str) -> str:
    """Hash (12 hex digits) over `modules` and all library modules that they import, e.g. `annobench.splits.roles`.

    A driver is named by its file stem, e.g. `split_dataset`. Imports under `if TYPE_CHECKING` do not count, nor do the
    modules that only say things (version, messages, logs): a reworded message refits nothing.
    """
    seen: set[str] = set()
    queue = list(modules)
    while queue:
        module = queue.pop()
        if module not in seen and module not in _SAYING:
            seen.add(module)
            queue.extend(_imports(module))
    digest = hashlib.sha256()
    for module in sorted(seen):
        digest.update(f"{module}={_digest(module)};".encode())
    return digest.hexdigest()[:12]


def _path(module: str) -> Path | None:
    base = SCRIPTS / Path(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _tree(module: str) -> ast.Module:
    path = _path(module)
    if path is None:
        raise FileNotFoundError(f"no module '{module}' under {SCRIPTS}")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0] = ast.Pass()  # a docstring
    return tree


@cache
def _digest(module: str) -> str:
    return hashlib.sha256(ast.dump(_tree(module)).encode()).hexdigest()


@cache
def _imports(module: str) -> tuple[str, ...]:
    modules: set[str] = set()
    for name in _imported_names(_tree(module)):
        parts = name.split(".")
        if parts[0] == _PACKAGE:
            # a name may be a module or an object in one; its parent packages are executed as well
            prefixes = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
            modules.update(prefix for prefix in prefixes if _path(prefix))
    modules.update(_plugins(_tree(module)))
    return tuple(sorted(modules))


def _plugins(tree: ast.Module) -> Iterator[str]:
    """Modules of the folder that a module names in PLUGINS: it imports all of them by the names of their files."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PLUGINS":
            folder = ast.literal_eval(node.value)
            for path in sorted((SCRIPTS / _PACKAGE / folder).glob("*.py")):
                yield ".".join([_PACKAGE, *folder.split("/"), path.stem])


def _imported_names(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and child.level == 0:
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        else:
            yield from _imported_names(child)
