"""Geneformer as a checkpoint: ranks by hand, files that are something else are refused, nothing is executed."""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from safetensors.numpy import load_file
from scipy.sparse import csr_matrix

from annobench.core.errors import DataError
from annobench.data.checkpoints.dictionaries import read_dictionary
from annobench.data.checkpoints.fetch import fetch_checkpoint
from annobench.data.checkpoints.layout import weight_shapes
from annobench.data.checkpoints.spec import BertShape, CheckpointRecord, InputSpec
from annobench.data.checkpoints.stored import StoredCheckpoint
from annobench.data.tokens.tokeniser import Tokeniser, Tokens
from checkpoint_folders import (
    RANKS,
    WIDTH,
    bert_shape_for,
    bert_vocabulary,
    geneformer_source,
    spec_of,
    write_geneformer,
)

IDS = [f"ENSG{i:011d}" for i in range(6)]
VOCABULARY = bert_vocabulary(IDS[:5])  # <pad> 0, <mask> 1, <cls> 2, <eos> 3, then genes
MEDIANS = dict(zip(IDS[:5], [1.0, 2.0, 4.0, 1.0, 0.5], strict=True))
COUNTS = np.array([[4, 2, 4, 0, 1, 9], [0, 0, 0, 3, 0, 0], [0, 0, 0, 0, 0, 5], [1, 1, 1, 1, 1, 1]], dtype=np.float32)


def table(ids: list[str] = IDS) -> pd.DataFrame:
    return pd.DataFrame({"feature_id": ids, "feature_name": [f"S{one}" for one in ids]})


def tokeniser(var: pd.DataFrame | None = None, **changes: Any) -> Tokeniser:
    chosen = InputSpec(**{"values": "ranks", "eos": "<eos>", "pooling": "mean", "least_known": 0.0} | changes)
    var = table() if var is None else var
    return Tokeniser(chosen, VOCABULARY, var, organism="any", dataset="d", medians=MEDIANS, pad=0)


def cells_of(made: Tokens) -> list[list[int]]:
    return [made.ids[a:b].tolist() for a, b in zip(made.offsets[:-1], made.offsets[1:], strict=True)]


def made(folder: Path, like: Path | None = None, source: dict[str, Any] | None = None, **given: Any) -> Path:
    """A checkpoint of folder/theirs."""
    source = source or geneformer_source(folder / "theirs")
    spec = spec_of(source, "any", **({} if source["kind"] == "random" else RANKS | given))
    fetch_checkpoint("g", spec, folder / "made", like=like, lock_file=folder / "lock.yaml")
    return folder / "made"


# --- ranks


def test_genes_are_ranked_by_expression_over_their_median() -> None:
    """First cell: 4/1, 2/2, 4/4, 1/0.5 of the genes 0, 1, 2, 4: gene 0, then 4, then 1 and 2, which are equal."""
    found = tokeniser().tokens(csr_matrix(COUNTS))
    assert cells_of(found) == [[2, 4, 8, 5, 6, 3], [2, 7, 3], [2, 3], [2, 8, 4, 7, 5, 6, 3]]
    assert found.values.tolist() == [*range(6), *range(3), *range(2), *range(7)]  # places
    assert found.known.tolist() == [4, 1, 0, 5]
    short = tokeniser(max_length=4)
    assert cells_of(short.tokens(csr_matrix(COUNTS))) == [[2, 4, 8, 3], [2, 7, 3], [2, 3], [2, 8, 4, 3]]
    assert short.most == 2


def test_without_special_tokens_a_cell_without_a_known_gene_is_padding() -> None:
    found = tokeniser(cls=None, eos=None, max_length=2).tokens(csr_matrix(COUNTS))
    assert cells_of(found) == [[4, 8], [7], [0], [8, 4]]
    assert found.values.tolist() == [0, 1, 0, 0, 0, 1]


