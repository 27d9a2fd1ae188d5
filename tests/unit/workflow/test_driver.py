"""What is promised: a job's words go to its log, tracebacks too; the user hears what to do."""

import subprocess
import sys
from pathlib import Path

import pytest

from annobench.core.paths import SCRIPTS

HEAD = (
    "import sys; from types import SimpleNamespace\n"
    "from annobench.workflow.driver import job\nfrom annobench.core.errors import DataError\n"
    "snakemake = SimpleNamespace(log=[sys.argv[1]], rule='some_rule', input=[], output=[])\n"
    "with job(snakemake) as say:\n"
)


def run(tmp_path: Path, body: str) -> tuple[int, str, str]:
    log = tmp_path / "logs" / "a.log"
    done = subprocess.run(
        [sys.executable, "-c", HEAD + "".join(f"    {line}\n" for line in body.splitlines()), str(log)],
        capture_output=True,
        text=True,
        cwd=SCRIPTS,
    )
    return done.returncode, done.stdout + done.stderr, log.read_text()


def test_output_goes_to_the_log_and_say_to_both(tmp_path: Path) -> None:
    body = "print('words')\nimport os, subprocess\nsubprocess.run(['echo', 'of a child'])\nsay('hello')"
    status, terminal, log = run(tmp_path, body)
    assert status == 0
    assert terminal == "  some_rule: hello\n"
    assert sorted(log.splitlines()) == ["hello", "of a child", "words"]


@pytest.mark.parametrize(
    ("body", "terminal_part", "log_part"),
    [
        ("raise DataError('f.h5ad: is empty')", "some_rule: f.h5ad: is empty", "DataError: f.h5ad: is empty"),
        ("1 / 0", "This is a bug; the traceback is in", "ZeroDivisionError"),
        ("raise OSError(28, 'No space left on device')", "the disk is full", "No space left"),
    ],
)
def test_errors_are_messages_and_tracebacks_stay_in_the_log(
    tmp_path: Path, body: str, terminal_part: str, log_part: str
) -> None:
    status, terminal, log = run(tmp_path, body)
    assert status == 1
    assert terminal_part in terminal
    assert "Traceback" not in terminal
    assert "Traceback" in log
    assert log_part in log
