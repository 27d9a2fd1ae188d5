"""What is promised: parquet written here is ordinary parquet, and read back as it was."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from annobench.core.errors import DataError
from annobench.core.files import read_json
from annobench.core.parquet import read_columns, write_columns
from annobench.core.paths import SCRIPTS


def test_round_trip_and_pandas_reads_the_same(tmp_path: Path) -> None:
    columns = {
        "text": np.array(["a", "αβ", ""], dtype=object),
        "whole": np.array([1, 2, 3]),
        "real": np.array([0.5, np.nan, np.inf]),
        "flag": np.array([True, False, True]),
        "none": None,
    }
    write_columns(tmp_path / "x.parquet", columns)
    again = read_columns(tmp_path / "x.parquet")
    assert again["text"].tolist() == ["a", "αβ", ""]
    assert again["whole"].tolist() == [1, 2, 3]
    assert np.isnan(again["real"][1])
    assert again["real"][2] == np.inf
    assert np.isnan(again["none"]).all()
    table = pd.read_parquet(tmp_path / "x.parquet")
    assert table["text"].tolist() == ["a", "αβ", ""]
    assert read_columns(tmp_path / "x.parquet", ["whole"]).keys() == {"whole"}


def test_files_of_pandas_are_read_as_well(tmp_path: Path) -> None:
    pd.DataFrame({"a": ["x", "y"], "b": [1.0, None]}).to_parquet(tmp_path / "x.parquet")
    found = read_columns(tmp_path / "x.parquet")
    assert found["a"].tolist() == ["x", "y"]
    assert np.isnan(found["b"][1])


@pytest.mark.parametrize(
    "module", ["annobench.score.score_fit", "annobench.splits.roles", "annobench.splits.balance.select"]
)
def test_short_jobs_do_not_import_pandas(module: str, tmp_path: Path) -> None:
    code = (
        f"import sys, numpy as np, {module}; from annobench.core.parquet import read_columns, write_columns;"
        f"write_columns({str(tmp_path / 'x.parquet')!r}, {{'a': np.array(['b'], dtype=object), 'c': np.array([1.0])}});"
        f"read_columns({str(tmp_path / 'x.parquet')!r});"
        "print([m for m in ('pandas', 'scipy', 'sklearn', 'anndata') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=SCRIPTS, check=True)
    assert done.stdout.strip() == "[]"


def test_a_damaged_file_is_a_message(tmp_path: Path) -> None:
    write_columns(tmp_path / "t.parquet", {"a": [1, 2, 3]})
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="t.parquet: is damaged .*delete it"):
        read_columns(tmp_path / "t.parquet")
    (tmp_path / "r.json").write_text('{"a": ')
    with pytest.raises(DataError, match="r.json: is damaged .*delete it"):
        read_json(tmp_path / "r.json")
