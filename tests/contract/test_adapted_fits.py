"""What is promised: fits by adaptation read the tokens of their split, and the saved model annotates new cells."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from annobench.cells.store.store import Store
from annobench.cells.stored_cells import read_cells
from annobench.config.parameters import resolve_parameters
from annobench.config.plugins import method_facts
from annobench.core.errors import DataError
from annobench.core.parquet import read_columns
from annobench.data.checkpoints.stored import StoredCheckpoint, write_checkpoint
from annobench.data.tokens.stored import TokensCard
from annobench.fit.annotate import annotate
from annobench.fit.annotate_job import AnnotateJob
from annobench.fit.context import context_of, create_method
from annobench.fit.decisions import read_decisions
from annobench.fit.inputs import load_cells
from annobench.fit.job import FitJob
from annobench.fit.parent import run_fit
from annobench.fit.predictions import joined
from annobench.fit.predictions_file import read
from annobench.fit.run_record import RunRecord
from annobench.methods.adapted import Adapted
from annobench.ontology import Ontology
from checkpoint_folders import ranked_folders, token_folders
from helpers import KEEP, fit_job

RECIPE = {"steps": 20, "validate_every": 10, "learning_rates": [5e-3]}


@pytest.fixture(scope="module", params=["scgpt", "geneformer"])
def folders(
    request: pytest.FixtureRequest, jobs: dict[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, str]]:
    """A checkpoint with 40 of the 60 genes in each layout, and tokens of the cells: in memory, and in a store."""
    ranked = request.param == "geneformer"
    genes = (
        read_cells(jobs["memory"]["cells"]).var["feature_id" if ranked else "feature_name"].astype(str).tolist()[:40]
    )
    make = ranked_folders if ranked else token_folders
    return {
        storage: make(tmp_path_factory.mktemp(storage), Path(files["cells"]), genes, max_length=31)
        for storage, files in jobs.items()
    }


def job_of(files: dict[str, str], folders: dict[str, str], strategy: str) -> FitJob:
    """The fit of a strategy, with the needs and abilities that its class states."""
    facts = method_facts("adapted")
    parameters = resolve_parameters("adapted", {"strategy": strategy, "recipe": RECIPE}, lambda *keys: "m.yaml")
    more: dict[str, Any] = {"needs": facts.needs.to_params(), "abilities": facts.abilities.to_params()}
    job = fit_job(files, "adapted", parameters=parameters, keep=KEEP, **more).to_params()
    job["files"] |= folders
    job["facts"]["data_sha256"] = TokensCard.read(folders["tokens"]).data_sha256
    return FitJob.from_params(job)


def fitted(files: dict[str, str], folders: dict[str, str], folder: Path, strategy: str) -> RunRecord:
    """The record of a fit."""
    run_fit(job_of(files, folders, strategy), folder / "fit", folder / "attempt.json")
    return RunRecord.read(folder / "fit" / "run.json")


@pytest.mark.parametrize(
    ("strategy", "storage"),
    [("probe", "memory"), ("full", "memory"), ("lora", "memory"), ("lora", "store"), ("prefix", "memory")],
)
def test_a_fit_and_its_model_on_new_cells(
    jobs: dict[str, dict[str, str]], folders: dict[str, dict[str, str]], tmp_path: Path, strategy: str, storage: str
) -> None:
    record = fitted(jobs[storage], folders[storage], tmp_path, strategy)
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


def test_a_store_gives_what_memory_gives_and_its_counts_are_not_read(
    jobs: dict[str, dict[str, str]], folders: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory then does not grow with the counts: tokens are mapped, and features and probabilities come in parts."""
    found = {}
    for storage in ("memory", "store"):
        job = job_of(jobs[storage], folders[storage], "lora")
        cells = load_cells(job)
        if storage == "store":
            for reads in ("read", "counts", "rows"):
                monkeypatch.setattr(Store, reads, lambda *_, **__: pytest.fail("counts are read"))
        method = create_method(Adapted, job)
        method.fit(cells.train, context_of(job, Ontology.load(job.files.ontology), cells))
        monkeypatch.setattr("annobench.methods.adapted.parts", lambda n: np.array_split(np.arange(n), 4))
        answers = list(method.predict(cells.query))
        assert len(answers) == len(list(method.embed(cells.query))) == 4
        found[storage] = joined(answers)
    assert np.array_equal(found["memory"].cell_ids, found["store"].cell_ids)
    assert np.array_equal(found["memory"].probabilities, found["store"].probabilities)


def test_a_model_refuses_another_base(
    jobs: dict[str, dict[str, str]], folders: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    place = tmp_path / "weights"
    shutil.copytree(folders["memory"]["weights"], place)
    fitted(jobs["memory"], {**folders["memory"], "weights": str(place)}, tmp_path, "lora")
    cells = AnnotateJob(tmp_path / "fit", Path(jobs["memory"]["cells"]), tmp_path / "out.csv")
    twin = StoredCheckpoint.open(place)
    other = {name: values + np.float32(0.01) for name, values in twin.weights().items()}
    write_checkpoint(place, twin.record, other, twin.vocabulary, twin.medians)
    with pytest.raises(DataError, match="the adaptation was trained on a base with sha256"):
        annotate(cells, say=lambda text: None)
    if twin.medians is not None:
        medians = {gene: 2 * median for gene, median in twin.medians.items()}
        write_checkpoint(
            place, twin.record, StoredCheckpoint.open(folders["memory"]["weights"]).weights(), twin.vocabulary, medians
        )
        with pytest.raises(DataError, match="the adaptation was trained on a file of medians with sha256"):
            annotate(cells, say=lambda text: None)
    (place / "vocabulary.json").write_text("{}")
    with pytest.raises(DataError, match=r"vocabulary\.json: is not the file of checkpoint\.json"):
        annotate(cells, say=lambda text: None)
