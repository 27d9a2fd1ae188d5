"""What is promised: tokens are made once, from memory and from a store alike; a fit reads those of its cells by id."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from annobench.cells.stored_cells import read_cells
from annobench.core.parquet import read_columns
from annobench.data.checkpoints.fetch import fetch_checkpoint
from annobench.data.checkpoints.spec import CheckpointRecord
from annobench.data.checkpoints.stored import StoredCheckpoint
from annobench.data.tokens.stored import StoredTokens, TokensCard
from annobench.data.tokens.tokenise import tokenise_dataset
from annobench.fit.embedding import read_embedding
from annobench.fit.job import FitJob
from annobench.fit.parent import run_fit
from annobench.fit.run_record import RunRecord
from annobench.fit.uses import folders_of
from annobench.methods.transformer.weights import load_backbone
from checkpoint_folders import RANKS, geneformer_source, spec_of, write_folder, write_geneformer
from helpers import KEEP, fit_job

PART = 97  # cells: several parts, the last one short


@pytest.fixture(scope="module", params=["scgpt", "geneformer"])
def folders(
    request: pytest.FixtureRequest, jobs: dict[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A checkpoint with 40 of the 60 genes in each layout, and the tokens of the cells in memory and in a store."""
    folder = tmp_path_factory.mktemp("tokens")
    var = read_cells(jobs["memory"]["cells"]).var
    if request.param == "geneformer":
        write_geneformer(folder / "theirs", var["feature_id"].astype(str).tolist()[::-1][:40])
        spec = spec_of(geneformer_source(folder / "theirs"), "any", **RANKS | {"max_length": 31})
    else:
        write_folder(folder / "theirs", var["feature_name"].astype(str).tolist()[::-1][:40])
        spec = spec_of({"kind": "local", "path": str(folder / "theirs")}, "any", max_length=31)
    fetch_checkpoint("tiny", spec, folder / "checkpoint", lock_file=folder / "lock.yaml")
    found = {"checkpoint": folder / "checkpoint"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("annobench.data.tokens.tokenise._PART", PART)
        for storage in ("memory", "store"):
            cells = Path(jobs[storage]["cells"])
            found[storage] = folder / storage
            tokenise_dataset("d", cells, cells.with_name("card.json"), folder / "checkpoint", folder / storage)
    return found


def fitted(
    files: dict[str, str], folders: dict[str, Path], storage: str, folder: Path, **changes: Any
) -> tuple[RunRecord, Path]:
    """The record of a frozen backbone on these cells, and its folder."""
    keep, needs = KEEP | {"embedding_roles": ["train", "test"]}, {"cells": "none", "tokens": True}
    abilities = {"predictions": False, "embedding": True, "probabilities": False, "trains": False}
    whole = fit_job(files, "frozen_backbone", abilities=abilities, keep=keep, needs=needs, **changes).to_params()
    whole["files"] |= {"tokens": str(folders[storage]), "weights": str(folders["checkpoint"])}
    whole["facts"]["data_sha256"] = TokensCard.read(folders[storage]).data_sha256
    run_fit(FitJob.from_params(whole), folder / "fit", folder / "attempt.json")
    return RunRecord.read(folder / "fit" / "run.json"), folder / "fit"


def test_a_store_gives_the_same_tokens(folders: dict[str, Path]) -> None:
    first, second = (StoredTokens.open(folders[storage]) for storage in ("memory", "store"))
    rows = np.arange(len(first))
    assert len(first) == len(second) == 400
    one, other = first.padded(rows, 0), second.padded(rows, 0)
    assert np.array_equal(one.genes, other.genes)
    assert np.array_equal(one.values, other.values)
    cards = [replace(TokensCard.read(folders[storage]), data_sha256=None) for storage in ("memory", "store")]
    assert cards[0] == cards[1]
    assert cards[0].genes["known"] == 40
    assert 0 < cards[0].cells["cut"] < 400


@pytest.mark.parametrize("storage", ["memory", "store"])
def test_a_frozen_backbone_embeds_the_cells_of_its_split(
    jobs: dict[str, dict[str, str]], folders: dict[str, Path], tmp_path: Path, storage: str
) -> None:
    files = jobs[storage]
    record, place = fitted(files, folders, storage, tmp_path, parameters={"tokens_per_batch": 200})
    assert (record.status, record.reason) == ("ok", None)
    assert record.sees_test_cells is False
    checkpoint, card = StoredCheckpoint.open(folders["checkpoint"]), TokensCard.read(folders[storage])
    assert record.tokens["checkpoint"] == "tiny"
    assert record.tokens["known_genes"] == 40
    assert record.tokens["weights_sha256"] == checkpoint.record.weights_sha256
    assert record.tokens["lost_expression"] == card.lost_expression
    assert record.trainable_parameters == 0
    found = read_embedding(place / "embedding.npz")
    roles = read_columns(files["split"])
    tested = np.asarray(roles["cell_id"], dtype=object)[np.asarray(roles["role"]) == "test"]
    assert set(found.of("test").cell_ids) == set(tested)
    assert set(found.of("train").cell_ids) == set(read_columns(files["train"])["cell_id"])
    # one cell at a time, in the order of another file
    backbone, tokens = load_backbone(checkpoint), StoredTokens.open(folders["memory"])
    for cell, values in list(zip(found.cell_ids, found.values, strict=True))[::37]:
        batch = tokens.padded(tokens.rows(np.array([cell], dtype=object)), checkpoint.shape.pad)
        with torch.no_grad():
            alone = backbone.embed(*map(torch.from_numpy, (batch.genes, batch.values, batch.mask)))
        assert values == pytest.approx(alone[0].numpy(), abs=2e-5)


def test_a_probe_reads_it_and_unit_length_is_a_choice(
    jobs: dict[str, dict[str, str]], folders: dict[str, Path], tmp_path: Path
) -> None:
    _, place = fitted(jobs["memory"], folders, "memory", tmp_path / "base" / "seed1", parameters={"normalise": "unit"})
    found = read_embedding(place / "embedding.npz")
    assert np.linalg.norm(found.values, axis=1) == pytest.approx(1, abs=1e-5)
    job = fit_job(
        jobs["memory"],
        "probe",
        uses={"embedding": {"output": "embedding", "methods": ["seed1"]}},
        needs={"cells": "none"},
    ).to_params()
    job["files"]["uses"] = folders_of([f"{place}/run.json"])
    job["facts"]["data_sha256"] = TokensCard.read(folders["memory"]).data_sha256
    run_fit(FitJob.from_params(job), tmp_path / "probe", tmp_path / "attempt.json")
    record = RunRecord.read(tmp_path / "probe" / "run.json")
    assert (record.status, record.reason) == ("ok", None)


def changed(folders: dict[str, Path], folder: Path, **changes: Any) -> dict[str, Path]:
    """The same with another card."""
    folder.mkdir()
    for path in folders["memory"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    card = json.loads((folder / "card.json").read_text()) | changes
    (folder / "card.json").write_text(json.dumps(card))
    return folders | {"memory": folder}


def test_what_a_fit_cannot_read_is_said(
    jobs: dict[str, dict[str, str]], folders: dict[str, Path], tmp_path: Path
) -> None:
    files = jobs["memory"]
    failed = changed(folders, tmp_path / "failed", status="failed", reason="another organism")
    record, _ = fitted(files, failed, "memory", tmp_path / "a")
    assert (record.status, record.reason) == (
        "skipped",
        "there are no tokens of these cells for 'tiny': another organism",
    )
    panel = str(Path(files["split"]).with_name("panel.csv"))
    record, _ = fitted(files, folders, "memory", tmp_path / "b", panel=panel)
    assert record.status == "skipped"
    assert "this split hides those that its panel does not measure" in str(record.reason)
    seen = changed(folders, tmp_path / "seen", pretrained_on=["d"])
    record, _ = fitted(files, seen, "memory", tmp_path / "c")
    assert (record.status, record.sees_test_cells) == ("ok", True)


def test_records_of_checkpoints_are_read_as_they_are_written(folders: dict[str, Path]) -> None:
    record = CheckpointRecord.read(folders["checkpoint"])
    assert CheckpointRecord.from_params(record.to_params()) == record
