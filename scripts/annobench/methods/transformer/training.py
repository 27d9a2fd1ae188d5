"""Training of a strategy: a budget of steps, a learning rate chosen on validation cells, the best state restored.

A step takes a random batch of cells, computed in pieces of similar length whose gradients are added up. What a step
draws follows from the seed and its number.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from annobench.core.counts import class_counts, macro_f1
from annobench.methods.torch.inference import precision
from annobench.methods.torch.optimiser import AdamW
from annobench.methods.torch.trainer import seed_step
from annobench.methods.transformer.batches import TokenTable
from annobench.methods.transformer.batches import pieces as groups
from annobench.methods.transformer.model import Annotator, features_of, is_out_of_memory
from annobench.methods.transformer.recipe import AdaptationRecipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ORDER = 1 << 32  # stream of the order of the cells, beside those of the steps


@dataclass(frozen=True)
class Labelled:
    """Cells with class numbers: tokens, or features where the backbone is frozen.

    Parameters
    ----------
    cells
        Tokens, or float32 (n, width).
    codes
        int64 (n,).
    """

    cells: "TokenTable | NDArray[np.float32]"
    codes: "NDArray[np.int64]"


@dataclass
class Outcome:
    """How a training went.

    Parameters
    ----------
    rate
        Learning rate that was chosen.
    tried
        Validation macro F1 of every rate after its trial.
    trained
        Validation macro F1 of every rate with which all steps were trained, in order; None where the loss was not
        finite, or without validation cells.
    steps, best_step
        Steps that were run, and the one whose weights are kept.
    score
        Validation macro F1 and negative mean loss of the kept weights; None without validation cells.
    halvings
        How often the pieces were halved because memory ran out.
    floor
        Validation macro F1 of one class for all cells, the best one: up to it, the loss decides what is better.
    """

    rate: float
    tried: dict[float, float] = field(default_factory=dict)
    trained: dict[float, float | None] = field(default_factory=dict)
    steps: int = 0
    best_step: int = 0
    score: tuple[float, float] | None = None
    halvings: int = 0
    floor: float = 0.0

    @property
    def rank(self) -> tuple[float, float]:
        """What is compared with that of others; without validation cells all are equal."""
        return ranked(self.score, self.floor)


def ranked(score: tuple[float, float] | None, floor: float) -> tuple[float, float]:
    """A validation score (macro F1, negative loss) as it is compared: what one class for all cells reaches is equal."""
    return (floor, -math.inf) if score is None else (max(score[0], floor), score[1])


class Trainer:
    """Trains what is trainable of an Annotator.

    Parameters
    ----------
    model
        On its device.
    loss, plain_loss
        For training, and for validation (without class weights); see annobench.methods.torch.losses.
    train, validation
        Cells with labels.
    recipe
        Hyperparameters.
    seed
        Seed of all draws.
    device
        `cpu` or `cuda`.
    progress
        Takes a fraction (0 to 1) and a text.
    """

    def __init__(
        self,
        model: Annotator,
        loss: nn.Module,
        plain_loss: nn.Module,
        train: Labelled,
        validation: Labelled | None,
        *,
        recipe: AdaptationRecipe,
        seed: int,
        device: str = "cpu",
        progress: Callable[[float, str], None] = lambda fraction, text: None,
    ) -> None:
        self.model, self.loss, self.plain_loss = model, loss.to(device), plain_loss.to(device)
        self.train, self.validation, self.recipe, self.seed = train, validation, recipe, seed
        self.device, self.progress = device, progress
        self.budget = recipe.tokens
        self.halvings = 0
        self.floor = 0.0 if validation is None else one_class(validation.codes)
        self._trained = {name: one for name, one in model.named_parameters() if one.requires_grad}

    def run(self, rates: "tuple[float, ...]") -> Outcome:
        """Train with the best of some learning rates; the model then has the best weights.

        A rate that is best in a short trial may be too high for all steps: where their best validation score stays
        below that of the trial, or is no better than one class for all cells, or the loss is not finite, the next lower
        rate is trained as well. What is best on the validation cells is kept, of equal ones the first.

        Raises FloatingPointError where no rate gives finite losses.
        """
        start = self._state()
        tried = self._tried(start, rates)
        if tried:
            chosen = max(tried, key=lambda rate: (ranked(tried[rate], self.floor), -rate))
            order = [chosen, *sorted((rate for rate in tried if rate < chosen), reverse=True)]
        else:
            order = [sorted(rates)[len(rates) // 2]]
        best, best_state = None, start
        trained: dict[float, float | None] = {}
        for rate in order:
            self._restore(start)
            try:
                outcome = self._steps(rate, self.recipe.steps, "training")
            except FloatingPointError:
                if best is None and rate == order[-1]:
                    raise
                trained[rate] = None
                continue
            trained[rate] = reached = None if outcome.score is None else outcome.score[0]
            if best is None or outcome.rank > best.rank:
                best, best_state = outcome, self._state()
            if reached is None or (reached > self.floor and (rate not in tried or reached >= tried[rate][0])):
                break
        assert best is not None
        self._restore(best_state)
        return replace(best, tried={rate: score[0] for rate, score in tried.items()}, trained=trained)

    def _tried(self, start: dict[str, Tensor], rates: tuple[float, ...]) -> dict[float, tuple[float, float]]:
        """Validation score of every rate after its trial, without those whose loss is not finite; none for one rate."""
        tried: dict[float, tuple[float, float]] = {}
        if self.validation is None or len(rates) == 1:
            return tried
        for rate in rates:
            self._restore(start)
            try:
                trial = self._steps(rate, min(self.recipe.trial_steps, self.recipe.steps), "trial")
            except FloatingPointError:
                continue  # too large
            assert trial.score is not None
            tried[rate] = trial.score
        if not tried:
            raise FloatingPointError(
                f"the loss was not finite with any learning rate of {list(rates)}; give lower ones"
            )
        return tried

    def _steps(self, rate: float, steps: int, what: str) -> Outcome:
        """Train with one learning rate."""
        optimiser = AdamW(self.model, self.recipe.weight_decay)
        outcome, kept = Outcome(rate, floor=self.floor), self._state()
        stale, done = 0, 0
        for done, rows in enumerate(self.batches(steps), 1):
            self.step(rows, done, optimiser, rate * schedule(done, steps, self.recipe.warmup))
            if self.validation is not None and (done % self.recipe.validate_every == 0 or done == steps):
                score = self.score(self.validation)
                stale += 1
                if outcome.score is None or ranked(score, self.floor) > outcome.rank:
                    outcome.score, outcome.best_step, kept, stale = score, done, self._state(), 0
                self.progress(done / steps, f"{what}: step {done} of {steps}, validation macro F1 {score[0]:.3f}")
                if stale >= self.recipe.patience:
                    break
        if self.validation is None:
            outcome.best_step = done
        else:
            self._restore(kept)
        outcome.steps, outcome.halvings = done, self.halvings
        return outcome

    def batches(self, steps: int) -> "Iterator[NDArray[np.int64]]":
        """Rows of each step: the cells in random order, again and again."""
        n, size = len(self.train.codes), min(self.recipe.batch_size, len(self.train.codes))
        rng = np.random.default_rng([self.seed, _ORDER])
        waiting = np.empty(0, dtype=np.int64)
        for _ in range(steps):
            if len(waiting) < size:
                waiting = np.concatenate([waiting, rng.permutation(n)])
            yield waiting[:size]
            waiting = waiting[size:]

    def step(self, rows: "NDArray[np.int64]", number: int, optimiser: AdamW, rate: float) -> None:
        """One step; where memory runs out it is taken again in smaller pieces."""
        while True:
            try:
                value = self.gradients(rows, number)
                break
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.budget < 2:
                    raise
            self._halve()
        if not np.isfinite(value):
            raise FloatingPointError(f"the loss became {value} in step {number}; lower the learning rate")
        optimiser.step(rate, self.recipe.clip)

    def _halve(self) -> None:
        longest = self.train.cells.lengths().max() if isinstance(self.train.cells, TokenTable) else 1
        if self.budget <= longest:
            raise MemoryError(f"a single cell of {longest} tokens does not fit the memory; use a smaller backbone")
        self.budget //= 2
        self.halvings += 1
        if torch.device(self.device).type == "cuda":
            torch.cuda.empty_cache()

    def gradients(self, rows: "NDArray[np.int64]", number: int) -> float:
        """Set the gradients of the mean loss over a batch, piece by piece; returns the loss."""
        self._train_mode()
        self.model.zero_grad(set_to_none=True)
        codes = torch.from_numpy(self.train.codes[rows]).to(self.device)
        weight = self.loss.weight
        each = weight[codes] if isinstance(weight, Tensor) else torch.ones_like(codes, dtype=torch.float32)
        whole = each.sum()
        total = torch.zeros((), device=self.device)
        for piece, part in enumerate(self.pieces(rows)):
            seed_step(self.seed, number, piece)
            own = torch.from_numpy(part).to(self.device)
            with precision(self.recipe.precision, self.device):
                scores = self._logits(self.train, rows[part])
            value = self.loss(scores.float(), codes[own]) * (each[own].sum() / whole)
            value.backward()
            total += value.detach()
        return float(total)

    def pieces(self, rows: "NDArray[np.int64]") -> "Iterator[NDArray[np.int64]]":
        """Places in `rows` that are computed together."""
        if isinstance(self.train.cells, TokenTable):
            return groups(self.train.cells.rows(rows).lengths(), self.budget)
        return iter([np.arange(len(rows))])

    def _logits(self, data: Labelled, rows: "NDArray[np.int64]") -> Tensor:
        if isinstance(data.cells, TokenTable):
            result: Tensor = self.model(data.cells.packed(rows, self.device))
        else:
            result = self.model.head(torch.from_numpy(data.cells[rows]).to(self.device))
        return result

    def _train_mode(self) -> None:
        """Dropout everywhere, but not in a frozen backbone. Visiting all modules takes time."""
        part = self.model if isinstance(self.train.cells, TokenTable) else self.model.head
        if not self.model.head.training:
            part.train()

    @torch.inference_mode()
    def score(self, data: Labelled) -> tuple[float, float]:
        """Macro F1 over the true classes, and the negative mean loss, which decides between equal scores."""
        features = data.cells
        if isinstance(features, TokenTable):
            features = features_of(
                self.model, features, device=self.device, kind=self.recipe.precision, budget=2 * self.budget
            )
        self.model.eval()
        scores = self.model.head(torch.from_numpy(features).to(self.device)).float()
        loss = float(self.plain_loss(scores, torch.from_numpy(data.codes).to(self.device)))
        counts = class_counts(data.codes, scores.argmax(1).cpu().numpy(), scores.shape[1])
        return float(macro_f1(*counts, counts[1] > 0)), -loss if math.isfinite(loss) else -math.inf

    def _state(self) -> dict[str, Tensor]:
        return {name: one.detach().clone() for name, one in self._trained.items()}

    @torch.no_grad()
    def _restore(self, state: dict[str, Tensor]) -> None:
        for name, one in self._trained.items():
            one.copy_(state[name])


def one_class(codes: "NDArray[np.int64]") -> float:
    """Macro F1 of the most frequent class for all cells; 0 where there is no other, as that is then right."""
    counts = np.bincount(codes)
    share, classes = counts.max() / len(codes), int((counts > 0).sum())
    return 0.0 if classes < 2 else float(2 * share / (1 + share) / classes)


def schedule(step: int, steps: int, warmup: float) -> float:
    """Factor of the learning rate: a linear rise over a share of the steps, then half a cosine down to 0.

    Parameters
    ----------
    step
        From 1.
    steps
        All steps.
    warmup
        Share of them.
    """
    rise = max(round(warmup * steps), 1)
    if step <= rise:
        return step / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1)))
