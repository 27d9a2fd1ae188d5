"""The training loop: AdamW, step schedule, clipping, early stopping on the macro F1 of the validation cells.

All random numbers of a step follow from the seed, the epoch and the number of the batch. A training resumed from a
checkpoint therefore ends with the same weights as an uninterrupted one: on a CPU with the same number of threads, bit
for bit.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from annobench.core.counts import macro_f1
from annobench.methods.torch.checkpoint import Checkpoint, Progress
from annobench.methods.torch.recipe import Recipe
from annobench.methods.torch.world import World

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from annobench.cells.store.batch import Batch
_REPORT = 2.0  # seconds between two reports of progress


class Feed(Protocol):
    """Batches in the form a network takes, cut and ordered as by a Loader."""

    cells: int  # per epoch

    def __len__(self) -> int:
        """Batches per epoch."""

    def epoch(self, number: int = 0, start: int = 0) -> "Iterator[tuple[Batch | Tensor, Tensor]]":
        """Batches of epoch `number`, from batch `start` on.

        Each is (cells, codes): cells as a sparse Batch on a CPU, or as a dense tensor (n, genes) on the device; codes
        are class numbers, int64 (n,).
        """


class AdamW:
    """PyTorch's fused AdamW with its default betas, through its functional form.

    The first call of the class torch.optim.AdamW imports the compiler: 0.7 s of every short fit.
    """

    def __init__(self, network: nn.Module, weight_decay: float) -> None:
        self.parameters: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
        self.weight_decay = weight_decay
        self.mean = [torch.zeros_like(p) for p in self.parameters]
        self.square = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    def gradients(self) -> list[Tensor]:
        """Gradients of the last backward pass."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if len(gradients) != len(self.parameters):
            raise ValueError("every trainable parameter needs a gradient")
        return gradients

    @torch.no_grad()
    def step(self, learning_rate: float, clip: float | None = None) -> None:
        """One step; `clip` is the largest norm of all gradients together.

        Clipping divides by max(norm / clip, 1) within the step, which saves a pass over all gradients.
        """
        gradients = self.gradients()
        scale = None
        if clip is not None:
            norms = torch._foreach_norm(gradients)
            scale = (torch.linalg.vector_norm(torch.stack(norms)) / clip).clamp_min(1)
        adamw(
            self.parameters,
            gradients,
            self.mean,
            self.square,
            [],
            self.steps,
            fused=True,
            grad_scale=scale,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """Tensors of the state by name."""
        named = {"mean": self.mean, "square": self.square, "steps": self.steps}
        return {f"{name}.{i}": tensor for name, tensors in named.items() for i, tensor in enumerate(tensors)}


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


def uses_bf16(name: str, device: str) -> bool:
    """Whether a precision means bf16 on a device; raises ValueError for an unknown one."""
    if name not in ("auto", "float32", "bf16"):
        raise ValueError(f"precision is '{name}', expected auto, float32 or bf16")
    if torch.device(device).type != "cuda" or name == "float32":
        return False
    return name == "bf16" or torch.cuda.is_bf16_supported(including_emulation=False)


def precision(name: str, device: str) -> torch.autocast:
    """Autocast context for the forward pass of a network."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=uses_bf16(name, device))


@torch.inference_mode()
def score(
    network: nn.Module, loss: nn.Module, feed: Feed, kind: str = "auto", below: Tensor | None = None
) -> tuple[float, float]:
    """Validation score of a network.

    Parameters
    ----------
    network, loss
        The loss is without class weights.
    feed
        Validation cells.
    kind
        Precision, as in Recipe.
    below
        bool (classes, classes), [i, j] true where class j is i or a descendant of i. If given, a prediction below the
        label counts as the label, and the mean is over the classes that are labelled or predicted: the validation score
        of the HCE paper's code. Otherwise the mean is over the true classes.

    Returns
    -------
    macro F1, negative mean loss
        The loss decides between equal F1: few validation cells are soon all right. Counts stay on the device, and only
        one batch of logits is held at a time.
    """
    counts, losses = torch.zeros(0), torch.zeros(0)
    for scores, codes in outputs(network, feed, kind):
        if not len(counts):
            counts = scores.new_zeros((3, scores.shape[1]), dtype=torch.int64)
            losses = scores.new_zeros((), dtype=torch.float64)
        best = scores.argmax(1)
        if below is not None:
            best = torch.where(below[codes, best], codes, best)
        hits, ones = (best == codes).long(), torch.ones_like(codes)
        for row, places, amounts in ((0, codes, hits), (1, codes, ones), (2, best, ones)):
            counts[row].scatter_add_(0, places, amounts)
        losses += loss(scores, codes).double() * len(codes)
    hit, true, predicted = counts.cpu().numpy()
    mean = float(losses) / feed.cells
    members = true > 0 if below is None else true + predicted > 0
    return float(macro_f1(hit, true, predicted, members)), -mean if np.isfinite(mean) else -np.inf


@torch.inference_mode()
def outputs(network: nn.Module, feed: Feed, kind: str = "auto") -> Iterator[tuple[Tensor, Tensor]]:
    """Logits batch by batch, float32 (n, classes) on the device, with the class numbers of the cells."""
    network.eval()
    device = next(network.parameters()).device.type
    for cells, codes in feed.epoch():
        with precision(kind, device):
            scores = network(cells)
        yield scores.float(), codes


def logits(network: nn.Module, feed: Feed, kind: str = "auto") -> "NDArray[np.float32]":
    """Logits of all cells of a feed, float32 (cells, classes)."""
    values: NDArray[np.float32] = torch.cat([scores.cpu() for scores, _ in outputs(network, feed, kind)]).numpy()
    return values


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
