"""What is promised: losses, networks and the optimiser are what the papers and PyTorch say."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from annobench.torch import networks
from annobench.torch.losses import HierarchicalCrossEntropy, build_loss
from annobench.torch.trainer import AdamW, Recipe, logits, train
from helpers import toy_ontology

CLASSES = ["A", "A1", "A2", "A2x", "B"]


@pytest.fixture(autouse=True)
def double() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def reachability() -> torch.Tensor:
    return torch.as_tensor(toy_ontology().reachability(CLASSES))


def test_hce_by_hand() -> None:
    scores = torch.tensor([[1.0, 2.0, 0.5, -1.0, 0.0]])
    p = torch.softmax(scores, 1)[0]
    loss = HierarchicalCrossEntropy(reachability())
    # A has A1, A2, A2x below it; B has A2x
    assert loss(scores, torch.tensor([0])).item() == pytest.approx(-np.log(p[:4].sum().item() + 1e-6), rel=1e-5)
    assert loss(scores, torch.tensor([4])).item() == pytest.approx(-np.log((p[4] + p[3]).item() + 1e-6), rel=1e-5)


@given(st.integers(0, 10_000))
def test_without_epsilon_hce_is_ce_on_leaves_in_value_and_gradient(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first = (torch.randn(16, 5, generator=generator, dtype=torch.float64) * 3).requires_grad_()
    second = first.detach().clone().requires_grad_()
    targets = torch.tensor([1, 3])[torch.randint(2, (16,), generator=generator)]  # A1 and A2x are leaves
    hce = HierarchicalCrossEntropy(reachability().double(), epsilon=0).double()(first, targets)
    ce = torch.nn.functional.cross_entropy(second, targets)
    hce.backward()
    ce.backward()
    assert hce.item() == pytest.approx(ce.item(), abs=1e-9)
    assert torch.allclose(first.grad, second.grad, atol=1e-9)


def test_class_weights_average_as_pytorch_does() -> None:
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    scores, targets = torch.randn(8, 5), torch.tensor([0, 1, 2, 3, 4, 0, 1, 3])
    each = HierarchicalCrossEntropy(reachability())
    single = torch.stack([each(scores[i : i + 1], targets[i : i + 1]) for i in range(8)])
    whole = build_loss("hce", reachability(), weight)(scores, targets)
    assert whole.item() == pytest.approx(
        (single * weight[targets]).sum().item() / weight[targets].sum().item(), rel=1e-5
    )


def test_losses_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValueError, match="expected ce or hce"):
        build_loss("focal", reachability(), None)
    with pytest.raises(ValueError, match="true diagonal"):
        HierarchicalCrossEntropy(torch.zeros(3, 3))


def test_parameter_counts_of_the_paper() -> None:
    def size(network: torch.nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    assert size(networks.linear(19_331, 164)) == 3_170_448
    assert size(networks.mlp(19_331, 164)) == 2_613_284


def test_adamw_equals_pytorch() -> None:
    first, second = networks.mlp(20, 3, width=8, blocks=2), networks.mlp(20, 3, width=8, blocks=2)
    second.load_state_dict(first.state_dict())
    ours, theirs = AdamW(first, 0.05), torch.optim.AdamW(second.parameters(), lr=1e-2, weight_decay=0.05)
    for _ in range(5):
        batch = torch.randn(16, 20)
        for network in (first, second):
            network.eval()  # no dropout
            network.zero_grad()
            network(batch).square().mean().backward()
        ours.step(1e-2)
        theirs.step()
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-7)


def problem(n: int = 300) -> tuple[csr_matrix, np.ndarray]:
    rng = np.random.default_rng(0)
    codes = rng.integers(3, size=n)
    values = rng.poisson(1, (n, 30)).astype("float32")
    values[np.arange(n), codes] += 4
    return csr_matrix(values), codes


def fit(seed: int, validation: bool = True, n: int = 300, batch: int = 64) -> torch.nn.Module:
    matrix, codes = problem(n)
    torch.manual_seed(seed)
    network = networks.mlp(30, 3, width=16, blocks=2)
    held_out = (matrix[:60], codes[:60]) if validation else None
    recipe = Recipe(5e-3, 0.01, batch, epochs=5, min_steps=60, patience=3)
    train(
        network,
        build_loss("ce", torch.eye(3) > 0, None),
        matrix[60:],
        codes[60:],
        held_out,
        recipe,
        seed,
        "cpu",
        lambda *_: None,
    )
    return network


def test_training_learns_and_is_repeatable() -> None:
    matrix, codes = problem()
    first, again, other = fit(1), fit(1), fit(2)
    assert (logits(first, matrix, "cpu").argmax(1) == codes).mean() > 0.9
    assert np.array_equal(logits(first, matrix, "cpu"), logits(again, matrix, "cpu"))
    assert not np.array_equal(logits(first, matrix, "cpu"), logits(other, matrix, "cpu"))


def test_training_without_validation_and_with_a_last_batch_of_one() -> None:
    matrix, codes = problem(125)
    network = fit(1, validation=False, n=125, batch=64)  # 65 cells: batch norm could not take the last one alone
    assert (logits(network, matrix, "cpu").argmax(1) == codes).mean() > 0.8


def test_a_loss_that_explodes_is_an_error() -> None:
    matrix, codes = problem()
    recipe = Recipe(1e38, 0.0, 64, epochs=5, min_steps=10, patience=3)
    with pytest.raises(FloatingPointError, match="the loss became"):
        train(
            networks.linear(30, 3),
            build_loss("ce", torch.eye(3) > 0, None),
            matrix,
            codes,
            None,
            recipe,
            1,
            "cpu",
            lambda *_: None,
        )
