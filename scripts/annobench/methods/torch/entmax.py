"""Entmax-1.5: a softmax whose small entries are exactly zero (Peters, Niculae and Martins, ACL 2019).

p = max(z / 2 - t, 0)^2, with the threshold t for which p sums to one. Published implementations sort every row to find
t; here it is found by Newton's method.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from annobench.methods.torch.autograd import Saved

BLOCK = 32  # columns that the first search replaces by their maximum
COARSE_STEPS = 10
FINE_STEPS = 5


def entmax15(z: Tensor) -> Tensor:
    """Entmax-1.5 over the last dimension of z; computed in float32 where z is in half precision."""
    if z.dtype in (torch.float16, torch.bfloat16):
        z = z.float()
    result: Tensor = _Entmax15.apply(z)  # type: ignore[no-untyped-call]
    return result


def threshold(x: Tensor) -> Tensor:
    """The threshold t of rows x = z / 2 whose maxima are zero, (..., 1): the root of |max(x - t, 0)| = 1.

    The norm is convex and decreases with t, so that Newton's steps from below rise to the root and never pass it. More
    entries only raise the root: the root over the maxima of blocks is therefore a start from below. It is close to the
    solution where few entries exceed the threshold, and costs a thirty-second of the work. The number of steps is
    fixed, so that the host never waits for a GPU.
    """
    columns = x.shape[-1]
    t = x.new_full((*x.shape[:-1], 1), -1.0)
    if columns >= 4 * BLOCK:
        whole = columns // BLOCK * BLOCK
        maxima = x[..., :whole].view(*x.shape[:-1], -1, BLOCK).amax(-1)
        t = _newton(torch.cat([maxima, x[..., whole:]], -1), t, COARSE_STEPS)
        return _newton(x, t, FINE_STEPS)
    return _newton(x, t, COARSE_STEPS)


def _newton(x: Tensor, t: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        above = (x - t).clamp_min(0)
        norm = torch.linalg.vector_norm(above, dim=-1, keepdim=True)
        t = t + norm * (norm - 1) / above.sum(-1, keepdim=True)
    return t


class _Entmax15(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Saved, z: Tensor) -> Tensor:
        x = (z - z.amax(-1, keepdim=True)) / 2
        p = (x - threshold(x)).clamp_min(0).square()
        ctx.save_for_backward(p)
        return p

    @staticmethod
    @once_differentiable
    def backward(ctx: Saved, grad: Tensor) -> Tensor:
        (p,) = ctx.saved_tensors
        root = p.sqrt()
        product = grad * root
        return product - root * (product.sum(-1, keepdim=True) / root.sum(-1, keepdim=True))
