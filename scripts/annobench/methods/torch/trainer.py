"""The training loop: AdamW, step schedule, clipping, early stopping on the macro F1 of the validation cells.

All random numbers of a step follow from the seed, the epoch and the number of the batch. A training resumed from a
checkpoint therefore ends with the same weights as an uninterrupted one: on a CPU with the same number of threads, bit
for bit.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from annobench.methods.torch.checkpoint import Checkpoint, Progress
from annobench.methods.torch.inference import Feed, precision, score
from annobench.methods.torch.optimiser import AdamW
from annobench.methods.torch.recipe import Recipe
from annobench.methods.torch.world import World

if TYPE_CHECKING:
    from annobench.cells.store.batch import Batch

_REPORT = 2.0  # seconds between two reports of progress


@dataclass
class _Position:
    """State of a training: the next batch, and the best epoch so far."""

    epoch: int = 1
    batch: int = 0
    best: tuple[float, float] = (-1.0, 0.0)
    best_epoch: int = 0  # 0 before the first validation
    seconds: float = 0.0  # of earlier attempts
    weights: dict[str, Tensor] = field(default_factory=dict)  # of the best epoch


class Training:
    """Trains one network in place.

    Parameters
    ----------
    network
        Takes the cells of a batch, returns logits (n, classes). A term that it adds to the loss is its attribute
        `penalty`, a scalar.
    loss
        See annobench.methods.torch.losses.
    feed
        Training cells.
    recipe
        Hyperparameters.
    seed
        Seed of all random numbers of the steps.
    validation
        Cells that decide which epoch is best and when to stop, and the loss (without class weights) that decides
        between equal scores. Without them the last epoch is kept.
    reachability
        bool (classes, classes), [i, j] true where class j is i or a descendant of i; needed for selection by
        `ontology_macro_f1`.
    device
        `cpu` or `cuda`.
    progress
        Takes a fraction (0 to 1) and a text.
    checkpoint
        Where to resume from, and what to write.
    world
        Processes that train together; by default those of the launcher.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        feed: Feed,
        recipe: Recipe,
        *,
        seed: int,
        validation: tuple[Feed, nn.Module] | None = None,
        reachability: Tensor | None = None,
        device: str = "cpu",
        progress: Callable[[float, str], None] = lambda fraction, text: None,
        checkpoint: Checkpoint | None = None,
        world: World | None = None,
    ) -> None:
        self.network, self.loss, self.feed, self.recipe = network.to(device), loss.to(device), feed, recipe
        self.validation, self.device, self.seed = validation, device, seed
        self.below: Tensor | None = None
        if recipe.selection == "ontology_macro_f1":
            if reachability is None:
                raise ValueError("selection ontology_macro_f1 needs the reachability of the classes")
            self.below = reachability.bool().to(device)
        self.progress, self.checkpoint, self.world = progress, checkpoint, world or World.current()
        self.epochs = max(recipe.epochs, -(-recipe.min_steps // len(feed)))
        # the schedule is per epoch in the paper; stretched where epochs are many and short
        self.decay = recipe.decay ** (recipe.epochs / self.epochs)
        self.patience = recipe.patience * self.epochs // recipe.epochs
        self.optimiser = AdamW(self.network, recipe.weight_decay)
        self.at = _Position()
        self.total = torch.zeros((), device=device)  # of the losses since the last check: NaN if one of them is
        self.clock = _Clock(len(feed), feed.cells * self.world.size)

    def run(self) -> int:
        """Train; returns the epoch (from 1) whose weights are kept.

        Raises FloatingPointError where a loss is not finite.
        """
        self._resume()
        self.clock.begin(self.at.epoch, self.at.batch)
        while self.at.epoch <= self.epochs and not self._stale():
            self._epoch()
        if self.at.weights:
            self.network.load_state_dict(self.at.weights)
        return self.at.best_epoch or self.epochs

    def _stale(self) -> bool:
        """Whether the last epochs brought no improvement."""
        return self.at.best_epoch > 0 and self.at.epoch - 1 - self.at.best_epoch >= max(self.patience, 1)

    def _epoch(self) -> None:
        epoch, rate = self.at.epoch, self.recipe.learning_rate * self.decay ** (self.at.epoch - 1)
        self.network.train()
        for cells, codes in self.feed.epoch(epoch, self.at.batch):
            self._step(cells, codes, rate)
            self.at.batch += 1
            if self.clock.due():
                self._check()
                self._report()
            if self.checkpoint is not None and self.world.rank == 0 and self.checkpoint.due(inside=True):
                self._save()
        self._check()
        self.world.average_statistics(self.network)
        if self.validation is not None:
            self._validate(*self.validation)
        self.at.epoch, self.at.batch = epoch + 1, 0
        if self.checkpoint is not None and self.world.rank == 0 and self.checkpoint.due(inside=False):
            self._save()
        self._report()

    def _step(self, cells: "Batch | Tensor", codes: Tensor, rate: float) -> None:
        seed_step(self.seed, self.world.rank, self.at.epoch, self.at.batch)
        self.network.zero_grad(set_to_none=True)
        with precision(self.recipe.precision, self.device):
            scores = self.network(cells)
        value = self.loss(scores.float(), codes)
        penalty = getattr(self.network, "penalty", None)
        if penalty is not None:
            value = value + penalty
        value.backward()
        if self.world.size > 1:
            weight = self.loss.weight
            each = weight[codes] if isinstance(weight, Tensor) else torch.ones_like(codes, dtype=torch.float32)
            self.world.average(self.optimiser.gradients(), each.sum())
        self.optimiser.step(rate, self.recipe.clip)
        self.total += value.detach()

    def _check(self) -> None:
        """Raise FloatingPointError where a loss since the last check was not finite; waits for a GPU."""
        total = float(self.total)
        if not np.isfinite(total):
            raise FloatingPointError(f"the loss became {total} in epoch {self.at.epoch}; lower the learning rate")
        self.total.zero_()

    def _validate(self, feed: Feed, loss: nn.Module) -> None:
        """Keep the weights if they are the best so far; rank 0 decides for all processes."""
        achieved: tuple[float, float] | None = None
        if self.world.rank == 0:
            achieved = score(self.network, loss.to(self.device), feed, self.recipe.precision, self.below)
        achieved = self.world.agree(achieved)
        if achieved is not None and achieved > self.at.best:
            self.at.best, self.at.best_epoch = achieved, self.at.epoch
            self.at.weights = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}

    def _report(self) -> None:
        if self.world.rank == 0:
            epoch = min(self.at.epoch, self.epochs)
            fraction, pace = self.clock.pace(self.at.epoch, self.at.batch, self.epochs)
            best = f", best validation macro F1 {self.at.best[0]:.3f}" if self.at.best_epoch else ""
            self.progress(fraction, f"epoch {epoch} of at most {self.epochs}, {pace}{best}")

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"weights.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.at.weights.items()}
        return tensors | {f"optimiser.{name}": tensor for name, tensor in self.optimiser.state().items()}

    def _save(self) -> None:
        """Write a checkpoint, of finite weights only."""
        assert self.checkpoint is not None
        self._check()
        seconds = self.at.seconds + self.clock.seconds()
        progress = Progress(self.at.epoch, self.at.batch, self.at.best, self.at.best_epoch, seconds)
        self.checkpoint.save(self._tensors(), progress)

    def _resume(self) -> None:
        """Continue from the checkpoint, if there is one; rank 0 decides whether it can be used."""
        if self.checkpoint is None:
            return
        loaded = self.checkpoint.load() if self.world.rank == 0 else None
        if self.world.agree(loaded is not None):
            loaded = loaded or self.checkpoint.load()
            assert loaded is not None
            tensors, progress = loaded
            self.at = _Position(**asdict(progress))
            parts = {name: _part(tensors, name) for name in ("weights", "best", "optimiser")}
            self.network.load_state_dict(parts["weights"])
            self.at.weights = {name: tensor.to(self.device) for name, tensor in parts["best"].items()}
            for name, tensor in self.optimiser.state().items():
                tensor.copy_(parts["optimiser"][name])
            self.progress(0, f"resumed in epoch {self.at.epoch} after {self.at.batch} of {len(self.feed)} batches")


def seed_step(seed: int, *place: int) -> None:
    """Seed PyTorch's generators for one step."""
    value = int(np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)[0] >> 1)
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed(value)


class _Clock:
    """Cells per second and time left."""

    def __init__(self, batches: int, cells: int) -> None:
        self._batches, self._cells = batches, cells

    def begin(self, epoch: int, batch: int) -> None:
        """Start at a position."""
        self._start = self._done(epoch, batch)
        self._began = self._last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time for a report."""
        now = time.monotonic()
        if now - self._last < _REPORT:
            return False
        self._last = now
        return True

    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def pace(self, epoch: int, batch: int, epochs: int) -> tuple[float, str]:
        """Share that is done (0 to 1), with speed and time left as text."""
        done = self._done(epoch, batch)
        seconds = max(self.seconds(), 1e-9)
        each = seconds / max(done - self._start, 1e-9)  # of one epoch, validation included
        left = [duration(each * rest) for rest in (1 - batch / self._batches, epochs - done)]
        text = f"{self._cells / each:,.0f} cells/s, {left[0]} left of this epoch, at most {left[1]} in all"
        return done / epochs, text if batch else text.replace(f", {left[0]} left of this epoch", "")

    def _done(self, epoch: int, batch: int) -> float:
        return epoch - 1 + batch / self._batches


def duration(seconds: float) -> str:
    """Seconds as text, in the unit that fits."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin with a prefix, by their names without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}
