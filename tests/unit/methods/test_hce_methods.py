"""What is promised: the methods named hce_* train as the HCE paper does."""

import numpy as np
import pytest
import torch

from annobench.cells.store.order import batch_sizes
from annobench.config.entities import available, load_method
from annobench.core.paths import ROOT
from annobench.fit.method import Context
from annobench.fit.predictions import joined
from annobench.fit.registry import load_class
from annobench.methods.torch.losses import LOSSES
from annobench.methods.torch.recipe import Recipe
from annobench.methods.torch.trainer import Training
from annobench.ontology import Ontology
from helpers import cells

MODELS = {  # learning rate, weight decay, parameters at 19,331 genes and 164 classes
    "linear": (5e-4, 0.01, 3_170_448),
    "mlp": (2e-3, 0.05, 2_613_284),
    "tabnet": (5e-3, 0.05, 9_655_628),
}
NAMES = [name for name in available("methods", ROOT) if name.startswith("hce_")]


def test_they_are_combinations_of_a_model_and_a_loss() -> None:
    """Every model has the losses of the paper; of those added since, whichever has a file."""
    for model in MODELS:
        assert {f"hce_{model}_{loss}" for loss in ("ce", "hce", "hce_logsumexp", "label_updating")} <= set(NAMES)
    for name in NAMES:
        _, model, loss = name.split("_", 2)
        assert (model in MODELS, loss in LOSSES) == (True, True)


@pytest.mark.parametrize("name", NAMES)
def test_the_recipe_of_the_paper(name: str) -> None:
    _, model, loss = name.split("_", 2)
    file = load_method(name, ROOT, "")
    method = load_class(file["implementation"])(**file["parameters"])
    rate, weight_decay, parameters = MODELS[model]
    assert method.recipe == Recipe(
        learning_rate=rate,
        weight_decay=weight_decay,
        batch_size=2048,
        epochs=50,
        min_steps=0,
        patience=10,
        decay=0.9,
        clip=1.0,
        precision="float32",
        selection="ontology_macro_f1",
        drop_last=True,
    )
    assert (method.loss, method.n_genes, method.class_weights) == (loss, None, True)
    assert method.augment == (model != "linear")  # the linear model never uses it
    with torch.device("meta"):
        network = method._network(19_331, 164)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("batches", [1, 7441])
def test_the_schedule_is_not_stretched(batches: int) -> None:
    class Feed:
        cells = 2048 * batches

        def __len__(self) -> int:
            return batches

    recipe = load_class("linear")(**load_method("hce_linear_ce", ROOT, "")["parameters"]).recipe
    network = torch.nn.Linear(2, 2)
    found = Training(network, torch.nn.CrossEntropyLoss(), Feed(), recipe, seed=0, reachability=torch.eye(2))  # type: ignore[arg-type]
    assert (found.epochs, found.decay, found.patience) == (50, pytest.approx(0.9), 10)


def test_steps_of_the_paper() -> None:
    assert len(batch_sizes(15_240_192, 2048, True)) == 7441
    assert [len(batch_sizes(n, 2048, False)) for n in (3_500_032, 3_448_832)] == [1709, 1684]


def test_weights_of_the_classes_are_balanced(ontology: Ontology) -> None:
    """N / (classes * cells of the class), as scikit-learn's `balanced`: summed over all cells they are the cells."""
    method = load_class("linear")(**load_method("hce_linear_ce", ROOT, "")["parameters"])
    method._classes = np.array(["CL:0000084", "CL:0000236", "CL:0000623"])
    codes = np.repeat([0, 1, 2], [70, 20, 10])
    reachability = torch.as_tensor(ontology.reachability(method._classes.tolist()))
    weight = method._losses(codes, reachability)(True).weight.numpy()
    assert (weight * [70, 20, 10]).sum() == pytest.approx(100)
    assert weight == pytest.approx([100 / 210, 100 / 60, 100 / 30])
    assert method._losses(codes, reachability)(False).weight is None


@pytest.mark.parametrize("name", ["hce_linear_hce", "hce_mlp_label_updating", "hce_tabnet_hce_logsumexp"])
def test_they_run(name: str, ontology: Ontology) -> None:
    """On a handful of cells, with few epochs and small networks."""
    data = cells(ontology, cells=90, genes=50, seed=3)
    data.obs["donor"] = [f"d{i % 3}" for i in range(90)]
    file = load_method(name, ROOT, "")
    small = {"recipe": file["parameters"]["recipe"] | {"epochs": 2}} | (
        {"decision": 4, "attention": 4} if "tabnet" in name else {}
    )
    method = load_class(file["implementation"])(**file["parameters"] | small)
    method.fit(data[:60].copy(), Context(seed=0, classes=[], ontology=ontology, validation=data[60:].copy()))
    assert 1 <= method.best_epoch <= 2
    found = joined(method.predict(data))
    assert np.allclose(found.probabilities.sum(axis=1), 1)