@drawn(st.integers(0, 2**32 - 1), st.integers(1, 1000))
def test_neither_the_depth_nor_the_order_of_the_genes_matters(seed: int, factor: int) -> None:
    """Geneformer ranks counts per 10,000: dividing by the counts of the cell changes no order."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(1.5, (4, 6)).astype(np.float32)
    expected = cells_of(tokeniser().tokens(csr_matrix(counts)))
    assert cells_of(tokeniser().tokens(csr_matrix(counts * factor))) == expected
    order = rng.permutation(6)
    turned = tokeniser(table([IDS[i] for i in order])).tokens(csr_matrix(counts[:, order]))
    assert cells_of(turned) == expected
    scores = counts / counts.sum(axis=1, keepdims=True).clip(1) * 1e4 / np.array([*MEDIANS.values(), np.inf])
    for cell, tokens in enumerate(expected):
        ranked = scores[cell, np.array(tokens[1:-1], dtype=int) - 4]
        assert (np.diff(ranked) <= 1e-9 * scores.max()).all()
        assert set(tokens[1:-1]) == set(np.flatnonzero(scores[cell]) + 4)


def test_genes_without_a_median_and_values_that_are_no_counts_are_not_read() -> None:
    few = {one: MEDIANS[one] for one in IDS[:3]}
    chosen = InputSpec(values="ranks", eos="<eos>", least_known=0.0)
    one = Tokeniser(chosen, VOCABULARY, table(), organism="any", dataset="d", medians=few)
    assert (one.genes.known, one.genes.vocabulary) == (3, 3)
    with pytest.raises(DataError, match=r"holds log1p_cp10k, but the checkpoint reads counts \(input\.values: ranks\)"):
        one.check_state("log1p_cp10k")
    one.check_state("counts")


# --- files


def test_every_key_is_used_or_dropped_for_a_reason(tmp_path: Path) -> None:
    state = write_geneformer(tmp_path / "theirs", IDS)
    checkpoint = StoredCheckpoint.open(made(tmp_path))
    record, found = checkpoint.record, checkpoint.weights()
    assert isinstance(checkpoint.shape, BertShape)
    assert (checkpoint.shape.layers, checkpoint.shape.pooling, checkpoint.shape.special) == (2, "mean", (0, 2, 3))
    assert set(found) == set(weight_shapes(checkpoint.shape))
    assert {*record.used.values(), *record.dropped} == set(state)
    assert record.dropped["cls.predictions.bias"] == "predicts hidden genes from their outputs"
    beyond = {key for key, reason in record.dropped.items() if reason == "of a layer beyond input.layer"}
    assert beyond == {key for key in state if ".layer.2." in key}
    key = "bert.encoder.layer.1.attention.self.value.weight"
    assert np.array_equal(found["layers.1.v_proj.weight"], state[key])
    assert np.array_equal(found["segment"], state["bert.embeddings.token_type_embeddings.weight"][0])
    assert record.notes[0] == "embedding of a cell: mean of the outputs of genes in layer 2; the file has 3 layers"
    assert record.notes[2] == "6 of 10 tokens have a median; others stand for no gene here"
    assert checkpoint.medians is not None
    assert set(checkpoint.medians) == set(IDS)
    assert CheckpointRecord.from_params(record.to_params()) == record
    assert (
        record.files["medians.pkl"].sha256 == hashlib.sha256((tmp_path / "theirs/medians.pkl").read_bytes()).hexdigest()
    )
    (tmp_path / "made" / "medians.json").write_text("{}")
    with pytest.raises(DataError, match=r"medians\.json: is not the file of checkpoint\.json"):
        StoredCheckpoint.open(tmp_path / "made")


def test_all_layers_and_the_first_token(tmp_path: Path) -> None:
    state = write_geneformer(tmp_path / "theirs", IDS)
    checkpoint = StoredCheckpoint.open(made(tmp_path, layer=None, pooling="cls"))
    assert (checkpoint.shape.layers, checkpoint.shape.pooling, checkpoint.shape.special) == (3, "cls", ())
    assert set(checkpoint.record.dropped) == {"cls.predictions.bias"}
    written = load_file(tmp_path / "made" / "weights.safetensors")
    assert sum(one.size for one in written.values()) == checkpoint.record.parameters
    assert checkpoint.record.parameters == sum(one.size for one in state.values()) - WIDTH - 10  # segment, head


def test_keys_of_a_bert_without_heads_are_read(tmp_path: Path) -> None:
    def bare(state: dict[str, np.ndarray]) -> None:
        for key in list(state):
            state[key.removeprefix("bert.")] = state.pop(key)

    state = write_geneformer(tmp_path / "theirs", IDS, bare)
    found = StoredCheckpoint.open(made(tmp_path)).weights()
    assert np.array_equal(found["layers.0.norm2.bias"], state["encoder.layer.0.output.LayerNorm.bias"])


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        (lambda w: w.pop("bert.embeddings.LayerNorm.bias"), {}, "a key is missing: bert.embeddings.LayerNorm.bias"),
        (
            lambda w: w.pop("bert.encoder.layer.2.output.dense.bias"),
            {},
            "a key is missing: bert.encoder.layer.2.output",
        ),
        (lambda w: w.update({"lora.A": np.ones(2)}), {}, "neither part of an encoder of 3 layers"),
        (None, {"hidden_size": 16}, "token_type_embeddings.weight' has shape (2, 8), expected (2, 16)"),
        (None, {"intermediate_size": 16}, "intermediate.dense.weight' has shape (12, 8), expected (16, 8)"),
        (None, {"type_vocab_size": 3}, "token_type_embeddings.weight' has shape (2, 8), expected (3, 8)"),
        (None, {"hidden_act": "gelu"}, "config.json: hidden_act is 'gelu', expected 'relu'"),
        (None, {"is_decoder": True}, "config.json: is_decoder is 'True', expected 'False'"),
        (None, {"auto_map": {"AutoModel": "evil.py"}}, "config.json: key 'auto_map' is not among those"),
        (None, {"num_attention_heads": 3}, "num_attention_heads does not divide hidden_size (8)"),
        (None, {"vocab_size": "9"}, "config.json: vocab_size is '9', expected a whole number"),
        (None, {"vocab_size": 9}, "vocab_size is 9, but the vocabulary has a token 9"),
        (None, {"pad_token_id": 1}, "pad_token_id is 1, but the vocabulary has <pad> as 0"),
        (None, {"max_position_embeddings": 7}, "has 7 positions, fewer than input.max_length (48)"),
        (None, {"num_hidden_layers": 2}, "it is another model"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, change: Any, config: dict[str, Any], message: str) -> None:
    write_geneformer(tmp_path / "theirs", IDS, change, **config)
    record = CheckpointRecord.read(made(tmp_path))
    assert record.status == "failed"
    assert message in str(record.reason)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokens.pkl", {"<pad>": 0, "<cls>": 1, **dict.fromkeys(IDS, 2)}, "tokens.pkl: tokens share a number"),
        ("tokens.pkl", {"<pad>": 0, "<cls>": 1, IDS[0]: 2}, "tokens.pkl: has no token <eos>"),
        ("tokens.pkl", {"<pad>": 0, "<cls>": 1.5, "<eos>": 2}, "token '<cls>' has the number 1.5, expected a whole"),
        ("medians.pkl", {"other": 1.0}, "medians.pkl: has no median of a token of the vocabulary"),
        ("medians.pkl", {IDS[0]: 0.0}, f"medians.pkl: the median of '{IDS[0]}' is 0.0, expected a number above 0"),
        ("medians.pkl", {IDS[0]: float("nan")}, "is nan, expected a number above 0"),
    ],
)
def test_other_dictionaries_are_refused(tmp_path: Path, name: str, content: Any, message: str) -> None:
    write_geneformer(tmp_path / "theirs", IDS)
    (tmp_path / "theirs" / name).write_bytes(pickle.dumps(content))
    assert message in str(CheckpointRecord.read(made(tmp_path)).reason)


def test_a_layer_that_is_not_there_and_a_missing_file_are_named(tmp_path: Path) -> None:
    write_geneformer(tmp_path / "theirs", IDS)
    assert "input.layer is 4, and there are 3 layers" in str(CheckpointRecord.read(made(tmp_path, layer=4)).reason)
    (tmp_path / "theirs" / "medians.pkl").unlink()
    assert str(CheckpointRecord.read(made(tmp_path)).reason).endswith("has no file medians.pkl")


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


def test_the_random_twin_has_medians_and_weights_as_a_bert_begins(tmp_path: Path) -> None:
    write_geneformer(tmp_path / "a" / "theirs", IDS)
    like = made(tmp_path / "a")
    (tmp_path / "b").mkdir()
    twin = StoredCheckpoint.open(made(tmp_path / "b", like, {"kind": "random", "like": "g"}))
    other = StoredCheckpoint.open(like)
    assert (twin.shape, twin.input, twin.vocabulary, twin.medians) == (
        other.shape,
        other.input,
        other.vocabulary,
        other.medians,
    )
    found = twin.weights()
    assert (found["layers.1.q_proj.bias"] == 0).all()
    assert (found["norm.weight"] == 1).all()
    assert (found["gene_embedding.weight"][0] == 0).all()
    assert found["place_embedding.weight"].std() == pytest.approx(0.02, rel=0.2)
    assert not np.array_equal(found["layers.0.linear1.weight"], other.weights()["layers.0.linear1.weight"])


def test_geneformer_has_its_number_of_weights() -> None:
    """specs: 12 layers of 512, 8 heads, 1,024 inside, 4,096 positions, 20,275 tokens; 37,997,363 with the head."""
    sizes = vars(bert_shape_for(20275)) | {"width": 512, "hidden": 1024, "heads": 8, "layers": 12, "positions": 4096}
    encoder = sum(int(np.prod(size)) for size in weight_shapes(BertShape(**sizes)).values())
    head = 512 * 512 + 512 + 2 * 512 + 20275  # its vectors are those of the tokens
    assert encoder + 512 + head == 37_997_363  # the vector of the second segment
