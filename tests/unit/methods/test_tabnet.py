"""What is promised: TabNet is the network described, and on sparse cells the same network as on dense ones."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional

from annobench.cells.store.batch import Batch
from annobench.methods.torch import tabnet_sparse
from annobench.methods.torch.entmax import entmax15
from annobench.methods.torch.optimiser import AdamW
from annobench.methods.torch.sparse import csr_grad, csr_matmul
from annobench.methods.torch.tabnet import TabNet
from annobench.methods.torch.tabnet_layers import GhostBatchNorm, pieces

DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread; and products in float64, which the kernels for them do not have, through SciPy."""
    torch.set_num_threads(1)
    torch.manual_seed(0)

    def matmul(batch: Batch, weight: Tensor) -> Tensor:
        if weight.dtype == torch.float32:
            return csr_matmul(batch, weight)
        return torch.from_numpy(in_double(batch) @ weight.detach().numpy())

    def grad(batch: Batch, gradient: Tensor) -> Tensor:
        if gradient.dtype == torch.float32:
            return csr_grad(batch, gradient)
        return torch.from_numpy(in_double(batch).T @ gradient.numpy())

    monkeypatch.setattr(tabnet_sparse, "csr_matmul", matmul)
    monkeypatch.setattr(tabnet_sparse, "csr_grad", grad)


def in_double(batch: Batch) -> csr_matrix:
    return csr_matrix((batch.values.astype(float), batch.indices, batch.indptr), shape=(batch.n, batch.genes))


