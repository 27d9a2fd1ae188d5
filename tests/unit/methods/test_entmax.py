"""What is promised: entmax-1.5 is exact, by a second implementation, by finite differences and at its edges."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from annobench.methods.torch import tabnet_kernels
from annobench.methods.torch.entmax import entmax15


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def by_sort(z: Tensor) -> Tensor:
    """The published algorithm: of the sorted prefixes, the longest that its own threshold leaves whole."""
    x = (z - z.amax(-1, keepdim=True)) / 2
    ordered = x.sort(-1, descending=True).values
    size = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    mean = ordered.cumsum(-1) / size
    spread = ordered.square().cumsum(-1) - size * mean.square()
    thresholds = mean - ((1 - spread).clamp_min(0) / size).sqrt()
    last = (thresholds <= ordered).sum(-1, keepdim=True) - 1
    return (x - thresholds.gather(-1, last)).clamp_min(0).square()


def by_kernel(z: Tensor, shift: Tensor) -> Tensor:
    """The kernel of the sparse path, made dense."""
    genes, values = np.zeros(z.shape, dtype=np.int32), np.zeros_like(z.numpy())
    counts = np.zeros(len(z), dtype=np.int64)
    tabnet_kernels.entmax_rows(0, len(z), z.numpy(), shift.numpy(), genes, values, counts)
    dense = np.zeros_like(values)
    for row, count in enumerate(counts):
        assert (np.diff(genes[row, :count]) > 0).all()
        dense[row, genes[row, :count]] = values[row, :count]
    return torch.from_numpy(dense)


@settings(deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 2, 3, 31, 32, 33, 127, 128, 129, 1000]),
    st.sampled_from([1e-3, 0.1, 1.0, 3.0, 30.0, 1e4]),
    st.sampled_from(["normal", "heavy", "ties"]),
)
def test_equals_the_algorithm_by_sorting(seed: int, columns: int, scale: float, shape: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(8, columns, generator=generator, dtype=torch.float64)
    z = scale * {"normal": z, "heavy": z**3, "ties": z.round()}[shape]
    expected = by_sort(z)
    shift = torch.randn(columns, generator=generator, dtype=torch.float64)
    assert torch.allclose(entmax15(z), expected, atol=1e-9)
    assert torch.allclose(by_kernel(z - shift, shift), expected, atol=1e-9)
    assert torch.allclose(entmax15(z.float()), expected.float(), atol=1e-5 * max(1, scale))
    assert torch.allclose(by_kernel(z.float(), 0 * shift.float()), entmax15(z.float()), atol=1e-5)


@pytest.mark.parametrize("columns", [2, 100, 20_000])
@pytest.mark.parametrize("gap", [0.0, 1e-4, 1e-2, 0.1, 0.5, 0.9, 1.0])
def test_the_search_ends_where_many_entries_lie_just_inside_the_support(columns: int, gap: float) -> None:
    z = torch.full((2, columns), gap - 2, dtype=torch.float64)
    z[0, 0], z[1, -1] = 0, 0
    for p in (entmax15(z), by_kernel(z, torch.zeros(columns, dtype=torch.float64))):
        assert torch.allclose(p.sum(1), torch.ones(2, dtype=torch.float64), atol=1e-12)
        assert torch.allclose(p, by_sort(z), atol=1e-8)  # the sums of the sorting algorithm lose digits here


def test_edges() -> None:
    assert entmax15(torch.tensor([[3.0], [-1e30]])).tolist() == [[1], [1]]
    assert torch.allclose(entmax15(torch.full((2, 300), 7.5)), torch.full((2, 300), 1 / 300))
    extreme = torch.tensor([[1e30, 0.0, -1e30], [1e4, 1e4, -1e4], [0.0, -float("inf"), -1.0]])
    p = entmax15(extreme)
    assert torch.allclose(p[:2], torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0]]), atol=1e-6)
    assert (p[:2] == 0).sum() == 3
    assert p[2, 1] == 0
    assert p[2].sum().item() == pytest.approx(1)
    assert entmax15(torch.tensor([[float("nan"), 1.0]])).isnan().all()
    assert torch.allclose(entmax15(torch.arange(6.0).view(1, 2, 3)), entmax15(torch.arange(3.0)))


@pytest.mark.parametrize("columns", [5, 200])
def test_gradient_by_finite_differences(columns: int) -> None:
    z = torch.randn(3, columns, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(entmax15, z, eps=1e-6)


def test_gradient_does_not_depend_on_a_shift() -> None:
    z = (torch.randn(4, 500) * 2).requires_grad_()
    (entmax15(z) * torch.randn(4, 500)).sum().backward()
    assert torch.allclose(z.grad.sum(1), torch.zeros(4), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_and_given_as_float32(dtype: torch.dtype) -> None:
    z = torch.randn(4, 300).to(dtype).requires_grad_()
    p = entmax15(z)
    p.square().sum().backward()
    assert p.dtype == torch.float32
    assert torch.equal(p, entmax15(z.float()))
    assert z.grad.dtype == dtype
