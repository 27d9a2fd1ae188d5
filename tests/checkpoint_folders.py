"""Tiny checkpoints with random weights, in the layouts that others write."""

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from annobench.data.checkpoints.initial import initial_weights
from annobench.data.checkpoints.layout import layout_of
from annobench.data.checkpoints.spec import BertShape, CheckpointSpec, ScgptShape

WIDTH, HIDDEN, LAYERS, HEADS = 8, 12, 2, 2
SPECIAL = ("<pad>", "<cls>", "<eoc>")
ATTENTION = {"flash": "self_attn.Wqkv.", "wrapper": "self_attn._impl.Wqkv.", "torch": "self_attn.in_proj_"}


def shape_for(tokens: int) -> ScgptShape:
    return ScgptShape(
        tokens=tokens, width=WIDTH, hidden=HIDDEN, layers=LAYERS, heads=HEADS, dropout=0.1, pad=tokens - 3
    )


def vocabulary_of(genes: Sequence[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate([*genes, *SPECIAL])}


def theirs(own: Mapping[str, np.ndarray], layout: str, *, heads: bool = True) -> dict[str, torch.Tensor]:
    """Our weights under the names of a layout, with the heads of scGPT, or the one Linear of scFormer's decoder."""
    state = {}
    for name, new in {
        "gene_embedding": "encoder.embedding",
        "gene_norm": "encoder.enc_norm",
        "value_linear1": "value_encoder.linear1",
        "value_linear2": "value_encoder.linear2",
        "value_norm": "value_encoder.norm",
    }.items():
        state |= {f"{new}.{kind}": own[f"{name}.{kind}"] for kind in ("weight", "bias") if f"{name}.{kind}" in own}
    for number in range(LAYERS):
        mine, new = f"layers.{number}.", f"transformer_encoder.layers.{number}."
        for kind in ("weight", "bias"):
            joint = np.concatenate([own[f"{mine}{one}_proj.{kind}"] for one in "qkv"])
            state[f"{new}{ATTENTION[layout]}{kind}"] = joint
            out = "self_attn._impl.out_proj" if layout == "wrapper" else "self_attn.out_proj"
            state[f"{new}{out}.{kind}"] = own[f"{mine}out_proj.{kind}"]
            for one in ("linear1", "linear2", "norm1", "norm2"):
                state[f"{new}{one}.{kind}"] = own[f"{mine}{one}.{kind}"]
    if heads:
        state["cls_decoder.out_layer.weight"] = np.zeros((9, WIDTH), dtype=np.float32)
        state["decoder.weight" if layout == "torch" else "decoder.fc.0.weight"] = np.ones((1, WIDTH), dtype=np.float32)
    return {key: torch.from_numpy(np.array(values)) for key, values in state.items()}


def arguments(**changes: Any) -> dict[str, Any]:
    known = {
        "embsize": WIDTH,
        "d_hid": HIDDEN,
        "nlayers": LAYERS,
        "nheads": HEADS,
        "dropout": 0.1,
        "pad_token": "<pad>",
    }
    return known | changes


def write_folder(
    folder: Path, genes: Sequence[str], layout: str = "flash", *, state: Any = None, **changes: Any
) -> dict[str, np.ndarray]:
    """Write args.json, vocab.json and best_model.pt; returns the weights of the encoder in our names."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = changes.pop("vocabulary", None) or vocabulary_of(genes)
    own = initial_weights(shape_for(len(vocabulary)), seed=3)
    (folder / "args.json").write_text(json.dumps(arguments(**changes)))
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    torch.save(theirs(own, layout) if state is None else state, folder / "best_model.pt")
    return own


# --- Geneformer

BERT_LAYERS, POSITIONS = 3, 48
RANKS: dict[str, Any] = {"values": "ranks", "eos": "<eos>", "max_length": POSITIONS, "pooling": "mean", "layer": 2}


def bert_shape_for(tokens: int) -> BertShape:
    """The shape of all layers."""
    sizes = {"tokens": tokens, "width": WIDTH, "hidden": HIDDEN, "layers": BERT_LAYERS, "heads": HEADS, "dropout": 0.02}
    return BertShape(**sizes, pad=0, positions=POSITIONS, epsilon=1e-12)


def bert_config(tokens: int, **changes: Any) -> dict[str, Any]:
    """config.json as Geneformer's authors publish it."""
    known = {
        "architectures": ["BertForMaskedLM"],
        "attention_probs_dropout_prob": 0.02,
        "classifier_dropout": None,
        "hidden_act": "relu",
        "hidden_dropout_prob": 0.02,
        "hidden_size": WIDTH,
        "initializer_range": 0.02,
        "intermediate_size": HIDDEN,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": POSITIONS,
        "model_type": "bert",
        "num_attention_heads": HEADS,
        "num_hidden_layers": BERT_LAYERS,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "torch_dtype": "float32",
        "transformers_version": "4.37.1",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": tokens,
    }
    return known | changes


def bert_vocabulary(ids: Sequence[str]) -> dict[str, int]:
    """Special tokens first, as in Geneformer's dictionaries."""
    return {token: number for number, token in enumerate(["<pad>", "<mask>", "<cls>", "<eos>", *ids])}


def write_geneformer(
    folder: Path, ids: Sequence[str], change: Any = None, *, medians: Mapping[str, float] | None = None, **config: Any
) -> dict[str, np.ndarray]:
    """Write config.json, model.safetensors, tokens.pkl and medians.pkl; returns the weights by their keys.

    `change` takes the weights before they are written; medians are those of the ids, unless they are given.
    """
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, rng = bert_vocabulary(ids), np.random.default_rng(0)
    shape = bert_shape_for(len(vocabulary))
    layout = layout_of(shape)
    state = {
        layout.key(name): rng.normal(1.0 if "norm" in name else 0.0, 0.5, size).astype(np.float32)
        for name, size in layout.sizes(shape).items()
    }
    state["bert.embeddings.token_type_embeddings.weight"] = rng.normal(size=(2, WIDTH)).astype(np.float32)
    state["cls.predictions.bias"] = np.zeros(len(vocabulary), dtype=np.float32)
    if change:
        change(state)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(bert_config(len(vocabulary), **config)))
    (folder / "tokens.pkl").write_bytes(pickle.dumps(vocabulary))
    known = {one: float(value) for one, value in zip(ids, rng.uniform(0.5, 4, len(ids)), strict=True)}
    (folder / "medians.pkl").write_bytes(pickle.dumps(known if medians is None else dict(medians)))
    return state


