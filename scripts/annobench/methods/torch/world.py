"""Several processes that train one network together (see `annobench.fit.distributed`).

Every process has the whole network and a share of each epoch's cells; gradients are averaged after every step. The size
of a batch is that of all processes together, so that the recipe means the same for any number of them. Batch norm takes
the statistics of the cells of its own process; its running statistics are averaged at the end of each epoch. Rank 0
validates, writes checkpoints and saves the model.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "World":
        """That of the launcher, once `join` was called; else a world of one."""
        if "RANK" in os.environ and torch.distributed.is_initialized():
            return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())
        return cls()

    def average(self, gradients: Sequence[Tensor], weight: Tensor) -> None:
        """Weighted mean over all processes, in place and in one message.

        weight: scalar, by which the loss of this process' batch was divided (its number of cells, or the sum of their
        class weights): so the result is the gradient of the mean over the joint batch.
        """
        if self.size == 1:
            return
        flat = torch.cat([*(g.reshape(-1) for g in gradients), torch.ones(1, device=weight.device)]) * weight
        torch.distributed.all_reduce(flat)
        flat /= flat[-1].clone()
        _spread(flat, gradients)

    def average_statistics(self, network: nn.Module) -> None:
        """Mean of the running statistics of batch norm over all processes."""
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        if self.size == 1 or not buffers:
            return
        flat = torch.cat([buffer.reshape(-1) for buffer in buffers])
        torch.distributed.all_reduce(flat)
        _spread(flat / self.size, buffers)

    def agree(self, values: Any) -> Any:
        """What rank 0 has, in every process; values that can be written as JSON."""
        if self.size == 1:
            return values
        shared = [values]
        torch.distributed.broadcast_object_list(shared)
        return shared[0]


def _spread(flat: Tensor, targets: Sequence[Tensor]) -> None:
    """Copy pieces of a flat tensor into tensors."""
    start = 0
    for target in targets:
        target.copy_(flat[start : start + target.numel()].view_as(target))
        start += target.numel()
