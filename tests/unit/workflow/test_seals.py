"""A file that changed after a job had written it is noticed by the next that reads it."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annobench.core.errors import DataError
from annobench.workflow import seals


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "fits" / "a" / "model").mkdir(parents=True)
    return tmp_path / "results"


def test_files_as_they_were_written_pass(folder: Path) -> None:
    (folder / "a.parquet").write_bytes(b"abc")
    seals.seal(["results/a.parquet"])
    seals.check(["results/a.parquet", "results/not_there", "config/config.yaml"])
    os.utime(folder / "a.parquet", ns=(1, 1))  # copied, or unpacked: the bytes count
    seals.check(["results/a.parquet"])


@given(content=st.binary(min_size=1, max_size=2000), bit=st.integers(0, 10**6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_any_bit_counts(folder: Path, content: bytes, bit: int) -> None:
    file = folder / "a.bin"
    file.write_bytes(content)
    seals.seal(["results/a.bin"])
    changed = bytearray(content)
    changed[bit // 8 % len(content)] ^= 1 << bit % 8
    file.write_bytes(changed)
    with pytest.raises(DataError, match=r"results/a.bin: is not what was written here.*Delete results/a.bin"):
        seals.check(["results/a.bin"])


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_cut_file_and_another_file_in_its_place(folder: Path, cut: int) -> None:
    for seed in "12":
        (folder / f"seed{seed}.parquet").write_bytes(f"se{seed}".encode())
    seals.seal(["results/seed1.parquet", "results/seed2.parquet"])
    (folder / "seed1.parquet").write_bytes((folder / "seed2.parquet").read_bytes()[: 3 - cut])
    with pytest.raises(DataError, match="seed1"):
        seals.check(["results/seed2.parquet", "results/seed1.parquet"])


def test_a_run_record_stands_for_what_the_fit_left(folder: Path) -> None:
    fit = folder / "fits" / "a"
    for name in ("run.json", "probabilities.npz", "predictions.parquet"):
        (fit / name).write_text(name)
    outputs = ["results/fits/a/predictions.parquet", "results/fits/a/run.json"]
    seals.seal(outputs)
    seals.check(outputs)
    (fit / "probabilities.npz").write_text("other")
    seals.check(outputs[:1])
    with pytest.raises(DataError, match=r"probabilities.npz: is not .* Delete results/fits/a/run.json, and run again"):
        seals.check(outputs)


def test_files_of_a_folder(folder: Path) -> None:
    (folder / "tokens" / "deep").mkdir(parents=True)
    (folder / "tokens" / "deep" / "a.npz").write_text("a")
    (folder / "elsewhere").write_text("large")
    (folder / "tokens" / "link").symlink_to(folder / "elsewhere")
    seals.seal(["results/tokens"])
    (folder / "elsewhere").write_text("changed by the user")  # seen by those who read it
    seals.check(["results/tokens"])
    (folder / "tokens" / "deep" / "a.npz").write_text("b")
    with pytest.raises(DataError, match=r"a.npz: .* Delete results/tokens, and"):
        seals.check(["results/tokens"])


def test_large_files_are_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "_LARGE", 3)
    file = folder / "a.bin"
    file.write_bytes(b"abc")
    seals.seal(["results/a.bin"])
    read: list[str] = []
    whole = seals.sha256_of
    monkeypatch.setattr(seals, "sha256_of", lambda path: read.append(str(path)) or whole(path))
    seals.check(["results/a.bin"])
    assert not read
    os.utime(file, ns=(1, 1))
    seals.check(["results/a.bin"])
    seals.check(["results/a.bin"])
    assert len(read) == 1  # once, after it had been copied
    file.write_bytes(b"abd")
    with pytest.raises(DataError):
        seals.check(["results/a.bin"])


def test_a_damaged_seal_is_no_pass(folder: Path) -> None:
    (folder / "a.bin").write_bytes(b"abc")
    seals.seal(["results/a.bin"])
    for text in ("", "3", "3 0 0", "x y z w"):
        (folder / ".seals" / "a.bin").write_text(text)
        with pytest.raises(DataError, match=r"delete results/.seals/a.bin"):
            seals.check(["results/a.bin"])
