"""Which layers of a backbone are adapted, and how a module comes into the place of another."""

from collections.abc import Callable

from torch import nn

from annobench.core.errors import ConfigError, nearest
from annobench.methods.transformer.backbone import PROJECTIONS, Encoder

TARGETS = {
    "attention": ("q_proj", "v_proj"),
    "attention4": ("q_proj", "k_proj", "v_proj", "out_proj"),
    "all": PROJECTIONS,
    "scdlkit": ("out_proj", "linear1", "linear2"),
}  # name of a set -> layers


def target_layers(target: str) -> tuple[str, ...]:
    """Names of the Linear layers of a set; raises ConfigError where there is no such set."""
    if target not in TARGETS:
        raise ConfigError(f"parameters.options.target: there is no set of layers '{target}'{nearest(target, TARGETS)}")
    return TARGETS[target]


def replace_layers(backbone: Encoder, names: tuple[str, ...], build: Callable[[nn.Linear], nn.Module]) -> None:
    """Put `build(layer)` in the place of every Linear layer with one of these names."""
    for block in backbone.layers:
        for name in names:
            setattr(block, name, build(getattr(block, name)))


def merge(backbone: Encoder) -> None:
    """Put plain Linear layers in the place of adapters, in place; what is computed stays the same.

    Raises
    ------
    ValueError
        Something else than a Linear layer was adapted, for which there is no such layer.
    """
    for block in backbone.blocks:
        if block.extra is not None or any(
            not isinstance(slot, nn.Identity) for slot in (block.after_attention, block.after_feed_forward)
        ):
            raise ValueError("prefixes, prompts and bottleneck adapters cannot be merged into the layers they adapt")
        for name in PROJECTIONS:
            merged = getattr(getattr(block, name), "merged", None)
            if merged is not None:
                setattr(block, name, merged())
