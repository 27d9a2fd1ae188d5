"""Weights of others in our names: each key is used, or dropped for a reason; anything else is an error.

Our own form, which the rules keep, is read by the same function.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.data.checkpoints.geneformer import GENEFORMER
from annobench.data.checkpoints.names import Layout, Sizes
from annobench.data.checkpoints.scgpt import SCGPT
from annobench.data.checkpoints.spec import BertShape, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[np.float32]]

_SHOWN = 5


def layout_of(shape: Shape) -> Layout:
    """The layout of the files of an encoder."""
    return GENEFORMER if isinstance(shape, BertShape) else SCGPT


def weight_shapes(shape: Shape) -> Sizes:
    """Name -> shape of every weight of an encoder, in the names of its module."""
    return layout_of(shape).sizes(shape)


@dataclass(frozen=True)
class OwnWeights:
    """Weights of an encoder in our names, where each comes from, and what was dropped and why."""

    arrays: "Arrays"
    used: dict[str, str]
    dropped: dict[str, str]

    @property
    def parameters(self) -> int:
        """How many numbers they are."""
        return sum(values.size for values in self.arrays.values())


def own_weights(
    found: "Mapping[str, NDArray[np.generic]]", shape: Shape, file: str, *, layers: int | None = None
) -> OwnWeights:
    """Weights of a file in our names.

    Parameters
    ----------
    found
        What the file holds, by its keys.
    shape
        Of the encoder, as the arguments of the file say.
    file
        Named in messages.
    layers
        Layers that are read, of those that the file must have; None for all.

    Raises
    ------
    DataError
        Keys are missing, unknown, of another shape, or two of them hold the same weights; or values are not finite.
    """
    layout, expected = layout_of(shape), weight_shapes(shape)
    read = weight_shapes(shape if layers is None else replace(shape, layers=layers))
    arrays: Arrays = {}
    used: dict[str, str] = {}
    dropped: dict[str, str] = {}
    unknown, misshaped = [], []
    for key, values in found.items():
        bare = layout.bare(key)
        names = [bare] if bare in expected else layout.names(bare)
        if not names or not set(names) <= set(expected):
            reason = next((why for head, why in layout.dropped.items() if bare.startswith(head)), None)
            dropped |= {key: reason} if reason else {}
            unknown += [] if reason else [key]
            continue
        one = expected[names[0]]
        wanted = (len(names) * one[0], *one[1:])
        if values.shape != wanted:
            misshaped.append(f"'{key}' has shape {tuple(values.shape)}, expected {wanted}")
            continue
        for name, part in zip(names, np.split(np.asarray(values, dtype=np.float32), len(names)), strict=True):
            if name in used:
                raise DataError(
                    f"{file}: '{key}' and '{used[name]}' hold the same weights ({name}); remove one of them"
                )
            arrays[name], used[name] = np.ascontiguousarray(part), key
            if name not in read:
                dropped[key] = "of a layer beyond input.layer"
    stated = f"{shape.layers} layers, {shape.width} wide, {shape.hidden} inside, {shape.tokens} tokens"
    if unknown:
        raise DataError(
            f"{file}: {_number(unknown)} neither part of an encoder of {stated}, nor of a head that may be dropped "
            f"({', '.join(layout.dropped)}): {_listed(unknown)}; it is another model, or its arguments are"
        )
    if misshaped:
        raise DataError(f"{file}: {_listed(misshaped)}; by its arguments it has {stated}")
    if missing := [layout.key(name) for name in expected if name not in arrays]:
        missing = list(dict.fromkeys(missing))
        raise DataError(f"{file}: {_number(missing)} missing: {_listed(missing)}; by its arguments it has {stated}")
    if wrong := [key for name, key in used.items() if not np.isfinite(arrays[name]).all()]:
        raise DataError(f"{file}: {_listed(wrong)}: values are NaN or infinite; the file is damaged")
    return OwnWeights({name: arrays[name] for name in read}, {name: used[name] for name in read}, dropped)


def _number(keys: list[str]) -> str:
    return f"{len(keys)} keys are" if len(keys) > 1 else "a key is"


def _listed(texts: list[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
