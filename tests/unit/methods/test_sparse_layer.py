"""What is promised: the sparse first layer is nn.Linear in value, gradient and training, and refuses what harms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from annobench.cells.store.batch import Batch
from annobench.methods.torch import networks, sparse
from annobench.methods.torch.dropout import Dropout
from annobench.methods.torch.losses import build_loss


def cells(n: int, genes: int, density: float = 0.1, seed: int = 0) -> Batch:
    """Values as after log1p, with empty rows where they fall."""
    rng = np.random.default_rng(seed)
    values = (rng.random((n, genes)) < density) * rng.exponential(1, (n, genes))
    return Batch.from_csr(csr_matrix(values.astype(np.float32)))


def difference(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference relative to the norm of what is expected."""
    found, expected = found.detach().double(), expected.detach().double()
    return ((found - expected).norm() / expected.norm().clamp_min(1e-30)).item()


def dense_twin(network: nn.Module) -> nn.Sequential:
    """The same network, of PyTorch's layers alone."""
    layers: list[nn.Module] = []
    for layer in [network] if isinstance(network, sparse.SparseLinear) else list(network.children()):
        if isinstance(layer, sparse.SparseLinear):
            copy = nn.Linear(*layer.weight.shape)
            copy.load_state_dict({"weight": layer.weight.T, "bias": layer.bias})
        elif isinstance(layer, nn.Linear):
            copy = nn.Linear(layer.in_features, layer.out_features)
            copy.load_state_dict(layer.state_dict())
        else:
            copy = {nn.BatchNorm1d: lambda: nn.BatchNorm1d(8), nn.SiLU: nn.SiLU, Dropout: lambda: nn.Dropout(0)}[
                type(layer)
            ]()
        layers.append(copy)
    return nn.Sequential(*layers)


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(0, 40),
    genes=st.sampled_from([1, 2, 17, 511, 512, 513, 1100]),
    columns=st.sampled_from([1, 3, 16, 33]),
    density=st.sampled_from([0.0, 0.05, 1.0]),
    threads=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_products_equal_those_in_double_precision(
    n: int, genes: int, columns: int, density: float, threads: int, seed: int
) -> None:
    torch.set_num_threads(threads)
    batch = cells(n, genes, density, seed)
    generator = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(genes, columns, generator=generator), torch.randn(columns, generator=generator)
    gradient = torch.randn(n, columns, generator=generator)
    dense = torch.from_numpy(batch.dense()).double()
    assert difference(sparse.csr_matmul(batch, weight, bias), dense @ weight.double() + bias) < 1e-5
    assert difference(sparse.csr_grad(batch, gradient), dense.T @ gradient.double()) < 1e-5


