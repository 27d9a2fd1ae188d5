"""A saved scVI model: read without execution, encoded as PyTorch does, and refused where it is something else."""

import os
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

from annobench.core.errors import DataError, MethodSkipped
from annobench.fit.method import Context
from annobench.methods.frozen_scvi import FrozenScvi
from annobench.methods.shared.scvi_model import read_scvi_model
from annobench.ontology import Ontology
from helpers import cells, toy_ontology

HIDDEN, LATENT = 6, 3


class Network(torch.nn.Module):
    """The part of a model of scvi-tools that matters, with its names."""

    def __init__(self, genes: int, layers: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.px_r = torch.nn.Parameter(torch.randn(genes))
        self.z_encoder = torch.nn.Module()
        self.z_encoder.encoder = torch.nn.Module()
        parts = OrderedDict()
        for i in range(layers):
            linear = torch.nn.Linear(HIDDEN if i else genes, HIDDEN)
            parts[f"Layer {i}"] = torch.nn.Sequential(
                linear, torch.nn.BatchNorm1d(HIDDEN, eps=0.001), torch.nn.ReLU(), torch.nn.Dropout(0.1)
            )
        self.z_encoder.encoder.fc_layers = torch.nn.Sequential(parts)
        self.z_encoder.mean_encoder = torch.nn.Linear(HIDDEN, LATENT)
        self.z_encoder.var_encoder = torch.nn.Linear(HIDDEN, LATENT)

    def forward(self, counts: torch.Tensor) -> torch.Tensor:
        return self.z_encoder.mean_encoder(self.z_encoder.encoder.fc_layers(torch.log1p(counts)))


def saved(
    folder: Path, genes: list[str], layers: int = 1, change: Callable[[dict[str, Any]], Any] | None = None
) -> Any:
    """Write model.pt as scvi-tools does, with a history and a registry; returns the network and the path."""
    network = Network(len(genes), layers)
    network.train()(torch.poisson(torch.full((40, len(genes)), 2.0)))  # moves the running statistics
    history = {"elbo_train": pd.DataFrame({"elbo": [3.0, 2.0]}, index=pd.Index([0, 1], name="epoch"))}
    registry = {
        "setup_args": {"batch_key": None},
        "fields": defaultdict(dict, {"X": {"n_cells": 40, "part": slice(1)}}),
    }
    document = {
        "model_state_dict": network.state_dict(),
        "var_names": np.array(genes, dtype=object),
        "attr_dict": {
            "history_": history,
            "registry_": registry,
            "init_params_": {"mean": np.float64(2), "kinds": {1, 2}},
        },
    }
    if change:
        change(document)
    torch.save(document, folder / "model.pt")
    return network.eval(), folder / "model.pt"


@pytest.fixture(scope="module")
def data(ontology: Ontology) -> ad.AnnData:
    return cells(ontology, cells=50, genes=40, seed=3)


def fitted(path: Path, **parameters: Any) -> FrozenScvi:
    method = FrozenScvi(model=str(path), **parameters)
    method.fit(None, Context(seed=1, classes=[], ontology=toy_ontology()))  # type: ignore[arg-type]
    return method


def values(method: FrozenScvi, query: ad.AnnData) -> np.ndarray:
    return np.concatenate([part.values for part in method.embed(query)])


@pytest.mark.parametrize("layers", [1, 2])
def test_cells_are_encoded_as_pytorch_does(
    data: ad.AnnData, tmp_path: Path, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = data.var["feature_id"].astype(str).tolist()
    genes = [*ids[30:5:-1], "ENSG00000000003"]  # in another order, without some, with one that the cells lack
    network, path = saved(tmp_path, genes, layers)
    monkeypatch.setattr("annobench.methods.frozen_scvi._PART", 17)
    method = fitted(path)
    counts = np.column_stack([data[:, genes[:-1]].X.toarray(), np.zeros(data.n_obs)]).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(counts)).numpy()
    found = values(method, data)
    assert found == pytest.approx(expected, abs=1e-5)
    assert method.gene_overlap == {"model": 26, "shared": 25}
    assert method.notes == {"weights_left_out": 1}
    (tmp_path / "kept").mkdir()
    method.save(tmp_path / "kept")
    assert np.array_equal(values(FrozenScvi.load(tmp_path / "kept"), data), found)


def test_too_few_genes_and_a_missing_file_skip_the_fit(data: ad.AnnData, tmp_path: Path) -> None:
    genes = [*data.var["feature_id"].astype(str)[:3], *(f"ENSG{i:011d}" for i in range(7))]
    _, path = saved(tmp_path, genes)
    with pytest.raises(MethodSkipped, match=r"the cells have 3 of the 10 genes of the model, 30\.0%"):
        values(fitted(path), data)
    assert values(fitted(path, least_known=0.2), data).shape == (50, LATENT)
    with pytest.raises(MethodSkipped, match="there is no file"):
        fitted(tmp_path / "other.pt")


class Executes:
    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


GENES = ["A", "B", "C"]


@pytest.mark.parametrize("part", ["attr_dict", "model_state_dict", "var_names"])
def test_code_in_a_model_is_refused(tmp_path: Path, part: str) -> None:
    _, path = saved(tmp_path, GENES, change=lambda document: document.update({part: Executes(tmp_path / "made")}))
    with pytest.raises(DataError, match=rf"model\.pt: is refused: it asks for {os.name}\.mkdir, which no model needs"):
        read_scvi_model(path)
    assert not (tmp_path / "made").exists()
    torch.load(path, weights_only=False)  # the file is what it is taken for
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("var_names"), "expected a mapping with model_state_dict and var_names"),
        (lambda d: d.update(var_names=np.arange(3)), "var_names is not an array of texts"),
        (lambda d: d.update(var_names=np.array([*GENES, "D"], dtype=object)), "takes 3 values and there are 4 genes"),
        (lambda d: d["model_state_dict"].update(px_r="x"), "model_state_dict is not a mapping of names to tensors"),
        (lambda d: d["model_state_dict"].pop("z_encoder.mean_encoder.weight"), "has no encoder z_encoder with a mean"),
        (
            lambda d: d["model_state_dict"].pop("z_encoder.mean_encoder.bias"),
            "key 'z_encoder.mean_encoder.bias' is missing",
        ),
        (lambda d: d["model_state_dict"]["z_encoder.mean_encoder.bias"].fill_(torch.nan), "values are NaN or infinite"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        read_scvi_model(saved(tmp_path, GENES, change=change)[1])
    assert message in str(error.value)


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    _, path = saved(tmp_path, GENES)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="is not a model of scvi-tools, or is cut off"):
        read_scvi_model(path)


def test_tensors_of_any_layout_are_read(tmp_path: Path) -> None:
    """A view of a larger storage, transposed, in half precision, and a number."""
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)

    def change(document: dict[str, Any]) -> None:
        state = document["model_state_dict"]
        state["z_encoder.mean_encoder.weight"] = whole[1:, :3].T[:, :HIDDEN].repeat(1, 2)[:LATENT]
        state["z_encoder.mean_encoder.bias"] = whole.half()[2, 1:4]

    _, path = saved(tmp_path, GENES, change=change)
    found = read_scvi_model(path).arrays
    assert found["latent_bias"].tolist() == [13, 14, 15]
    assert found["latent_weight"].tolist() == whole[1:, :3].T.repeat(1, 2).tolist()
