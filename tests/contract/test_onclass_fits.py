"""What is promised: a fit of OnClass may name types that no training cell has, and its model annotates new cells."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from annobench.cells.stored_cells import read_cells
from annobench.config.parameters import resolve_parameters
from annobench.config.plugins import method_facts
from annobench.core.parquet import read_columns
from annobench.fit.annotate import annotate
from annobench.fit.annotate_job import AnnotateJob
from annobench.fit.parent import run_fit
from annobench.fit.predictions_file import read
from annobench.fit.run_record import RunRecord
from helpers import KEEP, TYPES, fit_job

SHORT: dict[str, Any] = {"recipe": {"epochs": 8, "min_steps": 80}, "width": 32, "dimensions": 20}


def test_a_kept_model_annotates_new_cells_bit_for_bit(jobs: dict[str, dict[str, str]], tmp_path: Path) -> None:
    facts = method_facts("onclass")
    parameters = resolve_parameters("onclass", {**SHORT, "lost": 0.3}, lambda *keys: "m.yaml")
    more: dict[str, Any] = {"needs": facts.needs.to_params(), "abilities": facts.abilities.to_params()}
    run_fit(
        fit_job(jobs["memory"], "onclass", parameters=parameters, keep=KEEP, **more),
        tmp_path / "fit",
        tmp_path / "attempt.json",
    )
    record = RunRecord.read(tmp_path / "fit" / "run.json")
    assert (record.status, record.reason) == ("ok", None)
    assert set(record.outputs) == {"predictions", "probabilities", "decisions", "embedding", "model"}
    predicted = read(tmp_path / "fit" / "predictions.parquet")
    assert set(predicted.labels[:, 0]) - set(TYPES)  # some cells got an unseen type
    roles = read_columns(jobs["memory"]["split"])
    tested = np.asarray(roles["cell_id"], dtype=object)[np.asarray(roles["role"]) == "test"]
    new = read_cells(jobs["memory"]["cells"])[tested].copy()
    new.obs = new.obs[["donor"]]
    new.write_h5ad(tmp_path / "new.h5ad")
    annotate(AnnotateJob(tmp_path / "fit", tmp_path / "new.h5ad", tmp_path / "out.csv"), say=lambda text: None)
    found = pd.read_csv(tmp_path / "out.csv").set_index("cell_id").loc[list(predicted.cell_ids)]
    assert found["label_id"].tolist() == predicted.labels[:, 0].tolist()
    assert found["confidence"].to_numpy() == pytest.approx(predicted.confidence, abs=1e-6)