def cells(rows: int, genes: int, seed: int = 0) -> Batch:
    """Sparse cells; one without counts, and one gene that is constant and one that is never seen."""
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((rows, genes)) < 0.1, rng.exponential(1.5, (rows, genes)), 0)
    values[:, 1], values[:, 2] = 0.7, 0
    values[rows // 2] = 0
    return Batch.from_csr(csr_matrix(values.astype("float32")))


def network(genes: int, ghost: int = 16, dtype: torch.dtype = DOUBLE, **sizes: int) -> TabNet:
    """A network away from its start: weights and biases of norms differ, running statistics have moved."""
    result = TabNet(genes, 5, ghost=ghost, **sizes).to(dtype)
    with torch.no_grad():
        for parameter in result.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
        for seed in range(20):
            result(dense(cells(64, genes, seed + 100), dtype))
    return result


def dense(batch: Batch, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(batch.dense()).to(dtype)


def literal(net: TabNet, x: Tensor) -> tuple[Tensor, Tensor]:
    """The description, line by line, in training mode: logits, and the penalty."""

    def ghost(norm: GhostBatchNorm, x: Tensor) -> Tensor:
        parts = x.chunk(max(1, len(x) // norm.size))
        return torch.cat([functional.batch_norm(p, None, None, norm.weight, norm.bias, True) for p in parts])

    def glu(norm: GhostBatchNorm, y: Tensor) -> Tensor:
        y = ghost(norm, y)
        return y[:, :192] * torch.sigmoid(y[:, 192:])

    def transform(block: nn.Module, x: Tensor) -> Tensor:
        x = glu(block.norms[0], x @ net.first)
        for i in (1, 2):
            x = (x + glu(block.norms[i], x @ net.shared[i - 1].T)) * 0.5**0.5
        for i in (3, 4, 5, 6, 7):
            x = (x + glu(block.norms[i], x @ block.weights[i - 3].T)) * 0.5**0.5
        return x

    x = functional.batch_norm(x, None, None, net.input_norm.weight, net.input_norm.bias, True)
    attention = transform(net.splitter, x)[:, 128:192]
    mask = entmax15(ghost(net.attention_norm, attention @ net.attention.T))
    penalty = -1e-5 * (mask * torch.log(mask + 1e-15)).sum(1).mean()
    return torch.relu(transform(net.step, mask * x)[:, :128]) @ net.head.T, penalty


def test_parameter_count_of_the_paper() -> None:
    assert sum(p.numel() for p in TabNet(19_331, 164).parameters()) == 9_655_628


def test_initial_weights() -> None:
    net = TabNet(5000, 40)
    for weight, inputs, factor in ((net.first, 5000, 1), (net.shared[0], 192, 1), (net.attention, 64, 4)):
        # a gain of sqrt((in + out) / sqrt(factor in)) times Xavier's sqrt(2 / (in + out))
        assert weight.std().item() == pytest.approx((2 / (factor * inputs) ** 0.5) ** 0.5, rel=0.02)
    assert net.head.std().item() == pytest.approx((2 / (4 * 128) ** 0.5) ** 0.5, rel=0.05)


@pytest.mark.parametrize("rows", [50, 7, 64])
def test_the_network_is_the_one_described(rows: int) -> None:
    net, x = network(60), dense(cells(rows, 60), DOUBLE)
    expected, penalty = literal(net, x)
    assert torch.allclose(net(x), expected, atol=1e-10)
    assert net.penalty.item() == pytest.approx(penalty.item(), rel=1e-10)
    assert net.penalty.item() > 0


@given(st.integers(2, 5000), st.integers(2, 300))
def test_pieces_are_those_of_chunk(rows: int, size: int) -> None:
    expected = [len(part) for part in torch.empty(rows).chunk(max(1, rows // size))]
    if len(expected) > 1 and expected[-1] == 1:
        expected[-2:] = [expected[-2] + 1]
    assert pieces(rows, size) == expected
    assert pieces(50, 16) == [17, 17, 16]
    assert pieces(2048, 256) == [256] * 8


@pytest.mark.parametrize("rows", [50, 48, 7])
def test_ghost_batch_norm_is_a_batch_norm_of_each_piece_in_turn(rows: int) -> None:
    ghost, single = GhostBatchNorm(6, 16, 0.02), nn.BatchNorm1d(6, momentum=0.02)
    with torch.no_grad():
        for norm in (ghost, single):
            norm.weight.copy_(torch.arange(6) + 0.5)
            norm.bias.copy_(torch.arange(6))
    for seed in range(3):
        x = torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed)) * 3 + 1
        expected = torch.cat([single(part) for part in x.chunk(max(1, rows // 16))])
        assert torch.allclose(ghost(x), expected, atol=1e-5)
    assert torch.allclose(ghost.running_mean, single.running_mean, atol=1e-6)
    assert torch.allclose(ghost.running_var, single.running_var, atol=1e-5)
    assert torch.allclose(ghost.eval()(x), single.eval()(x), atol=1e-5)


def compare(net: TabNet, batch: Batch, dtype: torch.dtype, tolerance: float) -> None:
    """Outputs, penalty, every gradient and every running statistic of the sparse path against the dense one."""
    other = copy.deepcopy(net)
    direction = torch.randn(batch.n, 5, dtype=dtype)
    first, second = other(dense(batch, dtype)), net(batch)
    for model, logits in ((other, first), (net, second)):
        # the factor makes the penalty's share of the gradients as large as the rest
        ((logits * direction).sum() / batch.n + 1e5 * model.penalty).backward()
    assert torch.allclose(first, second, atol=tolerance * first.abs().max().item())
    assert net.penalty.item() == pytest.approx(other.penalty.item(), rel=tolerance, abs=1e-12)
    for (name, p), q in zip(net.named_parameters(), other.parameters(), strict=True):
        assert p.grad.shape == p.shape
        assert (p.grad - q.grad).norm() <= 10 * tolerance * q.grad.norm() + 1e-12, name
    for (name, b), c in zip(net.named_buffers(), other.named_buffers(), strict=True):
        assert torch.allclose(b, c[1], rtol=tolerance, atol=tolerance), name


@pytest.mark.parametrize(("dtype", "tolerance"), [(DOUBLE, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("rows", "genes", "ghost"), [(50, 300, 16), (7, 33, 256), (64, 129, 16), (150, 97, 140)])
def test_sparse_cells_give_what_dense_ones_give(
    dtype: torch.dtype, tolerance: float, training: bool, rows: int, genes: int, ghost: int
) -> None:
    net = network(genes, ghost, dtype).train(training)
    compare(net, cells(rows, genes), dtype, tolerance)


def test_other_sizes_and_a_norm_without_weight() -> None:
    net = network(40, decision=8, attention=3, shared=1, own=0)
    with torch.no_grad():
        net.attention_norm.weight[::3] = 0
        net.input_norm.weight[::4] = 0
    compare(net, cells(33, 40), DOUBLE, 1e-9)


def test_float32_is_as_close_to_the_truth_as_the_dense_path() -> None:
    net, batch = network(2000, 64), cells(300, 2000)
    direction = torch.randn(300, 5, dtype=DOUBLE)

    def gradients(dtype: torch.dtype, form: Batch | Tensor) -> list[Tensor]:
        model = copy.deepcopy(net).to(dtype)
        (model(form) * direction.to(dtype)).mean().backward()
        return [p.grad.double() for p in model.parameters()]

    truth = gradients(DOUBLE, dense(batch, DOUBLE))
    plain = gradients(torch.float32, dense(batch, torch.float32))
    ours = gradients(torch.float32, batch)
    error = [
        max(((g - t).norm() / t.norm()).item() for g, t in zip(each, truth, strict=True)) for each in (plain, ours)
    ]
    assert error[1] < max(5 * error[0], 1e-4)


def test_sparse_and_dense_training_stay_together() -> None:
    nets = [network(80)]
    nets.append(copy.deepcopy(nets[0]))
    optimisers = [AdamW(net, 0.05) for net in nets]
    for step in range(8):
        batch = cells(50, 80, step)
        labels = torch.from_numpy(np.random.default_rng(step).integers(5, size=50))
        for net, optimiser, form in zip(nets, optimisers, (batch, dense(batch, DOUBLE)), strict=True):
            net.zero_grad(set_to_none=True)
            (functional.cross_entropy(net(form), labels) + net.penalty).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step(5e-3)
    for p, q in zip(nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True):
        assert torch.allclose(p, q, atol=1e-7)


def test_results_do_not_depend_on_the_threads_of_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    net, batch, results = network(300, dtype=torch.float32), cells(150, 300), []
    for threads in (1, 2, 5):
        monkeypatch.setattr(tabnet_sparse.torch, "get_num_threads", lambda threads=threads: threads)
        model = copy.deepcopy(net)
        logits = model(batch)
        (logits.square().mean() + model.penalty).backward()
        results.append([logits, *(p.grad for p in model.parameters()), *model.buffers()])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_evaluation_of_one_cell_and_without_gradients() -> None:
    net, batch = network(60).eval(), cells(9, 60)
    with torch.inference_mode():
        whole = net(batch)
        for row in (0, 4):  # the fifth has no counts
            matrix = batch.csr()[row]
            assert torch.allclose(net(Batch.from_csr(matrix)), whole[row : row + 1], atol=1e-9)


def test_gradients_add_up_over_batches() -> None:
    net, batch = network(60), cells(20, 60)
    net(batch).square().mean().backward()
    once = [p.grad.clone() for p in net.parameters()]
    net(batch).square().mean().backward()
    assert all(torch.allclose(p.grad, 2 * g, rtol=1e-9) for p, g in zip(net.parameters(), once, strict=True))


def test_what_cannot_be_is_refused() -> None:
    net = network(60)
    with pytest.raises(ValueError, match="the cells have 59 genes, the network 60"):
        net(cells(20, 59))
    with pytest.raises(ValueError, match="needs two rows or more in training, got 1"):
        net(Batch.from_csr(cells(20, 60).csr()[0]))
    with torch.no_grad():
        net.first[3, 3] = float("nan")
    with pytest.raises(FloatingPointError, match="no longer finite; lower the learning rate"):
        net(cells(20, 60))


def test_it_learns_from_sparse_cells() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(3, size=256)
    values = rng.poisson(0.3, (256, 50)).astype("float32")
    values[np.arange(256), codes] += 3
    batch, labels = Batch.from_csr(csr_matrix(values)), torch.from_numpy(codes)
    net = TabNet(50, 3, ghost=64)
    optimiser = AdamW(net, 0.01)
    for _ in range(40):
        net.zero_grad(set_to_none=True)
        (functional.cross_entropy(net(batch), labels) + net.penalty).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step(5e-3)
    assert (net(batch).argmax(1) == labels).float().mean() > 0.95
