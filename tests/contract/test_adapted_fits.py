"""What is promised: fits by adaptation read the tokens of their split, and the saved model annotates new cells."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from annobench.cells.stored_cells import read_cells
from annobench.core.errors import DataError
from annobench.core.parquet import read_columns
from annobench.data.checkpoints.fetch import fetch_checkpoint
from annobench.data.checkpoints.stored import StoredCheckpoint, write_checkpoint
from annobench.data.tokens.stored import TokensCard
from annobench.data.tokens.tokenise import tokenise_dataset
from annobench.fit.annotate import annotate
from annobench.fit.annotate_job import AnnotateJob
from annobench.fit.decisions import read_decisions
from annobench.fit.job import FitJob
from annobench.fit.parent import run_fit
from annobench.fit.predictions_file import read
from annobench.fit.run_record import RunRecord
from checkpoint_folders import RANKS, geneformer_source, spec_of, write_folder, write_geneformer
from helpers import KEEP, fit_job

RECIPE = {"steps": 20, "validate_every": 10, "learning_rates": [5e-3]}


@pytest.fixture(scope="module", params=["scgpt", "geneformer"])
def folders(
    request: pytest.FixtureRequest, jobs: dict[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """A checkpoint with 40 of the 60 genes in each layout, and tokens of the cells."""
    folder = tmp_path_factory.mktemp("adapted")
    cells = Path(jobs["memory"]["cells"])
    var = read_cells(cells).var
    if request.param == "geneformer":
        write_geneformer(folder / "theirs", var["feature_id"].astype(str).tolist()[:40])
        spec = spec_of(geneformer_source(folder / "theirs"), "any", **RANKS)
    else:
        write_folder(folder / "theirs", var["feature_name"].astype(str).tolist()[:40])
        spec = spec_of({"kind": "local", "path": str(folder / "theirs")}, "any", max_length=31)
    fetch_checkpoint("tiny", spec, folder / "weights", lock_file=folder / "lock.yaml")
    tokenise_dataset("d", cells, cells.with_name("card.json"), folder / "weights", folder / "tokens")
    return {"tokens": str(folder / "tokens"), "weights": str(folder / "weights")}


def fitted(files: dict[str, str], folders: dict[str, str], folder: Path, strategy: str) -> RunRecord:
    """The record of a fit."""
    more: dict[str, Any] = {"keep": KEEP, "needs": {"tokens": True}, "abilities": {"embedding": True, "gpu": True}}
    parameters = {"strategy": strategy, "recipe": RECIPE}
    job = fit_job(files, "adapted", parameters=parameters, **more).to_params()
    job["files"] |= folders
    job["facts"]["data_sha256"] = TokensCard.read(folders["tokens"]).data_sha256
    run_fit(FitJob.from_params(job), folder / "fit", folder / "attempt.json")
    return RunRecord.read(folder / "fit" / "run.json")


@pytest.mark.parametrize("strategy", ["probe", "full", "lora", "prefix"])
def test_a_fit_and_its_model_on_new_cells(
    jobs: dict[str, dict[str, str]], folders: dict[str, str], tmp_path: Path, strategy: str
) -> None:
    record = fitted(jobs["memory"], folders, tmp_path, strategy)
    assert (record.status, record.reason) == ("ok", None)
    assert record.tokens["checkpoint"] == "tiny"
    assert set(record.outputs) == {"predictions", "probabilities", "decisions", "embedding", "model"}
    assert record.notes["parameters"]["head"] > 0
    assert {"test", "validation"} <= set(read_decisions(tmp_path / "fit" / "decisions.npz")["part"])
    predicted = read(tmp_path / "fit" / "predictions.parquet")
    roles = read_columns(jobs["memory"]["split"])
    tested = np.asarray(roles["cell_id"], dtype=object)[np.asarray(roles["role"]) == "test"]
    cells = read_cells(jobs["memory"]["cells"])[tested].copy()
    del cells.obs["label_id"]
    cells.write_h5ad(tmp_path / "new.h5ad")
    annotate(AnnotateJob(tmp_path / "fit", tmp_path / "new.h5ad", tmp_path / "out.csv"), say=lambda text: None)
    found = pd.read_csv(tmp_path / "out.csv").set_index("cell_id")
    labels = dict(zip(predicted.cell_ids, predicted.labels[:, 0], strict=True))
    assert found["label_id"].tolist() == [labels[cell] for cell in found.index]


def test_a_model_refuses_another_base(jobs: dict[str, dict[str, str]], folders: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "weights"
    shutil.copytree(folders["weights"], place)
    fitted(jobs["memory"], {**folders, "weights": str(place)}, tmp_path, "lora")
    cells = AnnotateJob(tmp_path / "fit", Path(jobs["memory"]["cells"]), tmp_path / "out.csv")
    twin = StoredCheckpoint.open(place)
    other = {name: values + np.float32(0.01) for name, values in twin.weights().items()}
    write_checkpoint(place, twin.record, other, twin.vocabulary, twin.medians)
    with pytest.raises(DataError, match="the adaptation was trained on a base with sha256"):
        annotate(cells, say=lambda text: None)
    if twin.medians is not None:
        medians = {gene: 2 * median for gene, median in twin.medians.items()}
        write_checkpoint(
            place, twin.record, StoredCheckpoint.open(folders["weights"]).weights(), twin.vocabulary, medians
        )
        with pytest.raises(DataError, match="the adaptation was trained on a file of medians with sha256"):
            annotate(cells, say=lambda text: None)
    (place / "vocabulary.json").write_text("{}")
    with pytest.raises(DataError, match=r"vocabulary\.json: is not the file of checkpoint\.json"):
        annotate(cells, say=lambda text: None)
