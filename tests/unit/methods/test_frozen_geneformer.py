"""Geneformer: ranks by hand, the encoder equal to PyTorch's own layers, and files that are something else refused."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file
from scipy.sparse import csr_matrix

from annobench.core.errors import ConfigError, DataError, MethodSkipped
from annobench.fit.method import Context
from annobench.methods.frozen_geneformer import FrozenGeneformer
from annobench.methods.shared.geneformer_model import (
    BertShape,
    Encoder,
    read_dictionary,
    read_geneformer,
    weight_shapes,
)
from helpers import toy_ontology

WIDTH, HEADS, LAYERS, INNER = 8, 2, 3, 12
IDS = [f"ENSG{i:011d}" for i in range(6)]
TOKENS = {"<pad>": 0, "<mask>": 1, "<cls>": 2, "<eos>": 3} | {one: i + 4 for i, one in enumerate(IDS[:5])}
MEDIANS = dict(zip(IDS[:5], [1.0, 2.0, 4.0, 1.0, 0.5], strict=True))
CONFIG = {
    "architectures": ["BertForMaskedLM"],
    "model_type": "bert",
    "vocab_size": 9,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "hidden_act": "relu",
    "layer_norm_eps": 1e-12,
}


def write_folder(folder: Path, change: Any = None, **config: Any) -> dict[str, np.ndarray]:
    """A model with random weights in the layout of Geneformer; returns the weights."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    shapes = weight_shapes(BertShape(9, WIDTH, LAYERS, HEADS, INNER, 16, 2, 1e-12))
    weights = {key: rng.normal(0, 0.5, size).astype(np.float32) for key, size in shapes.items()}
    whole = weights | {"cls.predictions.bias": np.zeros(9, dtype=np.float32)}
    if change:
        change(whole)
    save_file(whole, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    (folder / "tokens.pkl").write_bytes(pickle.dumps(TOKENS))
    (folder / "medians.json").write_text(json.dumps(MEDIANS))
    return weights


def method(folder: Path, **parameters: Any) -> FrozenGeneformer:
    given = {"folder": str(folder), "tokens": "tokens.pkl", "medians": "medians.json", "layer": 2, "pooling": "mean"}
    made = FrozenGeneformer(**given | {"special_tokens": True, "max_length": 16} | parameters)
    made.fit(None, Context(seed=1, classes=[], ontology=toy_ontology()))  # type: ignore[arg-type]
    return made


def cells(counts: Any, ids: list[str] = IDS) -> ad.AnnData:
    var = pd.DataFrame({"feature_id": ids, "feature_name": ids}, index=ids)
    obs = pd.DataFrame(index=[f"c{i}" for i in range(len(counts))])
    return ad.AnnData(csr_matrix(np.asarray(counts, dtype=np.float32)), obs=obs, var=var)


def embedded(made: FrozenGeneformer, query: ad.AnnData) -> np.ndarray:
    return np.concatenate([part.values for part in made.embed(query)])


COUNTS = [[4, 2, 4, 0, 1, 9], [0, 0, 0, 3, 0, 0], [0, 0, 0, 0, 0, 5], [1, 1, 1, 1, 1, 1]]


def test_genes_are_ranked_by_expression_over_their_median(tmp_path: Path) -> None:
    """First cell: 4/1, 2/2, 4/4, 1/0.5 of the genes 0, 1, 2, 4: gene 0, then 4, then 1 and 2, which are equal."""
    write_folder(tmp_path)
    made = method(tmp_path)
    columns, medians = np.arange(5), np.array(list(MEDIANS.values()))
    given = (csr_matrix(np.array(COUNTS, dtype=float)), columns, np.arange(5) + 4, medians)
    assert [cell.tolist() for cell in made.ranked(*given)] == [
        [2, 4, 8, 5, 6, 3],
        [2, 7, 3],
        [2, 3],
        [2, 8, 4, 7, 5, 6, 3],
    ]
    first = method(tmp_path, special_tokens=False, max_length=2).ranked(*given)
    assert [cell.tolist() for cell in first] == [[4, 8], [7], [], [8, 4]]


def stock(weights: dict[str, np.ndarray], layers: int) -> torch.nn.TransformerEncoder:
    """PyTorch's own layers with the same weights."""
    one = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, 0.0, "relu", 1e-12, batch_first=True)
    encoder = torch.nn.TransformerEncoder(one, layers, enable_nested_tensor=False)
    state = {}
    for number in range(layers):
        old, new = f"bert.encoder.layer.{number}.", f"layers.{number}."
        for kind, joint in (("weight", "in_proj_weight"), ("bias", "in_proj_bias")):
            parts = [weights[f"{old}attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            state[f"{new}self_attn.{joint}"] = torch.from_numpy(np.concatenate(parts))
            for ours, theirs in (
                ("self_attn.out_proj", "attention.output.dense"),
                ("linear1", "intermediate.dense"),
                ("linear2", "output.dense"),
                ("norm1", "attention.output.LayerNorm"),
                ("norm2", "output.LayerNorm"),
            ):
                state[f"{new}{ours}.{kind}"] = torch.from_numpy(weights[f"{old}{theirs}.{kind}"])
    encoder.load_state_dict(state)
    return encoder.eval()


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_encoder_equals_pytorchs(tmp_path: Path, layers: int) -> None:
    weights = {key: torch.from_numpy(value) for key, value in write_folder(tmp_path).items()}
    tokens = torch.tensor([[2, 4, 8, 3], [2, 7, 3, 0]])
    mask = tokens != 0
    head = "bert.embeddings."
    x = weights[f"{head}word_embeddings.weight"][tokens] + weights[f"{head}position_embeddings.weight"][:4]
    x = x + weights[f"{head}token_type_embeddings.weight"][0]
    norm = [weights[f"{head}LayerNorm.{kind}"] for kind in ("weight", "bias")]
    x = torch.nn.functional.layer_norm(x, (WIDTH,), *norm, 1e-12)
    with torch.no_grad():
        expected = stock({key: value.numpy() for key, value in weights.items()}, layers)(x, src_key_padding_mask=~mask)
        found = Encoder(read_geneformer(tmp_path)).outputs(tokens, mask, layers)
    assert (found - expected)[mask].abs().max() < 1e-5


def test_cells_are_pooled_and_batches_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path)
    made = method(tmp_path)
    found = embedded(made, cells(COUNTS))
    encoder = Encoder(read_geneformer(tmp_path))
    tokens = torch.tensor([[2, 4, 8, 5, 6, 3]])
    expected = encoder.outputs(tokens, torch.ones_like(tokens, dtype=torch.bool), 2)[0]
    assert found[0] == pytest.approx(expected[1:-1].mean(dim=0).numpy(), abs=1e-5)
    assert embedded(method(tmp_path, pooling="cls"), cells(COUNTS))[0] == pytest.approx(expected[0].numpy(), abs=1e-5)
    assert (found[2] == 0).all()  # no gene to take the mean of
    assert made.notes is not None
    assert made.notes["cells_without_known_gene"] == 1
    assert made.notes["layer"] == "2 of 3"
    assert made.notes["keys_dropped"] == 1
    assert made.gene_overlap == {"model": 5, "shared": 5}
    monkeypatch.setattr("annobench.methods.frozen_geneformer._PART", 3)
    assert embedded(method(tmp_path, tokens_per_batch=5), cells(COUNTS)) == pytest.approx(found, abs=1e-5)
    bare = embedded(method(tmp_path, special_tokens=False), cells(COUNTS))
    assert np.isfinite(bare).all()


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        (lambda w: w.pop("bert.embeddings.LayerNorm.bias"), {}, "key 'bert.embeddings.LayerNorm.bias' is missing"),
        (lambda w: w.update({"lora.A": np.ones(2)}), {}, "unknown key 'lora.A' (1 in all)"),
        (None, {"hidden_size": 16}, "'bert.embeddings.word_embeddings.weight' has shape (9, 8), expected (9, 16)"),
        (None, {"hidden_act": "gelu"}, "config.json: hidden_act is 'gelu', expected 'relu'"),
        (None, {"auto_map": {"AutoModel": "evil.py"}}, "config.json: key 'auto_map' is not among those"),
        (None, {"num_attention_heads": 3}, "num_attention_heads does not divide hidden_size (8)"),
        (None, {"vocab_size": "9"}, "config.json: vocab_size is '9', expected a whole number"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, change: Any, config: dict[str, Any], message: str) -> None:
    write_folder(tmp_path, change, **config)
    with pytest.raises(DataError) as error:
        read_geneformer(tmp_path)
    assert message in str(error.value)


class Executes:
    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


def test_dictionaries_are_plain_and_nothing_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "d.pkl"
    path.write_bytes(pickle.dumps({"a": np.float64(2.5), "b": 3}))
    assert read_dictionary(path) == {"a": 2.5, "b": 3.0}
    path.write_bytes(pickle.dumps({"a": Executes(tmp_path / "made")}))
    with pytest.raises(DataError, match=rf"d\.pkl: is refused: it asks for {os.name}\.mkdir"):
        read_dictionary(path)
    assert not (tmp_path / "made").exists()
    for wrong in (["a"], {"a": "b"}, {1: 2}, {}):
        path.write_bytes(pickle.dumps(wrong))
        with pytest.raises(DataError, match="expected"):
            read_dictionary(path)
    path.write_bytes(b"not a pickle")
    with pytest.raises(DataError, match="cannot be read"):
        read_dictionary(path)


def test_settings_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    for parameters, message in (
        ({"layer": 4}, "parameters.layer is 4, and there are 3 layers"),
        ({"max_length": 17}, "parameters.max_length is 17, and the model has 16 positions"),
        ({"pooling": "cls", "special_tokens": False}, "there is no <cls>"),
    ):
        with pytest.raises(ConfigError) as error:
            method(tmp_path, **parameters)
        assert message in str(error.value)
    with pytest.raises(MethodSkipped, match="has no file medians.pkl"):
        method(tmp_path, medians="medians.pkl")
    few = cells([[1, 2, 3]], [IDS[0], "ENSG00000999998", "ENSG00000999999"])
    with pytest.raises(MethodSkipped, match="1 of the 3 genes of the cells have a token"):
        embedded(method(tmp_path), few)
    (tmp_path / "tokens.pkl").write_bytes(pickle.dumps({key: TOKENS[key] for key in ("<pad>", *IDS[:5])}))
    with pytest.raises(DataError, match="has no token <cls>, <eos>"):
        method(tmp_path)
