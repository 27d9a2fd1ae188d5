"""Hyperparameters of training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args, get_type_hints

Settings: TypeAlias = Mapping[str, float | str | bool]  # fields that differ from a default recipe


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyperparameters of training with AdamW; a YAML file gives them as the mapping `parameters.recipe`.

    Parameters
    ----------
    learning_rate
        Of the first epoch.
    weight_decay
        Of AdamW, decoupled from the learning rate.
    batch_size
        Cells of a step, over all processes that train together.
    epochs
        Most epochs that are run.
    min_steps
        Steps that are taken at least: `epochs` is raised where a training set is so small that it has fewer.
    patience
        Epochs without a better validation score after which training stops.
    decay
        Factor of the learning rate after each epoch.
    clip
        Largest norm of all gradients together.
    precision
        `auto` is bf16 where a GPU has it; `float32` computes products in TF32 on a GPU; `bf16` is bf16. A CPU always
        computes in float32.
    selection
        The score of the validation cells by which the best epoch is kept: `macro_f1` over their classes, or
        `ontology_macro_f1`, for which a prediction below the label is right, as in the HCE paper.
    drop_last
        Whether the last batch of an epoch is left out where it is not full.
    """

    learning_rate: float
    weight_decay: float
    batch_size: int
    epochs: int
    min_steps: int
    patience: int
    decay: float = 0.9
    clip: float = 1.0
    precision: Literal["auto", "float32", "bf16"] = "auto"
    selection: Literal["macro_f1", "ontology_macro_f1"] = "macro_f1"
    drop_last: bool = False

    def __post_init__(self) -> None:
        for name, allowed in get_type_hints(type(self)).items():
            if (choices := get_args(allowed)) and getattr(self, name) not in choices:
                raise ValueError(f"{name} is '{getattr(self, name)}', expected {' or '.join(choices)}")
