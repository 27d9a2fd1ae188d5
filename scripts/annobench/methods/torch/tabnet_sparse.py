"""TabNet's two wide products and their gradients on sparse cells: the CPU path of TabNet.

Nothing of size rows x genes is stored. With x_bn = a x + b for every gene, the first product is (x scaled by a) W +
b W. The mask has about a hundred entries per cell, so that everything after it is sparse: masked cells, the gradients
of mask and logits, and the second product. The logits themselves are computed for at most 64 rows at a time, and
dropped once the support of the mask is known. The terms that ghost batch norm adds to their gradient, constants per
gene and multiples of the normalised logits, are of rank n_a in every piece: its statistics and its share of the
gradients follow from the n_a x n_a covariance of the attention's input.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from annobench.core.threads import run
from annobench.methods.torch import tabnet_kernels as kernels
from annobench.methods.torch.autograd import Saved
from annobench.methods.torch.sparse import csr_grad, csr_matmul
from annobench.methods.torch.tabnet_layers import EPSILON, LOG_EPSILON, GhostBatchNorm

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from annobench.cells.store.batch import Batch

MAX_ROWS = 64  # of logits at a time: 5 MB at 20,000 genes, which stay in the cache
MOMENT_PARTS = 8  # fixed, so that sums do not depend on the number of threads


class SparseNetwork(Protocol):
    """The parts of a TabNet that the products use."""

    input_norm: GhostBatchNorm
    first: nn.Parameter
    attention: nn.Parameter
    attention_norm: GhostBatchNorm


class SparseProducts:
    """The wide products of a Batch; see annobench.methods.torch.tabnet_layers.Products."""

    def __init__(self, network: SparseNetwork, batch: "Batch") -> None:
        self.network, self.batch = network, batch
        norm = network.input_norm
        if norm.training:
            (rows,) = norm.pieces(batch.n)
            mean, variance = (torch.from_numpy(each).to(norm.weight.dtype) for each in moments(batch))
            norm.advance(mean[None], variance[None] * (rows / (rows - 1)))
        else:
            mean, variance = norm.running_mean.clone(), norm.running_var
        self.mean, self.rstd = mean, torch.rsqrt(variance + EPSILON)

    def affine(self) -> tuple[Tensor, Tensor]:
        """The a and b of x_bn = a x + b, each (genes,)."""
        norm = self.network.input_norm
        a = norm.weight.detach() * self.rstd
        return a, norm.bias.detach() - a * self.mean

    def first(self) -> Tensor:
        """See Products."""
        norm = self.network.input_norm
        result: Tensor = _First.apply(norm.weight, norm.bias, self.network.first, self)  # type: ignore[no-untyped-call]
        return result

    def masked(self, attention: Tensor) -> tuple[Tensor, Tensor]:
        """See Products."""
        network = self.network
        result: tuple[Tensor, Tensor] = _Masked.apply(  # type: ignore[no-untyped-call]
            attention,
            network.attention,
            network.attention_norm.weight,
            network.attention_norm.bias,
            network.input_norm.weight,
            network.input_norm.bias,
            network.first,
            self,
        )
        return result


def moments(batch: "Batch") -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
    """Mean and biased variance of every gene, (genes,)."""
    sums = np.zeros((MOMENT_PARTS, 2, batch.genes))
    _run(kernels.column_sums, MOMENT_PARTS, batch.indptr, batch.indices, batch.values, sums)
    mean, square = sums.sum(0) / batch.n
    return mean, np.maximum(square - mean**2, 0)


def _run(kernel: "Callable[..., None]", n: int, *arguments: "Tensor | NDArray[np.generic] | float") -> None:
    """Run a kernel on as many threads as PyTorch uses; tensors become arrays."""
    arrays = [each.detach().numpy() if isinstance(each, Tensor) else each for each in arguments]
    run(kernel, n, torch.get_num_threads(), *arrays)


class _FirstContext(Saved):
    products: SparseProducts
    affine: tuple[Tensor, Tensor]


class _First(torch.autograd.Function):
    """x_bn W, with gradients for gamma and beta of the batch norm and for W."""

    @staticmethod
    def forward(ctx: _FirstContext, gamma: Tensor, beta: Tensor, weight: Tensor, products: SparseProducts) -> Tensor:
        batch = products.batch
        a, b = products.affine()
        values = np.empty(len(batch.values), dtype=a.numpy().dtype)
        _run(kernels.scale_columns, len(values), batch.indices, batch.values, a, values)
        ctx.save_for_backward(weight)
        ctx.products, ctx.affine = products, (a, b)
        return csr_matmul(replace(batch, values=values), weight) + b @ weight

    @staticmethod
    @once_differentiable
    def backward(ctx: _FirstContext, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        products = ctx.products
        total = grad.sum(0)
        grad_weight = csr_grad(products.batch, grad.contiguous())
        grad_gamma = torch.empty_like(products.mean)
        _run(
            kernels.normalised_gradient,
            products.batch.genes,
            weight,
            total,
            *ctx.affine,
            products.mean,
            products.rstd,
            grad_weight,
            grad_gamma,
        )
        return grad_gamma, weight @ total, grad_weight, None


@dataclass
class Mask:
    """Entries above zero as CSR: `support` (rows + 1,), `genes` and `values` (nnz,)."""

    support: "NDArray[np.int64]"
    genes: "NDArray[np.int32]"
    values: "NDArray[np.floating]"

    def times(self, cells: "NDArray[np.floating]", batch: "Batch") -> "Batch":
        """The mask times cells, whose values are given at its entries, as a Batch."""
        return replace(batch, indptr=self.support, indices=self.genes, values=self.values * cells)


class GhostLogits:
    """z = ghost batch norm of attention weight^T, never computed as a whole.

    z = scale (attention - centre) weight^T + shift, with a scale for each piece; before weight and bias of the norm it
    is z_hat = rstd ((attention - centre) weight^T - offset). attention: (rows, n_a), weight: (genes, n_a).
    """

    def __init__(self, attention: Tensor, weight: Tensor, norm: GhostBatchNorm) -> None:
        self.weight, self.training = weight, norm.training
        self.lengths = norm.pieces(len(attention)) if norm.training else [len(attention)]
        self.piece = np.repeat(np.arange(len(self.lengths)), self.lengths)
        if norm.training:
            self.offset = torch.zeros_like(norm.bias)
            parts = torch.split(attention, self.lengths)
            centres = torch.stack([part.mean(0) for part in parts])
            self.centred = torch.cat([part - centre for part, centre in zip(parts, centres, strict=True)])
            self.covariances = [part.T @ part / len(part) for part in torch.split(self.centred, self.lengths)]
            variance = torch.stack([((weight @ each) * weight).sum(1) for each in self.covariances])
            unbiased = variance * torch.tensor([[n / (n - 1)] for n in self.lengths], dtype=variance.dtype)
            norm.advance(centres @ weight.T, unbiased)
        else:
            self.offset, self.centred, variance = norm.running_mean.clone(), attention, norm.running_var[None]
        self.rstd = torch.rsqrt(variance + EPSILON)
        self.scale = self.rstd * norm.weight.detach()
        self.shift = norm.bias.detach() - (0 if norm.training else self.scale[0] * self.offset)

    def mask(self) -> Mask:
        """Entmax-1.5 of the logits. Raises FloatingPointError where they are not finite."""
        parts = []
        entmax = RowEntmax(MAX_ROWS, len(self.weight), self.weight.dtype)
        for part, scale in zip(torch.split(self.centred, self.lengths), self.scale, strict=True):
            scaled = (self.weight * scale[:, None]).T
            if not torch.isfinite(part.sum() + scaled.sum() + self.shift.sum()):
                raise FloatingPointError("the attention of TabNet is no longer finite; lower the learning rate")
            for rows in torch.split(part, MAX_ROWS):
                parts.append(entmax(rows, scaled, self.shift))
        counts, genes, values = (np.concatenate(each) for each in zip(*parts, strict=True))
        return Mask(np.concatenate([[0], counts.cumsum()]), genes, values)

    def gradients(self, mask: Mask, grad_z: "NDArray[np.floating]") -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradients of attention, weight, and weight and bias of the norm, from that of z at the mask's support."""
        genes, n = len(self.weight), len(self.centred)
        z_hat = np.empty_like(grad_z)
        grad_attention, grad_weight = torch.zeros_like(self.centred), torch.zeros_like(self.weight)
        support = mask.support, mask.genes
        of_rows = self.piece, grad_z, self.scale, self.rstd, self.offset, self.centred, self.weight
        _run(kernels.logit_gradient, n, *support, *of_rows, z_hat, grad_attention)
        columns = np.empty(genes + 1, dtype=np.int64)
        entries, rows = (np.empty(len(grad_z), dtype=np.int64) for _ in range(2))
        kernels.by_gene(*support, columns, entries, rows)
        sums, products = (torch.zeros_like(self.scale) for _ in range(2))
        of_genes = self.piece, grad_z, z_hat, self.scale, self.centred, grad_weight, sums, products
        _run(kernels.gene_gradients, genes, columns, entries, rows, *of_genes)
        if self.training:
            self._through_statistics(sums, products, grad_attention, grad_weight)
        return grad_attention, grad_weight, products.sum(0), sums.sum(0)

    def _through_statistics(self, sums: Tensor, products: Tensor, grad_attention: Tensor, grad_weight: Tensor) -> None:
        """Subtract from the gradients, in place, what passes through mean and variance of each piece."""
        parts = torch.split(self.centred, self.lengths), torch.split(grad_attention, self.lengths)
        means = (self.scale * sums) @ self.weight
        factors = self.scale * self.rstd * products
        for number, (centred, grad) in enumerate(zip(*parts, strict=True)):
            weighted = self.weight * factors[number][:, None]
            grad_weight.addmm_(weighted, self.covariances[number], alpha=-1)
            grad -= (means[number] + centred @ (self.weight.T @ weighted)) / len(centred)


