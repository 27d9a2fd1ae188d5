"""Geneformer as plain arrays and a few lines of PyTorch: a BERT over genes ranked by their expression.

No transformers: configuration files have been made to run code there. Arguments are taken from a list of known ones,
weights from .safetensors, dictionaries from JSON or from pickles of plain mappings, of which nothing is executed.

Theodoris et al., Nature 2023, doi 10.1038/s41586-023-06139-9; Devlin et al. 2019, arXiv 1810.04805.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError, nearest
from annobench.core.files import read_foreign_json
from annobench.methods.shared.restricted_pickle import ArrayType, Call, RefusedError, check_numbers, scalar

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
_EXPECTED = {"model_type": "bert", "hidden_act": "relu", "position_embedding_type": "absolute"}
_NO_EFFECT = {"architectures", "attention_probs_dropout_prob", "classifier_dropout", "dtype", "gradient_checkpointing"}
_NO_EFFECT |= {"hidden_dropout_prob", "initializer_range", "layer_norm_eps", "pad_token_id", "torch_dtype"}
_NO_EFFECT |= {"transformers_version", "use_cache", "_name_or_path"}
_DROPPED = ("cls.", "bert.pooler.", "bert.embeddings.position_ids")


@dataclass(frozen=True)
class BertShape:
    """Sizes of a BERT; `epsilon` is that of its norms."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    epsilon: float


@dataclass(frozen=True)
class GeneformerModel:
    """A Geneformer: shape, weights by the names of its file, and keys that were dropped."""

    shape: BertShape
    weights: "Mapping[str, NDArray[np.float32]]"
    dropped: tuple[str, ...]


