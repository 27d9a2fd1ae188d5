"""The tests of tests/census, each file in a process of its own.

The native library of the Census client was seen to die (a segmentation fault, or malloc that finds its memory damaged)
in some processes that open dozens of releases one after the other, always inside its own calls. A job of the workflow
opens one or two, and is started again where it dies. Here a death would take a worker of pytest along: a process that
died of a signal is given another chance, a test that failed is not.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from annobench.paths import ROOT

FILES = sorted(path.name for path in (ROOT / "tests" / "census").glob("test_*.py"))


@pytest.mark.parametrize("file", FILES)
def test_in_a_process_of_its_own(file: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path / 'own'}",
    ]
    environment = os.environ | {"ANNOBENCH_OWN_PROCESS": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    for _ in range(3):
        done = subprocess.run(
            [*command, f"tests/census/{file}"], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        if done.returncode >= 0:
            break
        print(f"{file} died of signal {-done.returncode}\n{done.stderr[-2000:]}", file=sys.stderr)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
