"""What is promised: every loss is the one that its name says, and tells coarse labels from wrong ones."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from annobench.config.losses import losses
from annobench.core.codehash import code_hash
from annobench.data.ontology import from_json
from annobench.methods.torch.losses import LOSSES, build_loss
from annobench.methods.torch.losses.hce import HierarchicalCrossEntropy
from annobench.methods.torch.losses.label_updating import LabelUpdating
from helpers import clone, toy_ontology

CLASSES = ["A", "A1", "A2", "A2x", "B"]  # A has A1, A2, A2x below it; A2 and B have A2x
LEAVES = torch.tensor([1, 3])
SEEDS = st.integers(0, 10_000)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def reachability() -> torch.Tensor:
    return torch.as_tensor(toy_ontology().reachability(CLASSES))


def logits(seed: int, rows: int = 16, scale: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 5, generator=generator, dtype=torch.float64) * scale


def labels(seed: int, rows: int = 16) -> torch.Tensor:
    return torch.randint(5, (rows,), generator=torch.Generator().manual_seed(seed + 1))


def gradient(loss: torch.nn.Module, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    scores = scores.detach().clone().requires_grad_()
    loss(scores, targets).backward()
    assert scores.grad is not None
    return scores.grad


def by_name(name: str, weight: torch.Tensor | None = None) -> torch.nn.Module:
    return build_loss(name, reachability(), weight).double()


def test_hce_by_hand() -> None:
    scores = torch.tensor([[1.0, 2.0, 0.5, -1.0, 0.0]], dtype=torch.float64)
    p = torch.softmax(scores, 1)[0]
    published, stable = by_name("hce"), by_name("hce_logsumexp")
    for label, below in ((0, [0, 1, 2, 3]), (1, [1]), (2, [2, 3]), (4, [3, 4])):
        target, s = torch.tensor([label]), p[below].sum().item()
        assert published(scores, target).item() == pytest.approx(-np.log(s + 1e-6), rel=1e-12)
        assert stable(scores, target).item() == pytest.approx(-np.log(s), rel=1e-12)


@given(SEEDS, st.sampled_from([None, [1.0, 2.0, 3.0, 4.0, 5.0]]))
def test_without_epsilon_hce_is_ce_on_leaves_in_value_and_gradient(seed: int, weights: list[float] | None) -> None:
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    scores, targets = logits(seed), LEAVES[labels(seed) % 2]
    ce = torch.nn.CrossEntropyLoss(weight)
    for hce in (
        HierarchicalCrossEntropy(reachability(), weight, epsilon=0).double(),
        by_name("hce_logsumexp", weight),
    ):
        assert hce(scores, targets).item() == pytest.approx(ce(scores, targets).item(), abs=1e-9)
        assert torch.allclose(gradient(hce, scores, targets), gradient(ce, scores, targets), atol=1e-9)


@given(SEEDS)
def test_logsumexp_is_hce_without_epsilon_for_any_label(seed: int) -> None:
    weight = torch.rand(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1
    scores, targets = logits(seed), labels(seed)
    plain = HierarchicalCrossEntropy(reachability(), weight, epsilon=0).double()
    stable = by_name("hce_logsumexp", weight)
    assert stable(scores, targets).item() == pytest.approx(plain(scores, targets).item(), abs=1e-9)
    assert torch.allclose(gradient(stable, scores, targets), gradient(plain, scores, targets), atol=1e-9)


@given(SEEDS, st.floats(0.1, 100))
def test_a_coarser_label_never_costs_more(seed: int, scale: float) -> None:
    scores = logits(seed, rows=1, scale=scale)
    hce, ce = by_name("hce_logsumexp"), by_name("ce")
    cost = [hce(scores, torch.tensor([i])).item() for i in range(5)]
    above = reachability()
    for i in range(5):
        assert cost[i] + 1e-9 >= 0
        assert cost[i] <= ce(scores, torch.tensor([i])).item() + 1e-9
        assert all(cost[i] <= cost[j] + 1e-9 for j in range(5) if above[i, j])


def test_the_gradient_of_autograd() -> None:
    scores = logits(3, rows=6).requires_grad_()
    loss, targets = by_name("hce_logsumexp", torch.arange(1.0, 6.0, dtype=torch.float64)), labels(3, rows=6)
    assert torch.autograd.gradcheck(lambda x: loss(x, targets), (scores,))


def test_confident_errors_keep_their_gradient_without_epsilon() -> None:
    scores, targets = logits(0, rows=200, scale=50.0), labels(0, rows=200)
    below = reachability()[targets]
    wrong = ~below[torch.arange(200), scores.argmax(1)]
    size = {name: gradient(by_name(name), scores, targets).abs().sum(1)[wrong] for name in ("ce", "hce")}
    size["logsumexp"] = gradient(by_name("hce_logsumexp"), scores, targets).abs().sum(1)[wrong]
    assert wrong.sum() > 80
    assert (size["hce"] < 1e-6 * size["ce"]).float().mean() > 0.7
    assert (size["logsumexp"] > 0.5 * size["ce"]).all()


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_extreme_logits_stay_finite(scale: float) -> None:
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 5)  # all of them, float32
    loss = build_loss("hce_logsumexp", reachability(), torch.ones(5))
    for label in range(5):
        targets = torch.full((len(signs),), label)
        assert torch.isfinite(loss(scale * signs, targets))
        assert torch.isfinite(gradient(loss, scale * signs, targets)).all()
    # the label is far below, its child far above: a right answer costs nothing, exactly
    right = scale * torch.tensor([[-1.0, -1, -1, 1, -1]])
    assert loss(right, torch.tensor([0])) == 0
    assert loss(right, torch.tensor([1])).item() == pytest.approx(2 * scale)


@pytest.mark.parametrize("name", ["hce", "hce_logsumexp"])
def test_class_weights_average_as_pytorch_does(name: str) -> None:
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    scores, targets = logits(5, rows=8), torch.tensor([0, 1, 2, 3, 4, 0, 1, 3])
    each = by_name(name)
    single = torch.stack([each(scores[i : i + 1], targets[i : i + 1]) for i in range(8)])
    whole = by_name(name, weight)(scores, targets)
    assert whole.item() == pytest.approx((single * weight[targets]).sum().item() / weight[targets].sum().item())


def test_labels_move_to_predictions_below_them_only() -> None:
    updating = LabelUpdating(reachability())
    best = torch.tensor([3, 3, 3, 0, 1, 4])
    scores = torch.nn.functional.one_hot(best, 5).double() * 2
    #              A -> A2x, B -> A2x, A1 stays, A2x stays, A2 stays, B itself
    targets = torch.tensor([0, 4, 1, 3, 2, 4])
    moved = torch.tensor([3, 3, 1, 3, 2, 4])
    assert updating.updated(scores, targets).tolist() == moved.tolist()
    ce = torch.nn.CrossEntropyLoss()
    assert updating(scores, targets).item() == pytest.approx(ce(scores, moved).item())
    assert torch.allclose(gradient(updating, scores, targets), gradient(ce, scores, moved))


def test_weights_follow_the_updated_labels_of_the_batch() -> None:
    balanced = by_name("label_updating", torch.tensor([9.0, 1, 1, 1, 1]))
    scores, targets = logits(7), labels(7)
    moved = balanced.updated(scores, targets)  # type: ignore[operator]
    assert (moved != targets).any()
    each = torch.nn.functional.cross_entropy(scores, moved, reduction="none")
    of_classes = [each[moved == code].mean() for code in moved.unique()]  # every class counts as much
    assert balanced(scores, targets).item() == pytest.approx(torch.stack(of_classes).mean().item())
    assert balanced.weight is None  # so that a batch weighs its cells where several processes train


def test_losses_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValueError, match="expected ce, hce, hce_logsumexp, label_updating"):
        build_loss("focal", reachability(), None)
    for name in LOSSES:
        with pytest.raises(ValueError, match="true diagonal"):
            build_loss(name, torch.zeros(3, 3), None)


@pytest.mark.parametrize("release", ["2022-09-15", "2024-01-04"])
def test_reachability_over_the_classes_of_the_paper(real_data: Path, release: str) -> None:
    file = {"2022-09-15": "ontology/CL-ancestors.v2022-09-15.json.gz"}.get(
        release, f"hce/CL-ontology-v{release}.json.gz"
    )
    with open(real_data / "hce" / "cell_types_164.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    with open(real_data / "hce" / "ancestor_descendant_pairs_381.csv", newline="") as handle:
        pairs = {(int(row["ancestor_index"]), int(row["descendant_index"])) for row in csv.DictReader(handle)}
    found = from_json(real_data / file, release).reachability([row["cl_id"] for row in rows])
    assert found.shape == (164, 164)
    assert found.sum() == 545
    assert found.diagonal().all()
    assert set(zip(*map(np.ndarray.tolist, np.nonzero(found & ~np.eye(164, dtype=bool))), strict=True)) == pairs
    assert not (found & found.T & ~np.eye(164, dtype=bool)).any()  # antisymmetric
    step = found.astype(int)
    assert ((step @ step > 0) == found).all()  # transitive
    below, above = found.sum(1) - 1, found.sum(0) - 1
    assert [(below > 0).sum(), ((below == 0) & (above > 0)).sum(), ((below == 0) & (above == 0)).sum()] == [46, 78, 40]
    index = {row["label"]: int(row["index"]) for row in rows}
    naive = next(label for label in index if label.startswith("naive thymus-derived CD8"))
    assert found[index["T cell"], index[naive]]
    assert not found[index[naive], index["T cell"]]


FOCAL = '''
"""Focal cross-entropy: cells that are predicted well count less."""

from torch import Tensor, nn
from torch.nn import functional

LABEL = "focal"
HIERARCHICAL = False


class Focal(nn.Module):
    """The mean of (1 - p)^2 times cross-entropy."""

    weight = None

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Scalar loss."""
        each = functional.cross_entropy(logits, targets, reduction="none")
        return ((1 - (-each).exp()).square() * each).mean()


