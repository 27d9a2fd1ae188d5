"""What a layout of files is, and the weights that the encoders of all layouts share, in our names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from annobench.data.checkpoints.spec import Shape

Sizes: TypeAlias = dict[str, tuple[int, ...]]  # name of a weight -> its shape

QKV = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True)
class Layout:
    """How the keys of a file and our names go together.

    Parameters
    ----------
    title
        Whose layout it is, for messages.
    sizes
        Of every weight of an encoder of a shape.
    names
        Our names of the weights behind a key: three where q, k and v share one, none where the key is unknown.
    key
        The key of one of our names, for messages.
    dropped
        How keys begin that no embedding of a cell needs, and what they are.
    prefixes
        What may stand before a key.
    """

    title: str
    sizes: Callable[[Shape], Sizes]
    names: Callable[[str], list[str]]
    key: Callable[[str], str]
    dropped: Mapping[str, str]
    prefixes: tuple[str, ...]

    def bare(self, key: str) -> str:
        """A key without prefixes."""
        for prefix in self.prefixes:
            key = key.removeprefix(prefix)
        return key


def linear(name: str, out: int, into: int) -> Sizes:
    """Of a Linear layer."""
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> Sizes:
    """Of a LayerNorm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def layer_sizes(shape: Shape) -> Sizes:
    """Of all layers, which are the same in every encoder."""
    found: Sizes = {}
    for layer in (f"layers.{number}." for number in range(shape.layers)):
        for name in (*QKV, "out_proj"):
            found |= linear(layer + name, shape.width, shape.width)
        found |= linear(f"{layer}linear1", shape.hidden, shape.width)
        found |= linear(f"{layer}linear2", shape.width, shape.hidden)
        found |= norm(f"{layer}norm1", shape.width) | norm(f"{layer}norm2", shape.width)
    return found
