"""Weights of others in our names: each key is used, or dropped for a reason; anything else is an error.

Three layouts are known beside our own: scGPT's flash attention (`self_attn.Wqkv`), its later wrapper
(`self_attn._impl.Wqkv`) and PyTorch's (`self_attn.in_proj_weight`, which scFormer's files have). Their attention holds
q, k and v in one matrix, ours in three.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.data.checkpoints.spec import Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[np.float32]]

# parts of scGPT and scFormer that no embedding of a cell needs: how their keys begin, and what they are
DROPPED = {
    "decoder.": "predicts values of genes from their outputs",
    "mvc_decoder.": "predicts values of genes from the output of the cell",
    "cls_decoder.": "predicts the cell types of its training",
    "grad_reverse_discriminator.": "predicts the batches of its training",
    "batch_encoder.": "tells decoders the batch of a cell; the encoder does not read it",
    "flag_encoder.": "marks generated genes; the encoder does not read it",
}
_ENTRANCE = {
    "encoder.embedding": "gene_embedding",
    "encoder.enc_norm": "gene_norm",
    "value_encoder.linear1": "value_linear1",
    "value_encoder.linear2": "value_linear2",
    "value_encoder.norm": "value_norm",
}
_LAYER = re.compile(r"transformer_encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_JOINT = ("self_attn.Wqkv", "self_attn._impl.Wqkv", "self_attn.in_proj")
_INNER = {f"self_attn.{wrapper}out_proj": "out_proj" for wrapper in ("", "_impl.")}
_INNER |= {name: name for name in ("linear1", "linear2", "norm1", "norm2")}
_QKV = ("q_proj", "k_proj", "v_proj")
_SHOWN = 5


def weight_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every weight of an encoder, in the names of `Backbone`."""
    width, hidden = shape.width, shape.hidden

    def linear(name: str, out: int, into: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (width,), f"{name}.bias": (width,)}

    found = {"gene_embedding.weight": (shape.tokens, width), **norm("gene_norm")}
    found |= {**linear("value_linear1", width, 1), **linear("value_linear2", width, width), **norm("value_norm")}
    for layer in (f"layers.{number}." for number in range(shape.layers)):
        for name in (*_QKV, "out_proj"):
            found |= linear(layer + name, width, width)
        found |= linear(f"{layer}linear1", hidden, width) | linear(f"{layer}linear2", width, hidden)
        found |= norm(f"{layer}norm1") | norm(f"{layer}norm2")
    return found


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


def own_weights(found: "Mapping[str, NDArray[np.generic]]", shape: Shape, file: str) -> OwnWeights:
    """Weights of a file in our names.

    Parameters
    ----------
    found
        What the file holds, by its keys.
    shape
        Of the encoder, as the arguments of the file say.
    file
        Named in messages.

    Raises
    ------
    DataError
        Keys are missing, unknown, of another shape, or two of them hold the same weights; or values are not finite.
    """
    expected = weight_shapes(shape)
    arrays: Arrays = {}
    used: dict[str, str] = {}
    dropped: dict[str, str] = {}
    unknown, misshaped = [], []
    for key, values in found.items():
        names = _own_names(key.removeprefix("module."), expected)
        if not names or not set(names) <= set(expected):
            reason = next((why for head, why in DROPPED.items() if key.removeprefix("module.").startswith(head)), None)
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
    stated = f"{shape.layers} layers, {shape.width} wide, {shape.hidden} inside, {shape.tokens} tokens"
    if unknown:
        raise DataError(
            f"{file}: {_number(unknown)} neither part of an encoder of {stated}, nor of a head that may be dropped "
            f"({', '.join(DROPPED)}): {_listed(unknown)}; it is another model, or its arguments are"
        )
    if misshaped:
        raise DataError(f"{file}: {_listed(misshaped)}; by its arguments it has {stated}")
    if missing := [_their_name(name) for name in expected if name not in arrays]:
        missing = list(dict.fromkeys(missing))
        raise DataError(f"{file}: {_number(missing)} missing: {_listed(missing)}; by its arguments it has {stated}")
    if wrong := [key for name, key in used.items() if not np.isfinite(arrays[name]).all()]:
        raise DataError(f"{file}: {_listed(wrong)}: values are NaN or infinite; the file is damaged")
    return OwnWeights(arrays, used, dropped)


def _own_names(key: str, own: Iterable[str]) -> list[str]:
    """Our names of the weights behind a key of any layout: three of q, k and v together, none where it is unknown."""
    if key in own:
        return [key]
    head, _, kind = key.rpartition(".")
    if head in _ENTRANCE:
        return [f"{_ENTRANCE[head]}.{kind}"]
    if key.endswith((".in_proj_weight", ".in_proj_bias")):  # the one name that is not followed by a dot
        key = key.replace("in_proj_", "in_proj.")
    if match := _LAYER.fullmatch(key):
        number, part, kind = match.groups()
        if part in _JOINT:
            return [f"layers.{number}.{name}.{kind}" for name in _QKV]
        if part in _INNER:
            return [f"layers.{number}.{_INNER[part]}.{kind}"]
    return []


def _their_name(name: str) -> str:
    """The key of scGPT's files for one of our names, for messages."""
    head, _, kind = name.rpartition(".")
    for theirs, ours in _ENTRANCE.items():
        if ours == head:
            return f"{theirs}.{kind}"
    _, number, part = head.split(".")
    inner = {ours: theirs for theirs, ours in reversed(_INNER.items())}
    theirs = "self_attn.Wqkv" if part in _QKV else inner[part]
    return f"transformer_encoder.layers.{number}.{theirs}.{kind}"


def _number(keys: list[str]) -> str:
    return f"{len(keys)} keys are" if len(keys) > 1 else "a key is"


def _listed(texts: list[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