def geneformer_source(folder: Path) -> dict[str, Any]:
    """`source` of the YAML file of such a folder."""
    files = {"arguments": "config.json", "vocabulary": "tokens.pkl", "medians": "medians.pkl"}
    return {"kind": "local", "path": str(folder), "layout": "geneformer", "weights": "model.safetensors", **files}


def spec_of(source: Mapping[str, Any], organism: str = "Homo sapiens", **given: Any) -> CheckpointSpec:
    """A checkpoint as its file states it; `given` are keys of `input`."""
    from annobench.config.schema import validate

    document = {"label": "l", "summary": "s", "citation": "c", "licence": "MIT", "organism": organism}
    return CheckpointSpec.of(validate({**document, "source": dict(source), "input": given}, "checkpoint", "c.yaml"))


def token_folders(folder: Path, cells: Path, genes: Sequence[str], **given: Any) -> dict[str, str]:
    """A checkpoint with these genes and the tokens of prepared cells; `given` are keys of `input`."""
    write_folder(folder / "theirs", genes)
    spec = spec_of({"kind": "local", "path": str(folder / "theirs")}, given.pop("organism", "any"), **given)
    return made_tokens(folder, cells, spec)


def ranked_folders(folder: Path, cells: Path, ids: Sequence[str], **given: Any) -> dict[str, str]:
    """The same of a Geneformer."""
    write_geneformer(folder / "theirs", ids)
    spec = spec_of(geneformer_source(folder / "theirs"), given.pop("organism", "any"), **RANKS | given)
    return made_tokens(folder, cells, spec)


def made_tokens(folder: Path, cells: Path, spec: CheckpointSpec) -> dict[str, str]:
    """Folders of the checkpoint `tiny` and of its tokens of prepared cells."""
    from annobench.data.checkpoints.fetch import fetch_checkpoint
    from annobench.data.tokens.tokenise import tokenise_dataset

    fetch_checkpoint("tiny", spec, folder / "weights", lock_file=folder / "lock.yaml")
    tokenise_dataset("d", cells, cells.with_name("card.json"), folder / "weights", folder / "tokens")
    return {"tokens": str(folder / "tokens"), "weights": str(folder / "weights")}