@settings(deadline=None, max_examples=40)
@given(
    cells_of=st.lists(st.sampled_from([0, 1, 5, 63, 64, 65, 100]), min_size=1, max_size=4),
    genes=st.sampled_from([1, 2, 40, 700, 1300]),
    frequent=st.floats(0, 1),
    columns=st.sampled_from([1, 33, 164, 300]),
    threads=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_bands_hold_the_cells_and_products_are_exact_for_frequent_and_rare_genes(
    cells_of: list[int], genes: int, frequent: float, columns: int, threads: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    share = np.where(rng.random(genes) < frequent, 0.9, 0.02)
    parts = [rng.random((n, genes)) < share * (i % 2 == 0) for i, n in enumerate(cells_of)]  # every other part is empty
    there = np.concatenate(parts)
    batch = Batch.from_csr(csr_matrix((there * rng.exponential(1, there.shape)).astype(np.float32)))
    torch.set_num_threads(threads)
    bands = sparse.Bands.of(batch, columns)
    assert sorted(bands.order) == list(range(genes))
    found = np.zeros((batch.n, genes), dtype=np.float32)
    for band in range(len(bands.starts)):
        inside = slice(bands.starts[band, 0], bands.starts[band, -1])
        rows = np.repeat(np.arange(batch.n), np.diff(bands.starts[band]))
        found[rows, bands.order[bands.bounds[band] + bands.positions[inside]]] = bands.values[inside]
    dense = batch.dense()
    assert np.array_equal(found, dense)
    weight, gradient = (torch.from_numpy(rng.normal(size=(rows, columns))).float() for rows in (genes, batch.n))
    exact = torch.from_numpy(dense).double()
    product, sums = bands.matmul(weight), bands.grad(gradient)
    assert difference(product, exact @ weight.double()) < 2e-6
    assert difference(sums, exact.T @ gradient.double()) < 2e-6
    torch.set_num_threads(1)
    assert torch.equal(product, sparse.csr_matmul(batch, weight))
    assert torch.equal(sums, sparse.csr_grad(batch, gradient))


@pytest.mark.parametrize("table", [64, 1000, 10_000_000])
def test_sums_are_in_one_order_whatever_the_size_of_the_bands(monkeypatch: pytest.MonkeyPatch, table: int) -> None:
    batch = cells(300, 700)
    weight, bias, gradient = torch.randn(700, 33), torch.randn(33), torch.randn(300, 33)
    product, sums = sparse.csr_matmul(batch, weight, bias), sparse.csr_grad(batch, gradient)
    monkeypatch.setattr(sparse, "TABLE", table)
    assert torch.equal(sparse.csr_matmul(batch, weight, bias), product)
    assert torch.equal(sparse.csr_grad(batch, gradient), sums)


# more cells than a chunk, more genes than a band, more columns than registers
@pytest.mark.parametrize("columns", [1, 7, 164, 300])
def test_many_cells_genes_and_columns_whatever_the_threads(columns: int) -> None:
    batch = cells(1100, 1300)
    weight, gradient = torch.randn(1300, columns), torch.randn(1100, columns)
    dense = torch.from_numpy(batch.dense()).double()
    products, gradients = [], []
    for threads in (1, 2, 3, 7):
        torch.set_num_threads(threads)
        products.append(sparse.csr_matmul(batch, weight))
        gradients.append(sparse.csr_grad(batch, gradient))
    assert difference(products[0], dense @ weight.double()) < 1e-5
    assert difference(gradients[0], dense.T @ gradient.double()) < 1e-5
    assert all(torch.equal(products[0], other) for other in products)
    assert all(torch.equal(gradients[0], other) for other in gradients)


@pytest.mark.parametrize("loss", ["ce", "hce"])
@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_training_equals_that_of_dense_pytorch(name: str, loss: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(2)
    genes, classes = 700, 5
    ours = (
        networks.linear(genes, classes)
        if name == "linear"
        else networks.mlp(genes, classes, width=8, blocks=3, dropout=0)
    )
    theirs, exact = dense_twin(ours), dense_twin(ours).double()
    reachability = torch.eye(classes, dtype=torch.bool)
    reachability[0, 1:3] = True
    optimisers = [torch.optim.AdamW(net.parameters(), 1e-3, fused=True) for net in (ours, theirs, exact)]
    for step in range(4):
        batch = cells(200, genes, seed=step)
        dense = torch.from_numpy(batch.dense())
        codes = torch.from_numpy(np.random.default_rng(step).integers(classes, size=200))
        values = []
        for net, given_cells in ((ours, batch), (theirs, dense), (exact, dense.double())):
            net.zero_grad()
            criterion = build_loss(loss, reachability, None).to(next(net.parameters()).dtype)
            values.append(criterion(net(given_cells), codes))
            values[-1].backward()
        assert values[0].item() == pytest.approx(values[1].item(), rel=1e-5)
        assert values[0].item() == pytest.approx(values[2].item(), rel=1e-5)
        scale = torch.cat([p.grad.flatten() for p in exact.parameters()]).norm()
        for a, b, c in zip(ours.parameters(), theirs.parameters(), exact.parameters(), strict=True):
            # a bias before batch norm has the gradient 0, and rounding in its place: so the norm of all gradients
            found = (a.grad.T if a.shape != b.shape else a.grad).double()
            floor = max(c.grad.norm().item(), 1e-2 * scale.item())
            assert (found - b.grad.double()).norm().item() < 1e-5 * floor
            assert (found - c.grad).norm().item() < 1e-5 * floor
        if name == "mlp":  # which AdamW would make as large as any other
            for net in (ours, theirs, exact):
                for layer in list(net.children())[:-1]:
                    if isinstance(layer, sparse.SparseLinear | nn.Linear):
                        layer.bias.grad.zero_()
        for net, optimiser in zip((ours, theirs, exact), optimisers, strict=True):
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert difference(a.T if a.shape != b.shape else a, b) < 1e-4  # AdamW magnifies where a gradient is near 0


def test_a_tensor_gives_what_a_batch_gives() -> None:
    batch = cells(30, 50)
    network = networks.mlp(50, 4, width=8, blocks=2).eval()
    dense = torch.from_numpy(batch.dense())
    assert torch.allclose(network(batch), network(dense), atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(dense).dtype == torch.bfloat16


def test_parameters_start_as_those_of_linear() -> None:
    torch.manual_seed(0)
    weight, bias = sparse.SparseLinear(400, 300).parameters()
    torch.manual_seed(0)
    again = sparse.SparseLinear(400, 300).weight
    assert torch.equal(weight, again)
    for values, reference in ((weight, nn.Linear(400, 300).weight), (bias, nn.Linear(400, 300).bias)):
        assert values.abs().max().item() <= 0.05
        assert values.std().item() == pytest.approx(reference.std().item(), rel=0.1)


def test_gradients_add_up_and_outlive_the_next_step() -> None:
    batch, layer = cells(20, 30), sparse.SparseLinear(30, 4)
    layer(batch).sum().backward()
    kept = layer.weight.grad
    before = kept.clone()
    layer(batch).sum().backward()
    assert torch.allclose(layer.weight.grad, 2 * before)
    layer.zero_grad()
    after = kept.clone()
    layer(cells(20, 30, seed=1)).sum().backward()
    assert torch.equal(kept, after)


def test_frozen_weights_get_no_gradient() -> None:
    layer = sparse.SparseLinear(30, 4).requires_grad_(False)
    layer.bias.requires_grad_()
    layer(cells(20, 30)).sum().backward()
    assert layer.weight.grad is None
    assert torch.equal(layer.bias.grad, torch.full((4,), 20.0))


def test_explicit_zeros_are_values_and_nan_spreads() -> None:
    batch = Batch.from_csr(csr_matrix((np.float32([0, 2]), [1, 3], [0, 1, 2]), shape=(2, 5)))
    weight = torch.ones(5, 3)
    assert sparse.csr_matmul(batch, weight).tolist() == [[0] * 3, [2] * 3]
    weight[3, 1] = torch.nan
    assert sparse.csr_matmul(batch, weight).isnan().tolist() == [[False] * 3, [False, True, False]]
    assert sparse.csr_grad(batch, torch.tensor([[1.0], [torch.nan]])).isnan().squeeze().tolist() == [
        False,
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("product", ["matmul", "grad"])
@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 5], "columns of row 1 .* at most 4"),
        ([-1, 2], "columns of row 0"),
        ([2**31 - 1, 2], "columns of row 0"),
    ],
)
def test_columns_out_of_range_are_refused(indices: list[int], message: str, product: str) -> None:
    batch = cells(2, 5)
    batch.indptr, batch.values = np.array([0, 1, 2]), np.ones(2, dtype=np.float32)
    batch.indices = np.array(indices, dtype=np.int32)
    multiply, rows = (sparse.csr_matmul, 5) if product == "matmul" else (sparse.csr_grad, 2)
    with pytest.raises(ValueError, match=message):
        multiply(batch, torch.ones(rows, 2))


@pytest.mark.parametrize("indices", [[1, 1], [3, 2]])
def test_columns_that_do_not_rise_are_refused(indices: list[int]) -> None:
    batch = cells(1, 5)
    batch.indptr, batch.values = np.array([0, 2]), np.ones(2, dtype=np.float32)
    batch.indices = np.array(indices, dtype=np.int32)
    with pytest.raises(ValueError, match="do not increase"):
        sparse.csr_matmul(batch, torch.ones(5, 2))


@pytest.mark.parametrize("indptr", [[0, 1], [0, 3, 2], [0, 1, 9], [-1, 1, 2]])
def test_row_pointers_that_do_not_fit_are_refused(indptr: list[int]) -> None:
    batch = cells(2, 5)
    batch.indptr, batch.values = np.array(indptr), np.ones(2, dtype=np.float32)
    batch.indices = np.array([0, 1], dtype=np.int32)
    with pytest.raises(ValueError, match="indptr"):
        sparse.csr_matmul(batch, torch.ones(5, 2))


def test_weights_that_do_not_fit_are_refused() -> None:
    batch = cells(2, 5)
    with pytest.raises(ValueError, match=r"weight is torch.float64 \(5, 2\)"):
        sparse.csr_matmul(batch, torch.ones(5, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"weight is .*expected float32 \(5, outputs\)"):
        sparse.csr_matmul(batch, torch.ones(6, 2))
    with pytest.raises(ValueError, match=r"gradient is .*expected float32 \(2, outputs\)"):
        sparse.csr_grad(batch, torch.ones(3, 2))


def test_dropout_is_reproducible_and_its_gradient_has_the_same_mask() -> None:
    layer, values = Dropout(0.3), torch.rand(512, 64).add(0.5).requires_grad_()
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        torch.manual_seed(7)
        found.append(layer(values))
    first = found[0]
    assert torch.equal(*found)
    assert not torch.equal(first, layer(values))
    first.sum().backward()
    assert torch.equal(values.grad != 0, first != 0)
    assert torch.allclose(first[first != 0], values[first != 0] / 0.7)
    assert layer.eval()(values) is values
    with pytest.raises(ValueError, match="dropout is 1"):
        Dropout(1)


def test_dropout_masks_are_even_and_independent() -> None:
    torch.manual_seed(0)
    layer, ones, p = Dropout(0.1), torch.ones(256, 128), 0.1
    kept = torch.stack([(layer(ones) > 0).double() for _ in range(200)]).flatten(1)
    spread = (p * (1 - p)) ** 0.5
    assert kept.mean().item() == pytest.approx(1 - p, abs=4 * spread / kept.numel() ** 0.5)
    # binomial: between places and between draws, and no memory from place to place or from draw to draw
    assert kept.mean(0).std().item() == pytest.approx(spread / 200**0.5, rel=0.05)
    assert kept.mean(1).std().item() == pytest.approx(spread / kept.shape[1] ** 0.5, rel=0.25)
    centred = (kept - 1 + p) / spread
    for lag in (1, 2, 16, 128):
        assert abs((centred[:, lag:] * centred[:, :-lag]).mean().item()) < 4 / kept.numel() ** 0.5
    assert abs((centred[1:] * centred[:-1]).mean().item()) < 4 / kept.numel() ** 0.5


def test_tables_in_any_layout() -> None:
    batch = cells(20, 30)
    weight, gradient = torch.randn(4, 30).T, torch.ones(1, 1).expand(20, 4)
    assert torch.equal(sparse.csr_matmul(batch, weight), sparse.csr_matmul(batch, weight.contiguous()))
    assert torch.equal(sparse.csr_grad(batch, gradient), sparse.csr_grad(batch, gradient.contiguous()))
