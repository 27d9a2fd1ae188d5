"""Hyperparameters of adaptation."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class AdaptationRecipe:
    """How a strategy is trained; a YAML file gives what differs as the mapping `parameters.recipe`.

    Parameters
    ----------
    steps
        Most steps.
    learning_rates
        Among which validation chooses, after `trial_steps` of each; null for those of the strategy. Without validation
        cells the middle one is taken.
    trial_steps
        Steps of each trial.
    warmup
        Share of the steps in which the learning rate rises from 0; after it, it falls to 0 along half a cosine.
    weight_decay
        Of AdamW.
    clip
        Largest norm of all gradients together.
    batch_size
        Cells of a step.
    tokens
        Most tokens, padding included, that are computed at once. A step with more is computed in pieces whose
        gradients are added up, so that the result does not depend on it but for rounding. Halved where memory runs out.
    validate_every
        Steps between two validations.
    patience
        Validations without a better score after which training stops.
    head_dropout
        Share of the features of a cell that training leaves out before the last layer of the head.
    precision
        `auto` is bf16 where a GPU has it; a CPU always computes in float32.
    inverse_strengths
        Of the regularisation of the frozen probe (C), among which validation chooses; without validation cells, 1.
    """

    steps: int = 400
    learning_rates: tuple[float, ...] | None = None
    trial_steps: int = 60
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    batch_size: int = 32
    tokens: int = 16384
    validate_every: int = 40
    patience: int = 5
    head_dropout: float = 0.1
    precision: Literal["auto", "float32", "bf16"] = "auto"
    inverse_strengths: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)

    def __post_init__(self) -> None:
        for name in ("steps", "trial_steps", "batch_size", "tokens", "validate_every", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"recipe.{name} is {getattr(self, name)}, expected 1 or more")
        rates = self.learning_rates
        if rates is not None and (not len(rates) or min(rates) <= 0):
            raise ValueError(f"recipe.learning_rates is {list(rates)}, expected numbers above 0")