class RowEntmax:
    """Entmax-1.5 of a few rows at a time, in memory that is reused; pages that are never touched cost nothing."""

    def __init__(self, rows: int, genes: int, dtype: torch.dtype) -> None:
        self.z, self.values = (torch.empty(rows, genes, dtype=dtype) for _ in range(2))
        self.genes = np.empty((rows, genes), dtype=np.int32)

    def __call__(
        self, rows: Tensor, weight: Tensor, shift: Tensor
    ) -> tuple["NDArray[np.int64]", "NDArray[np.int32]", "NDArray[np.floating]"]:
        """Entmax-1.5 of rows weight + shift: entries above zero of each row, their genes and values."""
        n = len(rows)
        z = torch.mm(rows, weight, out=self.z[:n])
        counts = np.empty(n, dtype=np.int64)
        _run(kernels.entmax_rows, n, z, shift, self.genes, self.values, counts)
        indptr = np.concatenate([[0], counts.cumsum()])
        genes = np.empty(indptr[-1], dtype=np.int32)
        values = np.empty(indptr[-1], dtype=z.numpy().dtype)
        _run(kernels.compact, n, self.genes, self.values, indptr, genes, values)
        return counts, genes, values


class _MaskedContext(Saved):
    products: SparseProducts
    logits: GhostLogits
    mask: Mask
    raw: "NDArray[np.floating]"
    cells: "NDArray[np.floating]"


