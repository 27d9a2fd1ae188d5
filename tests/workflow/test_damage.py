"""Damage of what lies between rules is noticed, named and mended, and never changes a table."""

import random
from pathlib import Path

import pytest

from repo import Repo

MADE_LAST = ("logs", "benchmarks", "report", "figures", "tables", "provenance")  # nothing is computed from these


@pytest.fixture
def repo(done: Repo) -> Repo:
    return done


def flip(file: Path, rng: random.Random) -> bytes:
    """Change one bit of a file; returns what it held."""
    content = file.read_bytes()
    damaged = bytearray(content)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    file.write_bytes(damaged)
    return content


@pytest.mark.slow
def test_random_bits_in_every_file_between_rules(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    from annobench.core.errors import DataError
    from annobench.workflow import seals

    monkeypatch.chdir(repo.folder)
    results = Path("results")
    files = [
        path
        for path in sorted(results.rglob("*"))
        if path.is_file()
        and not path.is_symlink()
        and path.stat().st_size
        and path.parts[1] not in (*MADE_LAST, ".seals", "README.md")
        and "model" not in path.parts
        and not path.name.startswith(".snakemake")
    ]
    assert len(files) > 30
    unsealed = [path for path in files if not Path(results, seals.FOLDER, *path.parts[1:]).is_file()]
    assert unsealed == []
    rng = random.Random(1)
    for case in range(500):
        file = files[case % len(files)]
        whole = flip(file, rng)
        with pytest.raises(DataError, match="is not what was written here"):
            seals.check([str(file)])
        file.write_bytes(whole)
        seals.check([str(file)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "reader"),
    [
        ("data/*/cells.h5ad", "fit_method"),
        ("data/*/obs.parquet", "score_fit"),
        ("splits/**/seed1.parquet", "fit_method"),
        ("fits/**/probabilities.npz", "score_fit"),
        ("scores/**/seed1.confusion.parquet", "aggregate_scores"),
    ],
)
def test_a_damaged_file_stops_its_readers_and_is_made_again(repo: Repo, pattern: str, reader: str) -> None:
    tables = {name: repo.table(name) for name in ("summary", "tests", "confusion", "classes", "splits")}
    file = sorted((repo.folder / "results").glob(pattern))[0]
    flip(file, random.Random(2))
    printed = repo.run("tiny", "--forcerun", reader, ok=False)
    where = file.relative_to(repo.folder)
    assert f"{where}: is not what was written here: it was changed or damaged since. Delete " in printed
    named = printed.partition(f"{where}: is not what was")[2].partition("Delete ")[2].partition(",")[0]
    (repo.folder / named).unlink()
    repo.run()
    assert "nothing to be done" in repo.run()
    assert {name: repo.table(name) for name in tables} == tables


def test_a_file_that_is_gone_is_made_again(repo: Repo) -> None:
    fits = repo.folder / "results" / "fits"
    gone = [
        sorted(fits.rglob("predictions.parquet"))[0],
        sorted((repo.folder / "results" / "scores").rglob("seed1.parquet"))[0],
    ]
    for file in gone:
        file.unlink()
    repo.run()
    assert all(file.is_file() for file in gone)
    assert "nothing to be done" in repo.run()
