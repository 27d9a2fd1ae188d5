"""`annobench check-method`: the contract tests of one method, as its author runs them."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from annobench.config.entities import load_method
from annobench.core.errors import ConfigError
from annobench.core.paths import ROOT
from annobench.workflow.own.listing import lack_of

TESTS = ("tests/contract/test_methods.py", "tests/contract/test_embedders.py")
_TOOLS = ("pytest", "xdist", "hypothesis")  # of requirements-dev.txt
_NOTHING_COLLECTED = 5  # exit status of pytest


def check_method(name: str, arguments: Sequence[str] = (), *, root: Path = ROOT) -> int:
    """Run the contract tests of a method; returns 0 where it keeps the contract, else 1.

    Parameters
    ----------
    name
        Of a file in config/methods.
    arguments
        For pytest.
    root
        The repository.

    Raises
    ------
    ConfigError
        For a method that does not load or that no contract test can run, and where the tools for tests are missing.
    """
    if not name:
        raise ConfigError("NAME: is missing; name a method: make check-method NAME=my_method")
    method = load_method(name, root, "NAME")
    if missing := [tool for tool in _TOOLS if find_spec(tool) is None]:
        raise ConfigError(
            f"the tools for tests are not installed here ({', '.join(missing)}); `make env-dev` adds them, and so does "
            f"`make check-method NAME={name}`"
        )
    if not (root / TESTS[0]).is_file():
        raise ConfigError(f"{root}: has no {TESTS[0]}; run this in a clone of the repository")
    if lack := lack_of(name, root):
        print(
            f"note: {name} {lack.short}{f' ({lack.text})' if lack.text else ''}; its tests may be skipped", flush=True
        )
    options = ["-n", "0", "--quiet", "--no-header", "--tb", "short", "-m", "", "--method", name]
    status = subprocess.run([sys.executable, "-m", "pytest", *TESTS, *options, *arguments], cwd=root).returncode
    if status == _NOTHING_COLLECTED:
        raise ConfigError(
            f"{name}: no contract test runs an implementation '{method['implementation']}' with these parameters: it "
            "needs a file, a checkpoint or predictions of its own, or it is a method of this repository with tests of "
            "its own (tests/unit/methods). Run it in a small study instead"
        )
    said = "keeps the contract" if status == 0 else "does not keep the contract, which docs/method.md describes"
    print(f"{name} {said}")
    return int(status != 0)
