"""Several processes that train one network together (see `annobench.fit.distributed`).

Every process holds the whole network and a share of each epoch's cells; gradients are averaged after every step. The
batch size is that of all processes together, so that a recipe means the same for any number of them. Batch norm uses
the statistics of the cells of its own process; its running statistics are averaged at the end of each epoch. Rank 0
validates, writes checkpoints and saves the model.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among all that train together.

    Attributes
    ----------
    rank
        Number of this process, from 0.
    size
        Number of processes.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "World":
        """The world of the launcher once its process group is initialised; else a world of one."""
        if "RANK" in os.environ and torch.distributed.is_initialized():
            return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())
        return cls()

    def average(self, gradients: Sequence[Tensor], weight: Tensor) -> None:
        """Average gradients over all processes, in place and in one message.

        Parameters
        ----------
        gradients
            Gradients of the mean loss over the batch of this process.
        weight
            Scalar by which this loss was divided: the number of cells, or the sum of their class weights. So the result
            is the gradient of the mean over the joint batch.
        """
        if self.size == 1:
            return
        flat = torch.cat([*(g.reshape(-1) for g in gradients), torch.ones(1, device=weight.device)]) * weight
        torch.distributed.all_reduce(flat)
        flat /= flat[-1].clone()
        _copy_pieces(flat, gradients)

    def average_statistics(self, network: nn.Module) -> None:
        """Average the running statistics of batch norm over all processes, in place."""
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        if self.size == 1 or not buffers:
            return
        flat = torch.cat([buffer.reshape(-1) for buffer in buffers])
        torch.distributed.all_reduce(flat)
        _copy_pieces(flat / self.size, buffers)

    def agree(self, value: T) -> T:
        """The value of rank 0, in every process; it must be picklable."""
        if self.size == 1:
            return value
        shared = [value]
        torch.distributed.broadcast_object_list(shared)
        return shared[0]


def _copy_pieces(flat: Tensor, targets: Sequence[Tensor]) -> None:
    """Copy pieces of a flat tensor into tensors."""
    start = 0
    for target in targets:
        target.copy_(flat[start : start + target.numel()].view_as(target))
        start += target.numel()
