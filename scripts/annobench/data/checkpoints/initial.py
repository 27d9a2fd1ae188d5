"""Random weights of an encoder, as a model of this kind has them before its training.

A BERT begins as its authors state: matrices and vectors normal with a standard deviation of 0.02, biases zero.

In scGPT's encoder vectors of genes are uniform in [-0.1, 0.1]; the other matrices as PyTorch draws them: q, k and v of
attention by Glorot's rule over all three, Linear layers uniform in [-1/sqrt(n), 1/sqrt(n)] of their n inputs. PyTorch's
encoder begins with equal layers, copies of one; here each is drawn on its own.
"""

from typing import TYPE_CHECKING

import numpy as np

from annobench.data.checkpoints.layout import weight_shapes
from annobench.data.checkpoints.spec import BertShape, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DEVIATION = 0.02  # of a BERT
_QKV = ("q_proj", "k_proj", "v_proj", "out_proj")


def initial_weights(shape: Shape, seed: int) -> "dict[str, NDArray[np.float32]]":
    """Weights by name, float32; the row of the padding token is zero."""
    rng = np.random.default_rng(seed)
    shapes = weight_shapes(shape)
    found = {}
    for name, size in shapes.items():
        layer, _, kind = name.rpartition(".")
        part = layer.rpartition(".")[2]
        if "norm" in part:
            values = np.full(size, 1.0 if kind == "weight" else 0.0)
        elif isinstance(shape, BertShape):
            values = np.zeros(size) if kind == "bias" else rng.normal(0, _DEVIATION, size)
        elif part in _QKV and kind == "bias":
            values = np.zeros(size)
        else:
            values = rng.uniform(-1, 1, size) * _bound(part, shapes[f"{layer}.weight"])
        found[name] = values.astype(np.float32)
    found["gene_embedding.weight"][shape.pad] = 0
    return found


def _bound(part: str, size: tuple[int, ...]) -> float:
    """Largest value of a matrix, and of its bias."""
    if part == "gene_embedding":
        return 0.1
    out, into = size
    return float(np.sqrt(6 / (3 * out + into))) if part in _QKV[:3] else float(1 / np.sqrt(into))