def build(reachability: Tensor, weight: Tensor | None) -> nn.Module:
    """Without class weights."""
    return Focal()
'''
USE = """
import json
import torch
from annobench.config.losses import losses
from annobench.config.parameters import part_modules
from annobench.config.entities import load_method
from annobench.core.codehash import code_hash
from annobench.core.paths import ROOT
from annobench.methods.torch.losses import build_loss

parameters = load_method("linear_focal", ROOT, "study.yaml")["parameters"]
loss = build_loss(parameters["loss"], torch.eye(2) > 0, None)
print(json.dumps({
    "value": loss(torch.zeros(3, 2), torch.tensor([0, 1, 1])).item(),
    "losses": {name: [one.label, one.order] for name, one in losses().items()},
    "modules": part_modules("linear", parameters),
    "code": {name: code_hash(f"annobench.methods.torch.losses.{name}") for name in losses()},
}))
"""


def test_a_loss_is_one_file_and_its_method_a_few_lines(tmp_path: Path) -> None:
    """Added to a copy of the repository: found, named, coloured, and no other loss changes."""
    copy = clone(tmp_path)
    (copy / "scripts/annobench/methods/torch/losses/focal.py").write_text(FOCAL.lstrip())
    (copy / "config/methods/linear_focal.yaml").write_text(
        "extends: linear_ce\nlabel: Linear network, focal\nsummary: As `linear_ce`.\nparameters: {loss: focal}\n"
    )
    environment = os.environ | {"PYTHONPATH": str(copy / "scripts")}
    done = subprocess.run([sys.executable, "-c", USE], env=environment, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["value"] == pytest.approx(0.25 * np.log(2))
    assert found["losses"] == {loss.name: [loss.label, loss.order] for loss in losses().values()} | {
        "focal": ["focal", len(losses())]
    }
    assert found["modules"] == ["annobench.methods.torch.losses.focal"]
    for name in losses():
        assert found["code"][name] == code_hash(f"annobench.methods.torch.losses.{name}")
