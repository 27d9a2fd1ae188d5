"""What is promised: the majority within clusters, by a column or by Leiden, is a view of a fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from annobench.config.split import ColumnSettings
from annobench.core.errors import PredictionError
from annobench.core.parquet import read_columns, write_columns
from annobench.fit import predictions_file
from annobench.fit.predictions import Predictions
from annobench.ontology import Ontology
from annobench.score.score_fit import FitTables, score_fit
from annobench.score.spec import ScoreSpec, ViewSpec
from helpers import cells, run_record


@pytest.fixture
def fit(tmp_path: Path, ontology: Ontology) -> Path:
    """240 cells of five types, of which every second is tested; a fifth of the predictions is wrong."""
    data = cells(ontology, cells=240, genes=120, seed=3)
    ids, truth = data.obs_names.to_numpy(dtype=object), data.obs["label_id"].to_numpy(dtype=object)
    data.obs["label"] = data.obs["label_original"] = data.obs["label_id"]
    data.write_h5ad(tmp_path / "cells.h5ad")
    role = np.array(["test", "train"] * 120, dtype=object)
    obs = {"cell_id": ids, "label_id": truth, "cluster": np.array([f"k{one}" for one in truth], dtype=object)}
    obs |= {name: data.obs[name].to_numpy(dtype=object) for name in ("study", "donor")}
    write_columns(tmp_path / "obs.parquet", obs)
    write_columns(tmp_path / "split.parquet", {"cell_id": ids, "role": role})
    write_columns(tmp_path / "train.parquet", {"cell_id": ids[1::2], "label_id": truth[1::2]})
    predicted = truth[::2].copy()
    wrong = np.random.default_rng(0).random(120) < 0.2
    predicted[wrong] = np.roll(predicted, 7)[wrong]
    predictions_file.write(tmp_path / "predictions.parquet", Predictions.from_labels(ids[::2][::-1], predicted[::-1]))
    run_record(tmp_path / "run.json", outputs=("predictions",))
    return tmp_path


def accuracy(folder: Path, ontology: Ontology, families: tuple[str, ...] = ("flat",), **columns: str) -> pd.Series:
    named: dict[str, Any] = {"m": "argmax", "m.clusters": "clusters"}
    view = ViewSpec(split="s", methods=named, families=families, columns=ColumnSettings(**columns))
    roles = [folder / "split.parquet"]
    tables = FitTables(
        obs=folder / "obs.parquet", train=folder / "train.parquet", roles=roles, cells=folder / "cells.h5ad"
    )
    outputs = {name: folder / f"{name}.out" for name in ("scores", "confusion", "groups", "sums", "confidence")}
    score_fit(ScoreSpec(dataset="d", seed=1, views=(view,)), folder, tables, ontology, outputs)
    table = pd.DataFrame(read_columns(folder / "scores.out"))
    table = table[table["level"] == "overall"]
    found: pd.Series = table.set_index(["metric", "label_set", "method"])["value"].sort_index()
    return found


def test_by_a_column_and_by_leiden(fit: Path, ontology: Ontology) -> None:
    found = accuracy(fit, ontology)["accuracy", "-"]
    assert found["m"] < 0.9
    assert found["m.clusters"] == 1  # the column holds the types
    found = accuracy(fit, ontology, clusters="leiden")["accuracy", "-"]
    assert found["m.clusters"] > found["m"]
    again = accuracy(fit, ontology, clusters="leiden")["accuracy", "-"]
    assert again["m.clusters"] == found["m.clusters"]
    with pytest.raises(PredictionError, match=r"has no column 'seurat': name one in columns.clusters .* or leiden"):
        accuracy(fit, ontology, clusters="seurat")


def test_a_vote_costs_rare_types(fit: Path, ontology: Ontology) -> None:
    obs, train = read_columns(fit / "obs.parquet"), read_columns(fit / "train.parquet")
    names, counts = np.unique(obs["label_id"][::2], return_counts=True)
    rare, other = names[np.argsort(counts, kind="stable")[[0, -1]]]  # fewest and most tested cells
    few = np.where(train["label_id"] == rare, other, train["label_id"]).astype(object)
    few[0] = rare  # one training cell of 120
    write_columns(fit / "train.parquet", {"cell_id": train["cell_id"], "label_id": few})
    mixed = np.where(np.isin(obs["label_id"], [rare, other]), "both", obs["cluster"]).astype(object)
    write_columns(fit / "obs.parquet", obs | {"cluster": mixed})
    found = accuracy(fit, ontology, families=("flat", "rare"))
    assert found["rare_classes", "-", "m"] == 1
    assert found["rare_macro_f1", "-", "m"] > 0.5
    assert found["rare_macro_f1", "-", "m.clusters"] == 0  # the vote is lost, whatever the method says of the cell
