"""What is promised: a fit reads finished fits of the same cells, says so, and is skipped where there is none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from annobench.config.plugins import method_facts
from annobench.core.errors import DataError
from annobench.core.files import sha256_of
from annobench.core.parquet import read_columns
from annobench.fit import predictions_file
from annobench.fit.embedding import write_embedding
from annobench.fit.job import FitJob
from annobench.fit.method import Embedding
from annobench.fit.parent import run_fit
from annobench.fit.predictions import Predictions
from annobench.fit.run_record import RunRecord
from annobench.fit.uses import folders_of
from helpers import fit_job, run_record

DATA = "0" * 64  # what helpers.fit_job says of its cells
USES = {"embedding": {"output": "embedding", "methods": ["base"]}}


@pytest.fixture
def base(jobs: dict[str, dict[str, str]], tmp_path: Path) -> Path:
    """The fit of a method `base` whose embedding is drawn at random, in an order of its own."""
    folder = tmp_path / "base" / "seed1"
    folder.mkdir(parents=True)
    roles = read_columns(jobs["memory"]["split"])
    ids = {
        "train": np.asarray(read_columns(jobs["memory"]["train"])["cell_id"], dtype=object)[::-1],
        "test": np.asarray(roles["cell_id"], dtype=object)[np.asarray(roles["role"]) == "test"][::-1],
    }
    rng = np.random.default_rng(0)
    parts = [Embedding(names, rng.normal(size=(len(names), 3))) for names in ids.values()]
    write_embedding(folder / "embedding.npz", ids, parts)
    run_record(folder / "run.json", method="base", outputs=("embedding",), data_sha256=DATA, code="c", fit_seconds=2.5)
    return folder


def probed(files: dict[str, str], base: Path, folder: Path) -> RunRecord:
    """The record of a probe of that fit."""
    job = fit_job(files, "probe", uses=USES, needs={"cells": "none"})
    whole = job.to_params()
    whole["files"]["uses"] = folders_of([f"{base}/run.json"])
    run_fit(type(job).from_params(whole), folder / "fit", folder / "attempt.json")
    return RunRecord.read(folder / "fit" / "run.json")


def change(base: Path, **changes: Any) -> None:
    text = json.loads((base / "run.json").read_text())
    (base / "run.json").write_text(json.dumps(text | changes))


def test_cells_are_joined_by_id_and_the_record_says_what_was_read(
    jobs: dict[str, dict[str, str]], base: Path, tmp_path: Path
) -> None:
    files = jobs["memory"]
    record = probed(files, base, tmp_path)
    assert (record.status, record.reason) == ("ok", None)
    (used,) = record.uses.values()
    assert list(record.uses) == ["base"]
    assert (used.role, used.output, used.data_sha256, used.code) == ("embedding", "embedding", DATA, "c")
    assert used.sha256 == sha256_of(base / "embedding.npz")
    assert (used.seconds, record.sees_test_cells) == (2.5, False)
    assert not record.has("model")
    # the same by hand, with the cells in the order of the split
    archive = np.load(base / "embedding.npz")
    place = dict(zip(archive["cell_ids"].tolist(), archive["embedding"].astype(float), strict=True))
    train, found = read_columns(files["train"]), predictions_file.read(tmp_path / "fit" / "predictions.parquet")
    scaler = StandardScaler().fit(points := np.array([place[cell] for cell in train["cell_id"]]))
    model = LogisticRegression(max_iter=1000).fit(scaler.transform(points), train["label_id"].astype(str))
    expected = model.predict(scaler.transform(np.array([place[cell] for cell in found.cell_ids])))
    assert found.labels[:, 0].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("status", "words"),
    [("failed", "failed"), ("skipped", "was skipped"), ("killed", "was killed"), ("timeout", "ran out of time")],
)
def test_without_what_it_reads_a_fit_is_skipped_and_says_whose_fault_it_is(
    jobs: dict[str, dict[str, str]], base: Path, tmp_path: Path, status: str, words: str
) -> None:
    change(base, status=status, reason="of this", outputs=[])
    record = probed(jobs["memory"], base, tmp_path)
    assert record.status == "skipped"
    assert record.reason == f"it reads the embedding of 'base' (uses.embedding), whose fit {words}: of this"
    assert record.uses == {}


def test_a_fit_that_left_no_embedding_is_of_no_use(jobs: dict[str, dict[str, str]], base: Path, tmp_path: Path) -> None:
    change(base, outputs=["predictions"], left_out={"embedding": "too large"})
    record = probed(jobs["memory"], base, tmp_path)
    assert record.status == "skipped"
    assert record.reason == "it reads the embedding of 'base' (uses.embedding), whose fit left none: too large"


def test_a_fit_of_other_cells_is_refused(jobs: dict[str, dict[str, str]], base: Path, tmp_path: Path) -> None:
    change(base, data_sha256="1" * 64)
    with pytest.raises(DataError, match="was made from other cells than those of"):
        probed(jobs["memory"], base, tmp_path)


def test_who_reads_a_fit_that_saw_the_test_cells_has_seen_them(
    jobs: dict[str, dict[str, str]], base: Path, tmp_path: Path
) -> None:
    change(base, sees_test_cells=True)
    assert probed(jobs["memory"], base, tmp_path).sees_test_cells


def test_cells_that_are_not_embedded_fail_the_fit(jobs: dict[str, dict[str, str]], base: Path, tmp_path: Path) -> None:
    archive = np.load(base / "embedding.npz")
    train = archive["roles"] == "train"
    ids = {"test": archive["cell_ids"][~train].astype(object)}
    write_embedding(base / "embedding.npz", ids, [Embedding(ids["test"], archive["embedding"][~train])])
    record = probed(jobs["memory"], base, tmp_path)
    assert record.status == "failed"
    assert f"the embedding of 'base' lacks {train.sum()} of {train.sum()} cells" in str(record.reason)
    assert "keep.embedding_roles" in str(record.reason)


def voter(files: dict[str, str], folder: Path, name: str, **changes: Any) -> Path:
    """The fit of a method that labels every test cell as its name says, in an order of its own."""
    place = folder / name / "seed1"
    place.mkdir(parents=True)
    roles = read_columns(files["split"])
    ids = np.asarray(roles["cell_id"], dtype=object)[np.asarray(roles["role"]) == "test"][::-1]
    labels = {"b_cells": "CL:0000236"}.get(name.split("_of")[0], "CL:0000084")
    predictions_file.write(place / "predictions.parquet", Predictions.from_labels(ids, [labels] * len(ids)))
    facts = {"outputs": ("predictions",), "data_sha256": DATA, "code": "c", "fit_seconds": 1.0}
    run_record(place / "run.json", method=name, **facts | changes)
    return place


def voted(files: dict[str, str], places: list[Path], folder: Path) -> RunRecord:
    """The record of a vote of these fits."""
    uses = {"votes": {"output": "predictions", "methods": [p.parent.name for p in places], "several": True}}
    facts = method_facts("vote")
    abilities = facts.abilities.to_params()
    whole = fit_job(files, "vote", uses=uses, needs={"cells": "none"}, abilities=abilities).to_params()
    whole["files"]["uses"] = folders_of(f"{place}/run.json" for place in places)
    run_fit(FitJob.from_params(whole), folder / "fit", folder / "attempt.json")
    return RunRecord.read(folder / "fit" / "run.json")


def test_a_vote_does_without_members_that_failed_and_says_so(jobs: dict[str, dict[str, str]], tmp_path: Path) -> None:
    files = jobs["memory"]
    names = ("b_cells", "t_cells_of_one", "t_cells_of_two")
    places = [voter(files, tmp_path, name) for name in names]
    places.append(voter(files, tmp_path, "b_cells_of_none", status="failed", reason="of this", outputs=()))
    record = voted(files, places, tmp_path)
    assert (record.status, record.reason) == ("ok", None)
    assert sorted(record.uses) == sorted(names)
    assert {used.role for used in record.uses.values()} == {"votes"}
    assert record.notes["members_absent"] == 1
    (warning,) = record.notes["warnings"]
    assert warning == (
        "'b_cells_of_none' does not vote: it reads the predictions of 'b_cells_of_none' (uses.votes), whose fit "
        "failed: of this"
    )
    found = predictions_file.read(tmp_path / "fit" / "predictions.parquet")
    assert set(found.labels[:, 0]) == {"CL:0000084"}
    assert found.confidence == pytest.approx(2 / 3)


def test_one_member_is_no_vote(jobs: dict[str, dict[str, str]], tmp_path: Path) -> None:
    files = jobs["memory"]
    places = [voter(files, tmp_path, "b_cells"), voter(files, tmp_path, "t_cells", status="killed", reason="memory")]
    record = voted(files, places, tmp_path)
    assert record.status == "skipped"
    assert "1 of 2 members can vote, expected two or more" in str(record.reason)
    assert "whose fit was killed: memory" in str(record.reason)


def test_a_vote_with_members_of_other_cells_is_refused(jobs: dict[str, dict[str, str]], tmp_path: Path) -> None:
    files = jobs["memory"]
    places = [voter(files, tmp_path, "b_cells"), voter(files, tmp_path, "t_cells", data_sha256="1" * 64)]
    with pytest.raises(DataError, match="was made from other cells than those of"):
        voted(files, places, tmp_path)
