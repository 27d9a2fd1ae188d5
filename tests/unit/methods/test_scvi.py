"""scVI: the encoder equals PyTorch's, and the glue around scvi-tools works; with the package where it is there."""

import importlib.machinery
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import anndata as ad
import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from annobench.core.errors import DataError, MethodSkipped
from annobench.fit.method import Context
from annobench.methods import scvi
from annobench.methods.scvi import SingleCellVI
from annobench.methods.shared.scvi_encoder import encoded, encoder_arrays
from annobench.ontology import Ontology
from helpers import cells, toy_ontology


class FullyConnected(torch.nn.Module):
    """Layers with the names of scvi-tools."""

    def __init__(self, genes: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.fc_layers = torch.nn.Sequential()
        for i in range(layers):
            one = torch.nn.Sequential(
                torch.nn.Linear(hidden if i else genes, hidden),
                torch.nn.BatchNorm1d(hidden, momentum=0.01, eps=0.001),
                torch.nn.Identity(),
                torch.nn.ReLU(),
                torch.nn.Dropout(0.1),
            )
            self.fc_layers.add_module(f"Layer {i}", one)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.fc_layers(values)


class Encoder(torch.nn.Module):
    def __init__(self, genes: int, hidden: int, layers: int, latent: int) -> None:
        super().__init__()
        self.encoder = FullyConnected(genes, hidden, layers)
        self.mean_encoder = torch.nn.Linear(hidden, latent)
        self.var_encoder = torch.nn.Linear(hidden, latent)

    def forward(self, counts: torch.Tensor) -> torch.Tensor:
        return self.mean_encoder(self.encoder(torch.log1p(counts)))


class StandIn:
    """The part of scvi.model.SCVI that is used; training moves the running statistics of batch norm only."""

    made: ClassVar["list[StandIn]"] = []
    batch_key: ClassVar[Any] = "not set"

    @classmethod
    def setup_anndata(cls, cells: ad.AnnData, batch_key: str | None) -> None:
        cls.batch_key = batch_key

    def __init__(self, cells: ad.AnnData, **options: Any) -> None:
        self.cells, self.options = cells, options
        torch.manual_seed(sys.modules["scvi"].settings.seed)
        self.module = torch.nn.Module()
        shape = (options["n_hidden"], options["n_layers"], options["n_latent"])
        self.module.z_encoder = Encoder(cells.n_vars, *shape)
        StandIn.made.append(self)

    def train(self, **options: Any) -> None:
        self.trained = options
        self.module.train()
        self.module.z_encoder(torch.from_numpy(self.cells.X.toarray()))


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    """A stand-in for scvi-tools."""
    found = ModuleType("scvi")
    found.__spec__ = importlib.machinery.ModuleSpec("scvi", None)
    found.settings = type("Settings", (), {"seed": None})()  # type: ignore[attr-defined]
    found.model = type("Model", (), {"SCVI": StandIn})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "scvi", found)
    StandIn.made = []
    return StandIn


@pytest.fixture(scope="module")
def data(ontology: Ontology) -> ad.AnnData:
    found = cells(ontology, cells=90, genes=40, seed=3)
    found.obs["batch"] = ["a", "b", "c"] * 30
    return found


def fitted(query: ad.AnnData, **parameters: Any) -> SingleCellVI:
    method = SingleCellVI(**{"n_genes": 30, "n_hidden": 8, "n_latent": 4} | parameters)
    method.fit(query[:0].copy(), Context(seed=7, classes=[], ontology=toy_ontology(), query=query))
    return method


def values(method: SingleCellVI, query: ad.AnnData) -> np.ndarray:
    return np.concatenate([part.values for part in method.embed(query)])


@pytest.mark.parametrize("layers", [1, 3])
def test_the_encoder_equals_pytorchs(layers: int) -> None:
    torch.manual_seed(0)
    network = Encoder(20, 8, layers, 3)
    counts = np.random.default_rng(0).poisson(2, (50, 20)).astype(np.float32)
    network(torch.from_numpy(counts))  # moves the running statistics
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    found = encoded(csr_matrix(counts), encoder_arrays(state))
    expected = network.eval()(torch.from_numpy(counts)).detach().numpy()
    assert np.abs(found - expected).max() < 1e-6


def test_cells_are_embedded_by_what_was_trained(
    package: type[StandIn], data: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = fitted(data)
    (model,) = package.made
    assert model.cells.shape == (90, 30)
    assert package.batch_key == "batch"
    assert model.trained["accelerator"] == "cpu"
    assert model.trained["train_size"] == 1.0
    assert method.trainable_parameters == sum(p.numel() for p in model.module.parameters())
    assert method.notes == {"genes": 30, "trained_on": 90, "cells_without_counts": 0, "batches": 3}
    network = model.module.z_encoder.eval()
    expected = network(torch.from_numpy(data.X[:, method._genes].toarray().astype(np.float32))).detach().numpy()
    assert np.abs(values(method, data) - expected).max() < 1e-5
    monkeypatch.setattr(scvi, "_PART", 17)
    assert np.allclose(values(method, data), expected, atol=1e-5)
    method.save(tmp_path)
    assert np.array_equal(values(SingleCellVI.load(tmp_path), data), values(method, data))
    assert np.array_equal(values(fitted(data), data), values(method, data))  # the same seed


def test_a_batch_is_optional(package: type[StandIn], data: ad.AnnData) -> None:
    fitted(data, batch=None)
    assert package.batch_key is None
    one = data.copy()
    one.obs["batch"] = "a"
    assert fitted(one).notes["batches"] == 1  # type: ignore[index]
    assert package.batch_key is None
    with pytest.raises(DataError, match="parameters.batch: obs has no column 'bach'; did you mean 'batch'"):
        fitted(data, batch="bach")


def test_cells_without_counts_do_not_train_but_are_embedded(package: type[StandIn], data: ad.AnnData) -> None:
    some = data.copy()
    dense = some.X.toarray()
    dense[[3, 8]] = 0
    some.X = csr_matrix(dense)
    method = fitted(some)
    assert package.made[0].cells.n_obs == 88
    assert method.notes["cells_without_counts"] == 2  # type: ignore[index]
    assert np.isfinite(values(method, some)).all()
    some.X = csr_matrix(np.zeros_like(dense))
    with pytest.raises(DataError, match="of 90 test cells 0 have any"):
        fitted(some)


@pytest.mark.parametrize("n", [2, 3, 129, 257, 128 * 127 + 1])
def test_no_batch_of_training_holds_one_cell(n: int) -> None:
    size = scvi._batch_size(n)
    assert 2 <= size <= 128
    assert n % size != 1


def test_without_scvi_tools_a_fit_is_skipped(data: ad.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scvi, "find_spec", lambda name: None)
    with pytest.raises(MethodSkipped, match=r"pip install -r requirements-scvi.txt`, or use the environment envs/scvi"):
        fitted(data)


@pytest.mark.filterwarnings("ignore")  # of Lightning
def test_scvi_tools_itself(data: ad.AnnData) -> None:
    if find_spec("scvi") is None:
        pytest.skip("scvi-tools is not installed (requirements-scvi.txt)")
    method = fitted(data, max_epochs=2)
    found = values(method, data)
    assert found.shape == (90, 4)
    assert np.isfinite(found).all()
    assert np.array_equal(found, values(fitted(data, max_epochs=2), data))
