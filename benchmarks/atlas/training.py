"""One epoch with the HCE loss: dense PyTorch on any loader as the reference, and our trainer."""

import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from annobench.methods.torch.losses import build_loss

from . import ours
from .measure import Record
from .peers import LOADERS
from .synthetic import CLASSES, GENES, reachability

RATES = {"linear": (5e-4, 0.01), "mlp": (2e-3, 0.05)}  # learning rate and weight decay of the HCE paper


class Watch:
    """Stands between loader and step: counts cells, and measures the time of both and of waiting for batches."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.cells, self.waiting, self.spent = 0, 0.0, 0.0
        self.losses: list[Tensor] = []

    def over(self, batches: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """Batches (values, codes), until the epoch or the time is over."""
        begin = asked = time.perf_counter()
        for found in batches:
            self.waiting += time.perf_counter() - asked
            self.cells += len(found[1])
            yield found
            del found  # its memory can then be reused for the next batch
            asked = time.perf_counter()
            if asked - begin > self.seconds:
                break
        self.spent = time.perf_counter() - begin

    def record(self) -> Record:
        """The measurements; the loss is the mean of the last ten batches."""
        return {
            "cells_per_second": self.cells / self.spent,
            "waiting": self.waiting / self.spent,
            "cells": self.cells,
            "seconds": self.spent,
            "first_loss": self.losses[0].item(),
            "loss": torch.stack(self.losses[-10:]).mean().item(),
        }


def epoch(name: str, network: str, folder: str, batch: int, seconds: float) -> Record:
    """Train one epoch, stopped after `seconds`.

    A step on one batch with another network comes first, so that imports and compilation are not measured.
    """
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    watch = Watch(seconds)
    if name == "ours":
        train_ours(Path(folder), batch, network, watch)
    else:
        batches = LOADERS[name](Path(folder), batch, True)
        step = dense_step(network, *RATES[network])
        for values, codes in islice(batches(0), 1):
            step(values, codes)
        step = dense_step(network, *RATES[network])
        for values, codes in watch.over(batches(1)):
            watch.losses.append(step(values, codes))
    return watch.record()


def train_ours(folder: Path, batch: int, network: str, watch: Watch) -> None:
    """Train one batch with a network that is discarded, then the measured epoch, with our trainer."""
    from annobench.methods.torch import networks, trainer
    from annobench.methods.torch.recipe import Recipe
    from annobench.methods.torch.resident import feed_of

    feed, loss = feed_of(ours.open_loader(folder, batch)), hce()
    rate, decay = RATES[network]
    recipe = Recipe(learning_rate=rate, weight_decay=decay, batch_size=batch, epochs=1, min_steps=1, patience=1)
    for watched in (_Watched(feed, lambda batches: islice(batches, 1)), _Watched(feed, watch.over)):
        model = {"linear": networks.linear, "mlp": networks.mlp}[network](GENES, CLASSES)
        watch.losses.clear()
        listener = loss.register_forward_hook(lambda module, given, value: watch.losses.append(value.detach()))
        trainer.Training(model, loss, watched, recipe, seed=0).run()
        listener.remove()


class _Watched:
    """A feed whose batches pass through a function."""

    def __init__(self, feed: Any, through: Any) -> None:
        self.feed, self.through, self.cells = feed, through, feed.cells

    def __len__(self) -> int:
        return len(self.feed)

    def epoch(self, number: int = 0, start: int = 0) -> Any:
        """The batches of the feed."""
        return self.through(self.feed.epoch(number, start))


def hce() -> nn.Module:
    """The loss over the classes of the atlas."""
    return build_loss("hce", torch.from_numpy(reachability()), None)


def dense_step(network: str, learning_rate: float, weight_decay: float) -> Callable[[Any, Any], Tensor]:
    """A step of the reference: the HCE paper's networks in plain PyTorch, dense float32, AdamW, clipping at 1."""
    model = nn.Linear(GENES, CLASSES) if network == "linear" else _mlp()
    loss = hce()
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)

    def step(values: Any, codes: Any) -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        value = loss(model(torch.from_numpy(values)), torch.from_numpy(codes))
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        return value.detach()

    return step


def _mlp(width: int = 128, blocks: int = 8) -> nn.Module:
    layers: list[nn.Module] = []
    for size in [GENES] + [width] * (blocks - 1):
        layers += [nn.Linear(size, width), nn.BatchNorm1d(width), nn.SiLU(), nn.Dropout(0.1)]
    return nn.Sequential(*layers, nn.Linear(width, CLASSES))
