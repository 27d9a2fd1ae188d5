"""The layout of Geneformer: a BERT over genes ranked by their expression.

Nothing of the library transformers is used: configuration files have been made to run code there (CVE-2026-4372). Their
keys are taken from a list of known ones, and weights are tensors alone.

Theodoris et al., Nature 2023, doi 10.1038/s41586-023-06139-9; Devlin et al. 2019, arXiv 1810.04805.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.data.checkpoints.dictionaries import read_dictionary
from annobench.data.checkpoints.names import Layout, Sizes, layer_sizes, norm
from annobench.data.checkpoints.spec import BertShape, InputSpec, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAD = "<pad>"
SEGMENTS = "embeddings.token_type_embeddings.weight"
DROPPED = {
    "cls.": "predicts hidden genes from their outputs",
    "pooler.": "a layer for classifiers, which the pretraining did not train",
    "embeddings.position_ids": "the numbers 0 to n - 1",
}
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
_EXPECTED = {
    "model_type": "bert",
    "hidden_act": "relu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
_KNOWN = {"hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps", "pad_token_id"}
_NO_EFFECT = {"architectures", "bos_token_id", "chunk_size_feed_forward", "classifier_dropout", "dtype", "eos_token_id"}
_NO_EFFECT |= {"gradient_checkpointing", "id2label", "initializer_range", "label2id", "output_attentions"}
_NO_EFFECT |= {"output_hidden_states", "problem_type", "return_dict", "tie_word_embeddings", "torch_dtype"}
_NO_EFFECT |= {"transformers_version", "use_cache", "_name_or_path"}
_ENTRANCE = {
    "embeddings.word_embeddings.weight": "gene_embedding.weight",
    "embeddings.position_embeddings.weight": "place_embedding.weight",
    SEGMENTS: "segment",
    "embeddings.LayerNorm.weight": "norm.weight",
    "embeddings.LayerNorm.bias": "norm.bias",
}
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")
_INNER = {
    "attention.self.query": "q_proj",
    "attention.self.key": "k_proj",
    "attention.self.value": "v_proj",
    "attention.output.dense": "out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}


def _sizes(shape: Shape) -> Sizes:
    """Of every weight, in the names of `Bert`."""
    assert isinstance(shape, BertShape)
    found: Sizes = {"gene_embedding.weight": (shape.tokens, shape.width)}
    found |= {"place_embedding.weight": (shape.positions, shape.width), "segment": (shape.width,)}
    return found | norm("norm", shape.width) | layer_sizes(shape)


def _names(key: str) -> list[str]:
    if key in _ENTRANCE:
        return [_ENTRANCE[key]]
    match = _LAYER.fullmatch(key)
    if match and match[2] in _INNER:
        return [f"layers.{match[1]}.{_INNER[match[2]]}.{match[3]}"]
    return []


def _key(name: str) -> str:
    for theirs, ours in _ENTRANCE.items():
        if ours == name:
            return f"bert.{theirs}"
    _, number, part, kind = name.split(".")
    theirs = {ours: theirs for theirs, ours in _INNER.items()}[part]
    return f"bert.encoder.layer.{number}.{theirs}.{kind}"


GENEFORMER = Layout(
    title="Geneformer", sizes=_sizes, names=_names, key=_key, dropped=DROPPED, prefixes=("module.", "bert.")
)


def bert_shape(config: Mapping[str, object], file: str, vocabulary: Mapping[str, int], given: InputSpec) -> BertShape:
    """The shape that config.json states, of all layers.

    Raises DataError for a key that is missing, unknown or of another value than this encoder has, or one that
    contradicts the vocabulary or the input of the checkpoint.
    """
    known = {*_SIZES, *_EXPECTED, *_KNOWN, *_NO_EFFECT}
    for key in config:
        if key not in known:
            raise DataError(f"{file}: key '{key}' is not among those that a BERT of this kind has")
    for key, value in _EXPECTED.items():
        if config.get(key, value) != value:
            raise DataError(f"{file}: {key} is '{config[key]}', expected '{value}'")
    for key in _SIZES:
        if type(config.get(key)) is not int or int(str(config[key])) < 1:
            raise DataError(f"{file}: {key} is {config.get(key)!r}, expected a whole number above 0")
    sizes = {key: int(str(config[key])) for key in _SIZES}
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise DataError(f"{file}: num_attention_heads does not divide hidden_size ({sizes['hidden_size']})")
    if (stated := config.get("pad_token_id")) not in (None, vocabulary[PAD]):
        raise DataError(f"{file}: pad_token_id is {stated}, but the vocabulary has {PAD} as {vocabulary[PAD]}")
    if (largest := max(vocabulary.values())) >= sizes["vocab_size"]:
        raise DataError(f"{file}: vocab_size is {sizes['vocab_size']}, but the vocabulary has a token {largest}")
    if given.max_length > sizes["max_position_embeddings"]:
        raise DataError(
            f"{file}: has {sizes['max_position_embeddings']:,} positions, fewer than input.max_length "
            f"({given.max_length:,})"
        )
    return BertShape(
        tokens=sizes["vocab_size"],
        width=sizes["hidden_size"],
        hidden=sizes["intermediate_size"],
        layers=sizes["num_hidden_layers"],
        heads=sizes["num_attention_heads"],
        dropout=float(str(config.get("hidden_dropout_prob", 0.1))),
        pad=vocabulary[PAD],
        positions=sizes["max_position_embeddings"],
        epsilon=float(str(config.get("layer_norm_eps", 1e-12))),
    )


def one_segment(
    found: "Mapping[str, NDArray[np.float32]]", config: Mapping[str, object], file: str
) -> "dict[str, NDArray[np.float32]]":
    """The weights with the vector of the first segment in place of those of all: a cell is one segment.

    Raises DataError where there are not as many as config.json states.
    """
    rows = {}
    for key, values in found.items():
        if GENEFORMER.bare(key) == SEGMENTS:
            wanted = (config["type_vocab_size"], config["hidden_size"])
            if values.shape != wanted:
                raise DataError(f"{file}: '{key}' has shape {tuple(values.shape)}, expected {wanted}")
            rows[key] = values[0]
    return {**found, **rows}


def read_tokens(path: Path, given: InputSpec) -> dict[str, int]:
    """Token -> number; raises DataError unless they are whole numbers, each once, with those of `input` among them."""
    found = read_dictionary(path)
    vocabulary = {token: int(number) for token, number in found.items()}
    wrong = next((token for token, number in found.items() if number < 0 or number != int(number)), None)
    if wrong is not None:
        raise DataError(f"{path.name}: token '{wrong}' has the number {found[wrong]:g}, expected a whole number from 0")
    if len(set(vocabulary.values())) < len(vocabulary):
        raise DataError(f"{path.name}: tokens share a number")
    if absent := [one for one in (PAD, given.cls, given.eos) if one is not None and one not in vocabulary]:
        raise DataError(f"{path.name}: has no token {', '.join(absent)} (input.cls, input.eos of the checkpoint)")
    return vocabulary


def read_medians(path: Path, vocabulary: Mapping[str, int]) -> dict[str, float]:
    """Token -> median expression, of tokens that have one; raises DataError where none has, or one is not above 0."""
    found = {token: number for token, number in read_dictionary(path).items() if token in vocabulary}
    if not found:
        raise DataError(f"{path.name}: has no median of a token of the vocabulary")
    for token, number in found.items():
        if not (np.isfinite(number) and number > 0):
            raise DataError(f"{path.name}: the median of '{token}' is {number}, expected a number above 0")
    return found
