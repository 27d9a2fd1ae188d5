"""What is promised: a fit that did not succeed says why in one line, once, with its last output and its log."""

from pathlib import Path

import pytest

from annobench.fit.parent import failure
from annobench.fit.run_record import RunRecord
from helpers import run_record

REASON = "a.csv, line 2: has 4 fields, expected 3; is '0,93' a number?"


@pytest.mark.parametrize(
    ("log", "quoted"),
    [
        (f"starting\nannobench.core.errors.PredictionError: {REASON}\n", ""),
        (f"starting\n{REASON}\n", ""),
        ("starting\nSegmentation fault\n\n", "; it ended with 'Segmentation fault'"),
        ("ValueError: something else\n", "; it ended with 'ValueError: something else'"),
        ("", ""),
    ],
)
def test_the_last_line_is_quoted_unless_the_reason_says_it(tmp_path: Path, log: str, quoted: str) -> None:
    (tmp_path / "x.log").write_text(log)
    run_record(tmp_path / "run.json", status="failed", reason=REASON, dataset="d", split="s", method="m", seed=1)
    found = failure(RunRecord.read(tmp_path / "run.json"), tmp_path / "x.log")
    assert found == f"d s m seed 1: failed: {REASON}{quoted}; log: {tmp_path / 'x.log'}"


def test_fits_that_succeeded_or_were_skipped_say_nothing(tmp_path: Path) -> None:
    for status in ("ok", "skipped"):
        run_record(tmp_path / "run.json", status=status)
        assert failure(RunRecord.read(tmp_path / "run.json"), tmp_path / "none.log") is None
