"""The layout of scGPT and scFormer.

Three variants are known: scGPT's flash attention (`self_attn.Wqkv`), its later wrapper (`self_attn._impl.Wqkv`) and
PyTorch's (`self_attn.in_proj_weight`, which scFormer's files have). Their attention holds q, k and v in one matrix,
ours in three.
"""

import re

from annobench.data.checkpoints.names import QKV, Layout, Sizes, layer_sizes, linear, norm
from annobench.data.checkpoints.spec import Shape

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


def _sizes(shape: Shape) -> Sizes:
    """Of every weight, in the names of `Backbone`."""
    width = shape.width
    found: Sizes = {"gene_embedding.weight": (shape.tokens, width), **norm("gene_norm", width)}
    found |= {**linear("value_linear1", width, 1), **linear("value_linear2", width, width), **norm("value_norm", width)}
    return found | layer_sizes(shape)


def _names(key: str) -> list[str]:
    head, _, kind = key.rpartition(".")
    if head in _ENTRANCE:
        return [f"{_ENTRANCE[head]}.{kind}"]
    if key.endswith((".in_proj_weight", ".in_proj_bias")):  # the one name that is not followed by a dot
        key = key.replace("in_proj_", "in_proj.")
    if match := _LAYER.fullmatch(key):
        number, part, kind = match.groups()
        if part in _JOINT:
            return [f"layers.{number}.{name}.{kind}" for name in QKV]
        if part in _INNER:
            return [f"layers.{number}.{_INNER[part]}.{kind}"]
    return []


def _key(name: str) -> str:
    head, _, kind = name.rpartition(".")
    for theirs, ours in _ENTRANCE.items():
        if ours == head:
            return f"{theirs}.{kind}"
    _, number, part = head.split(".")
    inner = {ours: theirs for theirs, ours in reversed(_INNER.items())}
    theirs = "self_attn.Wqkv" if part in QKV else inner[part]
    return f"transformer_encoder.layers.{number}.{theirs}.{kind}"


SCGPT = Layout(title="scGPT", sizes=_sizes, names=_names, key=_key, dropped=DROPPED, prefixes=("module.",))