def read_geneformer(folder: Path) -> GeneformerModel:
    """Read config.json and model.safetensors, strictly; raises DataError for anything that is not expected."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    shape = _shape(read_foreign_json(folder / CONFIG))
    try:
        found = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{WEIGHTS}: cannot be read ({error})") from error
    expected = weight_shapes(shape)
    dropped = tuple(sorted(key for key in found if key.startswith(_DROPPED)))
    if unknown := sorted(set(found) - set(expected) - set(dropped)):
        raise DataError(f"{WEIGHTS}: unknown key '{unknown[0]}' ({len(unknown)} in all){nearest(unknown[0], expected)}")
    if missing := sorted(set(expected) - set(found)):
        raise DataError(f"{WEIGHTS}: key '{missing[0]}' is missing ({len(missing)} in all)")
    for key, size in expected.items():
        if found[key].shape != size:
            raise DataError(f"{WEIGHTS}: '{key}' has shape {found[key].shape}, expected {size} by {CONFIG}")
    return GeneformerModel(shape, {key: found[key].astype(np.float32) for key in expected}, dropped)


def _shape(config: Mapping[str, object]) -> BertShape:
    known = {*_SIZES, *_EXPECTED, *_NO_EFFECT}
    for key in config:
        if key not in known:
            raise DataError(f"{CONFIG}: key '{key}' is not among those that a BERT of this kind has")
    for key, value in _EXPECTED.items():
        if config.get(key, value) != value:
            raise DataError(f"{CONFIG}: {key} is '{config[key]}', expected '{value}'")
    for key in _SIZES:
        if type(config.get(key)) is not int:
            raise DataError(f"{CONFIG}: {key} is {config.get(key)!r}, expected a whole number")
    sizes = {key: int(str(config[key])) for key in _SIZES}
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise DataError(f"{CONFIG}: num_attention_heads does not divide hidden_size ({sizes['hidden_size']})")
    return BertShape(**sizes, epsilon=float(str(config.get("layer_norm_eps", 1e-12))))


def weight_shapes(shape: BertShape) -> dict[str, tuple[int, ...]]:
    """Key -> shape of every weight that an embedding needs."""
    width, inner = shape.hidden_size, shape.intermediate_size
    found: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (shape.vocab_size, width),
        "bert.embeddings.position_embeddings.weight": (shape.max_position_embeddings, width),
        "bert.embeddings.token_type_embeddings.weight": (shape.type_vocab_size, width),
        "bert.embeddings.LayerNorm.weight": (width,),
        "bert.embeddings.LayerNorm.bias": (width,),
    }
    for layer in (f"bert.encoder.layer.{number}." for number in range(shape.num_hidden_layers)):
        sizes = dict.fromkeys(("attention.self.query", "attention.self.key", "attention.self.value"), (width, width))
        sizes |= {"attention.output.dense": (width, width), "intermediate.dense": (inner, width)}
        sizes["output.dense"] = (width, inner)
        for name, size in sizes.items():
            found |= {f"{layer}{name}.weight": size, f"{layer}{name}.bias": size[:1]}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            found |= {f"{layer}{name}.{kind}": (width,) for kind in ("weight", "bias")}
    return found


class Encoder:
    """The BERT in evaluation mode.

    Parameters
    ----------
    model
        What was read.
    device
        Of PyTorch.
    """

    def __init__(self, model: GeneformerModel, device: str = "cpu") -> None:
        import torch

        self.shape = model.shape
        self._weights = {key: torch.from_numpy(value).to(device) for key, value in model.weights.items()}

    def outputs(self, tokens: "Tensor", mask: "Tensor", layers: int) -> "Tensor":
        """Outputs (cells, length, width) of layer `layers` (0: of the embeddings) for tokens (cells, length).

        `mask` is true at tokens of the cell.
        """
        from torch.nn import functional

        weights, heads = self._weights, self.shape.num_attention_heads

        def linear(name: str, x: "Tensor") -> "Tensor":
            return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

        def norm(name: str, x: "Tensor") -> "Tensor":
            scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
            return functional.layer_norm(x, (self.shape.hidden_size,), scale, shift, self.shape.epsilon)

        places = weights["bert.embeddings.position_embeddings.weight"][: tokens.shape[1]]
        kind = weights["bert.embeddings.token_type_embeddings.weight"][0]
        x = norm("bert.embeddings.LayerNorm", weights["bert.embeddings.word_embeddings.weight"][tokens] + kind + places)
        for layer in (f"bert.encoder.layer.{number}." for number in range(layers)):
            q, k, v = (
                linear(f"{layer}attention.self.{part}", x).view(*x.shape[:2], heads, -1).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            seen = functional.scaled_dot_product_attention(q, k, v, mask[:, None, None, :]).transpose(1, 2).flatten(2)
            x = norm(f"{layer}attention.output.LayerNorm", x + linear(f"{layer}attention.output.dense", seen))
            inner = functional.relu(linear(f"{layer}intermediate.dense", x))
            x = norm(f"{layer}output.LayerNorm", x + linear(f"{layer}output.dense", inner))
        return x


# dictionaries


class _Plain(pickle.Unpickler):
    """An unpickler that knows mappings, texts and numbers, and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "scalar":
            return Call(scalar)
        if (module, name) == ("numpy", "dtype"):
            return ArrayType
        raise RefusedError(f"it asks for {module}.{name}, which no dictionary needs; nothing was executed")

    def persistent_load(self, pid: object) -> object:
        raise RefusedError("a reference to something outside the file")


def read_dictionary(path: Path) -> dict[str, float]:
    """Names and numbers of a .json file, or of a pickle of a plain mapping; raises DataError for anything else."""
    import io

    if path.suffix == ".json":
        found: object = read_foreign_json(path)
    else:
        try:
            content = path.read_bytes()
            check_numbers(content)
            found = _Plain(io.BytesIO(content)).load()
        except RefusedError as error:
            raise DataError(f"{path.name}: is refused: {error}") from None
        except Exception as error:  # a damaged pickle can raise anything
            raise DataError(f"{path.name}: cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(found, dict) or not found:
        raise DataError(f"{path.name}: holds {type(found).__name__}, expected a mapping of names to numbers")
    for name, number in found.items():
        if not isinstance(name, str) or not isinstance(number, int | float | np.number) or isinstance(number, bool):
            raise DataError(f"{path.name}: holds {name!r}: {number!r}, expected a name and a number")
    return {str(name): float(number) for name, number in found.items()}
