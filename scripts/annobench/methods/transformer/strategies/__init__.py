"""Strategies of adaptation, one file each, found by file name.

A strategy states, as literals, its LABEL for figures; RATES, the learning rates among which validation chooses; and,
where they are true of it, what tests hold it to: FROZEN (the backbone stays as it is, so that its features are computed
once), STARTS_AS_BASE (it changes nothing before training), MERGES (one plain backbone computes the same). Its function
`adapt` takes a backbone, of which nothing is trained, and its own options as keyword arguments; it puts trained modules
into it, or marks what is trained. The head stands outside and is always trained.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from annobench.core.errors import nearest
from annobench.methods.transformer.backbone import Encoder

STRATEGIES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"))


def strategy(name: str) -> ModuleType:
    """The module of a strategy; raises ValueError where there is none."""
    if name not in STRATEGIES:
        raise ValueError(f"there is no strategy '{name}'{nearest(name, STRATEGIES)}")
    return importlib.import_module(f"{__name__}.{name}")


def is_frozen(name: str) -> bool:
    """Whether the backbone stays as it is."""
    return bool(getattr(strategy(name), "FROZEN", False))


def adapt(backbone: Encoder, name: str, options: Mapping[str, object] | None = None) -> None:
    """Prepare a backbone for training, in place.

    Parameters
    ----------
    backbone
        With the weights of the base.
    name
        A strategy.
    options
        Keyword arguments of its `adapt`.
    """
    backbone.requires_grad_(False)
    strategy(name).adapt(backbone, **(options or {}))
    for block in backbone.layers:
        # softmax does not see what is added to all keys: its gradient is rounding, of which Adam makes full steps
        bias = getattr(getattr(block.k_proj, "base", block.k_proj), "bias", None)
        if bias is not None:
            bias.requires_grad_(False)
