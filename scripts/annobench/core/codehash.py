"""Hash of the library code that a rule depends on.

Snakemake tracks the script of a rule but not the library behind it. So a rule has, among its params, a hash of every
library module that its driver imports, directly or not. Comments and docstrings do not count.
"""

import ast
import atexit
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from annobench.core.paths import ROOT, SCRIPTS

_PACKAGE = "annobench"
_SAYING = ("annobench", "annobench.core.errors", "annobench.workflow.driver", "annobench.core.paths")


@cache
def code_hash(*modules: str, within: str = "") -> str:
    """Hash (12 hex digits) over `modules` and all library modules that they import, e.g. `annobench.splits.roles`;
    of what they import only those whose name begins with `within`.

    A driver is named by its file stem, e.g. `split_dataset`. Imports under `if TYPE_CHECKING` do not count, nor do the
    modules that only say things (version, messages, logs): a reworded message refits nothing.
    """
    seen: set[str] = set()
    queue = list(modules)
    while queue:
        module = queue.pop()
        if module not in seen and module not in _SAYING:
            seen.add(module)
            queue.extend(name for name in _imports(module) if name.startswith(within))
    digest = hashlib.sha256()
    for module in sorted(seen):
        digest.update(f"{module}={_facts(module).digest};".encode())
    return digest.hexdigest()[:12]


@cache
def _path(module: str) -> Path | None:
    base = SCRIPTS / Path(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@dataclass(frozen=True)
class _Facts:
    """What the hash needs of a file: hash of its code, names that it imports, folder of its plugins."""

    digest: str
    imports: Sequence[str]
    plugins: str | None


@cache
def _facts(module: str) -> _Facts:
    path = _path(module)
    if path is None:
        raise FileNotFoundError(f"no module '{module}' under {SCRIPTS}")
    source = path.read_bytes()
    key = hashlib.sha256(source).hexdigest()
    known = _known()
    if key not in known:
        known[key] = _read(source)
    return known[key]


@cache
def _known() -> dict[str, _Facts]:
    """Facts of files that an earlier process read, by the hash of the file; kept for the next one when this one ends.

    Reading all of the library takes half a second, and every job of a cluster would do it.
    """
    # another Python has other syntax trees, and another version of this file reads them in another way
    version = hashlib.sha256(sys.version.encode() + Path(__file__).read_bytes()).hexdigest()[:12]
    file = ROOT / ".snakemake" / f"code_{version}.json"
    known = {}
    with suppress(OSError, ValueError, TypeError, AttributeError):  # none yet, or a broken one
        known = {key: _Facts(**facts) for key, facts in json.loads(file.read_text(encoding="utf-8")).items()}
    before = len(known)

    def keep() -> None:
        if len(known) > before and file.parent.is_dir():
            new = file.with_suffix(f".{os.getpid()}")
            with suppress(OSError):
                new.write_text(json.dumps({key: vars(facts) for key, facts in known.items()}), encoding="utf-8")
                new.replace(file)

    atexit.register(keep)
    return known


def _read(source: bytes) -> _Facts:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0] = ast.Pass()  # a docstring
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return _Facts(digest, sorted(set(_imported_names(tree))), _plugin_folder(tree))


@cache
def _imports(module: str) -> tuple[str, ...]:
    modules: set[str] = set()
    facts = _facts(module)
    for name in facts.imports:
        parts = name.split(".")
        if parts[0] == _PACKAGE:
            # a name may be a module or an object in one; its parent packages are executed as well
            prefixes = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
            modules.update(prefix for prefix in prefixes if _path(prefix))
    if facts.plugins:
        for path in (SCRIPTS / _PACKAGE / facts.plugins).glob("*.py"):
            modules.add(".".join([_PACKAGE, *facts.plugins.split("/"), path.stem]))
    return tuple(sorted(modules))


def _plugin_folder(tree: ast.Module) -> str | None:
    """The folder that a module names in PLUGINS: it imports all files there by their names."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PLUGINS":
            return str(ast.literal_eval(node.value))
    return None


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