class _Masked(torch.autograd.Function):
    """(mask * x_bn) W, and the mean over the cells of sum M log M, from the attention's input."""

    @staticmethod
    def forward(
        ctx: _MaskedContext,
        attention: Tensor,
        attention_weight: Tensor,
        attention_gamma: Tensor,
        attention_beta: Tensor,
        gamma: Tensor,
        beta: Tensor,
        weight: Tensor,
        products: SparseProducts,
    ) -> tuple[Tensor, Tensor]:
        batch = products.batch
        logits = GhostLogits(attention.contiguous(), attention_weight, products.network.attention_norm)
        mask = logits.mask()
        raw = np.empty_like(mask.values)
        _run(kernels.look_up, batch.n, batch.indptr, batch.indices, batch.values, mask.support, mask.genes, raw)
        a, b = (each.numpy()[mask.genes] for each in products.affine())
        cells = a * raw + b
        ctx.save_for_backward(weight, attention_weight)
        ctx.products, ctx.logits, ctx.mask, ctx.raw, ctx.cells = products, logits, mask, raw, cells
        entropy = (mask.values * np.log(mask.values + LOG_EPSILON)).sum() / batch.n
        return csr_matmul(mask.times(cells, batch), weight), attention.new_tensor(entropy)

    @staticmethod
    @once_differentiable
    def backward(ctx: _MaskedContext, grad: Tensor, grad_entropy: Tensor) -> tuple[Tensor | None, ...]:
        weight, _ = ctx.saved_tensors  # the other is saved so that PyTorch notices a change of it
        products, mask = ctx.products, ctx.mask
        batch, grad = products.batch, grad.contiguous()
        grad_cells, grad_z = (np.empty_like(mask.values) for _ in range(2))
        forward = mask.support, mask.genes, mask.values, ctx.cells, grad, weight
        slope = grad_entropy.item() / batch.n
        _run(kernels.mask_gradient, batch.n, *forward, slope, LOG_EPSILON, grad_cells, grad_z)
        of_logits = ctx.logits.gradients(mask, grad_z)
        mean, rstd = (each.numpy()[mask.genes] for each in (products.mean, products.rstd))
        grad_gamma, grad_beta = (
            torch.from_numpy(np.bincount(mask.genes, each, batch.genes)).to(weight.dtype)
            for each in (grad_cells * rstd * (ctx.raw - mean), grad_cells)
        )
        return *of_logits, grad_gamma, grad_beta, csr_grad(mask.times(ctx.cells, batch), grad), None
