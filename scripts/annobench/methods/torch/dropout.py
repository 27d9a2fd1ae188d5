"""Dropout that costs less than the layer before it.

On a CPU, PyTorch draws the mask from a serial generator: 1.2 ms for 2,048 x 128 values, four times the linear layer of
that width. Here PyTorch's generator yields 64 bits per call, and a kernel hashes them with the position of each value.
The backward pass draws the same mask again, so that nothing is stored.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from annobench.core import threads
from annobench.core.jit import njit
from annobench.methods.torch.autograd import Saved


class Dropout(nn.Module):
    """In training, sets a share `p` of the values to 0 and divides the others by 1 - p.

    Reproducible under torch.manual_seed with any number of threads. On a GPU, and for types other than float32, it is
    PyTorch's own dropout.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout is {p}, expected 0 <= p < 1")
        self.p = p

    def forward(self, values: Tensor) -> Tensor:
        """Values after dropout."""
        if not self.training or self.p == 0:
            return values
        if values.device.type != "cpu" or values.dtype != torch.float32:
            return functional.dropout(values, self.p)
        seed = torch.randint(2**32, (2,), dtype=torch.int64).tolist()
        return _Dropped.apply(values, self.p, seed)  # type: ignore[no-untyped-call]

    def extra_repr(self) -> str:
        """Shown when the network is printed."""
        return f"p={self.p}"


class _Seeded(Saved):
    p: float
    seed: list[int]


class _Dropped(torch.autograd.Function):
    """Values times a mask; their gradients times the same mask."""

    @staticmethod
    def forward(ctx: _Seeded, values: Tensor, p: float, seed: list[int]) -> Tensor:
        ctx.p, ctx.seed = p, seed
        return _masked(values, p, seed)

    @staticmethod
    def backward(ctx: _Seeded, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _masked(gradients[0], ctx.p, ctx.seed), None, None


def _masked(values: Tensor, p: float, seed: list[int]) -> Tensor:
    values = values.detach().contiguous()
    out = torch.empty_like(values)
    threads.run(
        _mask,
        values.numel(),
        torch.get_num_threads(),
        values.view(-1).numpy(),
        out.view(-1).numpy(),
        np.uint32(seed[0]),
        np.uint32(seed[1]),
        np.uint32(round(p * 2**32)),
        np.float32(1 / (1 - p)),
    )
    return out


@njit
def _mask(first, last, values, out, seed, salt, threshold, scale):  # type: ignore[no-untyped-def]
    """A bijective 32-bit mixer (xor-shift and multiply, twice), with the second seed added half way.

    Wrapped to 32 bits at every step because numba widens the product of two uint32.
    """
    for i in range(first, last):
        z = np.uint32(np.uint32(i) ^ seed)
        z = np.uint32((z ^ (z >> np.uint32(16))) * np.uint32(0x7FEB352D))
        z = np.uint32((z ^ (z >> np.uint32(15))) + salt)
        z = np.uint32((z ^ (z >> np.uint32(16))) * np.uint32(0x846CA68B))
        z = np.uint32(z ^ (z >> np.uint32(16)))
        out[i] = values[i] * (scale if z >= threshold else np.float32(0))  # NaN stays NaN
