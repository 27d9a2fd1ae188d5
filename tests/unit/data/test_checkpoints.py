"""Checkpoints: every key is used or dropped for a reason, nothing is executed, and what is wrong is named."""

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from annobench.core.errors import DataError
from annobench.data.checkpoints.fetch import fetch_checkpoint
from annobench.data.checkpoints.initial import initial_weights
from annobench.data.checkpoints.layout import own_weights, weight_shapes
from annobench.data.checkpoints.spec import CheckpointRecord, ScgptShape
from annobench.data.checkpoints.stored import StoredCheckpoint
from checkpoint_folders import ATTENTION, WIDTH, shape_for, spec_of, theirs, vocabulary_of, write_folder
from helpers import http_server

GENES = [f"G{i}" for i in range(6)]
LOCAL = {"kind": "local"}


def made(folder: Path, source: dict[str, Any], like: Path | None = None, **given: Any) -> tuple[Path, list[str]]:
    """A checkpoint of a source, and what was said."""
    said: list[str] = []
    target = folder / "made"
    lock = folder / "lock.yaml"
    fetch_checkpoint("tiny", spec_of(source, **given), target, like=like, lock_file=lock, report=said.append)
    return target, said


def refused(folder: Path, **given: Any) -> str:
    """Why the checkpoint in folder/theirs is not read; the fits then have the same reason."""
    target, said = made(folder, LOCAL | {"path": str(folder / "theirs")}, **given)
    record = CheckpointRecord.read(target)
    assert record.status == "failed"
    assert said[0] == f"tiny: {record.reason}; fits that read this checkpoint are skipped"
    assert not (target / "weights.safetensors").exists()
    with pytest.raises(DataError, match="there is no checkpoint"):
        StoredCheckpoint.open(target)
    return str(record.reason)


@pytest.mark.parametrize("layout", ATTENTION)
def test_every_layout_gives_the_same_weights(tmp_path: Path, layout: str) -> None:
    own = write_folder(tmp_path / "theirs", GENES, layout)
    target, said = made(tmp_path, LOCAL | {"path": str(tmp_path / "theirs")})
    checkpoint = StoredCheckpoint.open(target)
    found = checkpoint.weights()
    assert said == []
    assert set(found) == set(own) == set(weight_shapes(checkpoint.shape))
    assert all(np.array_equal(found[name], own[name]) for name in own)
    record = checkpoint.record
    assert record.parameters == sum(values.size for values in own.values())
    assert set(record.dropped) == {
        "cls_decoder.out_layer.weight",
        "decoder.weight" if layout == "torch" else "decoder.fc.0.weight",
    }
    # used and dropped together are all keys of the file, and q, k and v come from one
    state = torch.load(tmp_path / "theirs" / "best_model.pt", weights_only=True)
    assert {*record.used.values(), *record.dropped} == set(state)
    key = f"transformer_encoder.layers.1.{ATTENTION[layout]}bias"
    assert {record.used[f"layers.1.{one}_proj.bias"] for one in "qkv"} == {key}
    file = record.files["best_model.pt"]
    assert file.sha256 == hashlib.sha256((tmp_path / "theirs" / "best_model.pt").read_bytes()).hexdigest()
    assert checkpoint.vocabulary == vocabulary_of(GENES)
    assert (checkpoint.vocabulary["<cls>"], checkpoint.shape.pad) == (7, 6)


def test_half_precision_safetensors_and_data_parallel_names_are_read(tmp_path: Path) -> None:
    own = write_folder(tmp_path / "theirs", GENES)
    state = {f"module.{key}": values.half() for key, values in theirs(own, "flash").items()}
    save_file(state, tmp_path / "theirs" / "model.safetensors")
    source = LOCAL | {"path": str(tmp_path / "theirs"), "weights": "model.safetensors"}
    found = StoredCheckpoint.open(made(tmp_path, source)[0]).weights()
    assert all(np.array_equal(found[name], own[name].astype(np.float16).astype(np.float32)) for name in own)


def test_our_own_form_is_read_again(tmp_path: Path) -> None:
    own = initial_weights(shape_for(9), 1)
    assert own_weights(own, shape_for(9), "f").used == {name: name for name in own}


MISSING = "transformer_encoder.layers.0.self_attn.Wqkv.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop(MISSING), f"best_model.pt: a key is missing: {MISSING}; by its arguments it has 2 layers"),
        (
            lambda s: [s.pop(key) for key in ("encoder.enc_norm.bias", "value_encoder.linear1.weight")],
            "2 keys are missing: encoder.enc_norm.bias, value_encoder.linear1.weight",
        ),
        (lambda s: s.update({"dsbn.bns.0.weight": torch.ones(2)}), "a key is neither part of an encoder"),
        (lambda s: s.update({"dsbn.bns.0.weight": torch.ones(2)}), "dsbn.bns.0.weight; it is another model"),
        (
            lambda s: s.update({"transformer_encoder.layers.7.norm1.weight": torch.ones(WIDTH)}),
            "transformer_encoder.layers.7.norm1.weight; it is another model, or its arguments are",
        ),
        (
            lambda s: s.update({"encoder.embedding.weight": torch.ones(5, WIDTH)}),
            "'encoder.embedding.weight' has shape (5, 8), expected (9, 8)",
        ),
        (
            lambda s: s.update({MISSING: torch.ones(2 * WIDTH, WIDTH)}),
            f"'{MISSING}' has shape (16, 8), expected (24, 8)",
        ),
        (
            lambda s: s.update({"transformer_encoder.layers.0.self_attn.in_proj_weight": s[MISSING]}),
            "hold the same weights (layers.0.q_proj.weight); remove one of them",
        ),
        (lambda s: s[MISSING].fill_(torch.nan), f"{MISSING}: values are NaN or infinite; the file is damaged"),
        (lambda s: s.update({"step": 3}), "best_model.pt: 'step' is int, expected a tensor; save the state dict alone"),
    ],
)
def test_keys_that_do_not_fit_are_named(tmp_path: Path, change: Any, message: str) -> None:
    write_folder(tmp_path / "theirs", GENES)
    state = torch.load(tmp_path / "theirs" / "best_model.pt", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "theirs" / "best_model.pt")
    assert message in refused(tmp_path)


class Executes:
    """What a malicious file holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_execute_is_refused(tmp_path: Path, zipped: bool) -> None:
    write_folder(tmp_path / "theirs", GENES)
    bad, touched = {"encoder.embedding.weight": Executes(tmp_path / "touched")}, tmp_path / "touched"
    path = tmp_path / "theirs" / "best_model.pt"
    if zipped:
        torch.save(bad, path)
    else:
        path.write_bytes(pickle.dumps(bad, protocol=2))
    reason = refused(tmp_path)
    assert f"best_model.pt: is refused: it asks for '{os.name}.mkdir'" in reason
    assert "would run code of the file; only plain tensors are read" in reason
    assert not touched.exists()
    pickle.loads(pickle.dumps(bad))  # noqa: S301 - the file is what it is taken for
    assert touched.exists()


@pytest.mark.parametrize("content", [b"", b"PK not a zip", b"\x80\x02]q\x00."])
def test_a_file_that_is_no_state_dict_is_refused(tmp_path: Path, content: bytes) -> None:
    write_folder(tmp_path / "theirs", GENES)
    (tmp_path / "theirs" / "best_model.pt").write_bytes(content)
    assert refused(tmp_path).startswith("best_model.pt: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embsize": "8"}, "args.json: embsize is '8', expected a number"),
        ({"nheads": 3}, "args.json: embsize is 8 and nheads 3; expected positive numbers"),
        ({"n_bins": 21}, "args.json: n_bins is 21, but input.bins of the checkpoint 51"),
        ({"pad_token": "[PAD]"}, "args.json: pad_token is '[PAD]', which is not in the vocabulary"),
        ({"input_emb_style": "category"}, "args.json: input_emb_style is 'category'; only 'continuous' is read"),
        ({"vocabulary": {"G0": 0, "<pad>": 1}}, "vocab.json: has no token '<cls>', which stands before the genes"),
        ({"vocabulary": {"<cls>": 0, "<pad>": 2, "<eoc>": 1, "G": 4}}, "numbers of its 4 tokens are not 0 to 3"),
        ({"vocabulary": {"<cls>": 0, "<pad>": True, "G": 2}}, "token '<pad>' has the number True"),
    ],
)
def test_arguments_and_vocabulary_are_checked(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_folder(tmp_path / "theirs", GENES, **changes)
    assert message in refused(tmp_path)


def test_a_missing_argument_and_missing_files_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "theirs", GENES)
    text = json.loads((tmp_path / "theirs" / "args.json").read_text())
    del text["d_hid"]
    (tmp_path / "theirs" / "args.json").write_text(json.dumps(text))
    assert "args.json: key 'd_hid' is missing" in refused(tmp_path)
    (tmp_path / "theirs" / "vocab.json").unlink()
    assert refused(tmp_path).endswith("has no file vocab.json")
    target, _ = made(tmp_path, LOCAL | {"path": "$NO_SUCH_FOLDER/x"})
    assert "names a variable that is not set" in str(CheckpointRecord.read(target).reason)


def test_hashes_are_compared_whole_or_by_their_beginning(tmp_path: Path) -> None:
    write_folder(tmp_path / "theirs", GENES)
    whole = hashlib.sha256((tmp_path / "theirs" / "vocab.json").read_bytes()).hexdigest()
    source = LOCAL | {"path": str(tmp_path / "theirs")}
    target, _ = made(tmp_path, source | {"sha256": {"vocab.json": whole[:8]}})
    assert CheckpointRecord.read(target).status == "ok"
    target, _ = made(tmp_path, source | {"sha256": {"vocab.json": "0" * 64}})
    assert f"vocab.json: has the sha256 {whole}, expected 000" in str(CheckpointRecord.read(target).reason)


def test_downloads_are_recorded_and_enforced(tmp_path: Path) -> None:
    own = write_folder(tmp_path / "theirs", GENES)
    begins = hashlib.sha256((tmp_path / "theirs" / "best_model.pt").read_bytes()).hexdigest()[:8]

    def answer(request: Any) -> None:
        content = (tmp_path / "theirs" / request.path.rpartition("/")[2]).read_bytes()
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    with http_server(answer) as address:
        source = {"kind": "url", "url": f"{address}/folder", "sha256": {"best_model.pt": begins}}
        checkpoint = StoredCheckpoint.open(made(tmp_path, source)[0])
        assert np.array_equal(checkpoint.weights()["gene_norm.bias"], own["gene_norm.bias"])
        assert checkpoint.record.files["args.json"].origin == f"{address}/folder/args.json"
        assert checkpoint.record.files["best_model.pt"].sha256 in (tmp_path / "lock.yaml").read_text()
        wrong = source | {"sha256": {"best_model.pt": "00000000"}}
        target, _ = made(tmp_path, wrong)
        assert "expected one that begins 00000000" in str(CheckpointRecord.read(target).reason)


def test_random_weights_have_the_shape_and_the_tokens_of_another(tmp_path: Path) -> None:
    write_folder(tmp_path / "theirs", GENES)
    like, _ = made(tmp_path / "a", LOCAL | {"path": str(tmp_path / "theirs")}, max_length=77)
    target, _ = made(tmp_path / "b", {"kind": "random", "like": "tiny"}, like=like)
    other, checkpoint = StoredCheckpoint.open(like), StoredCheckpoint.open(target)
    assert (checkpoint.shape, checkpoint.input, checkpoint.vocabulary) == (other.shape, other.input, other.vocabulary)
    assert checkpoint.input.max_length == 77
    assert "random weights (seed 0) in the shape of tiny" in checkpoint.record.pretraining
    found, theirs_ = checkpoint.weights(), other.weights()
    assert not np.array_equal(found["layers.0.linear1.weight"], theirs_["layers.0.linear1.weight"])
    (tmp_path / "theirs" / "vocab.json").write_text("{}")
    broken, _ = made(tmp_path / "c", LOCAL | {"path": str(tmp_path / "theirs")})
    target, _ = made(tmp_path / "d", {"kind": "random", "like": "tiny"}, like=broken)
    assert "there is no checkpoint: vocab.json" in str(CheckpointRecord.read(target).reason)


def test_initial_weights_are_seeded_and_scaled() -> None:
    shape = ScgptShape(tokens=400, width=64, hidden=96, layers=3, heads=4, dropout=0.0, pad=5)
    first, again, other = (initial_weights(shape, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["gene_embedding.weight"], other["gene_embedding.weight"])
    assert not np.array_equal(first["layers.0.linear1.weight"], first["layers.1.linear1.weight"])
    assert (first["gene_embedding.weight"][5] == 0).all()
    # standard deviation of a uniform draw: its bound over the root of three
    expected = {
        "gene_embedding.weight": 0.1,
        "layers.1.q_proj.weight": (6 / (4 * 64)) ** 0.5,
        "layers.1.out_proj.weight": 64**-0.5,
        "layers.2.linear2.weight": 96**-0.5,
    }
    for name, bound in expected.items():
        assert np.abs(first[name]).max() <= bound
        assert first[name].std() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert (first["value_norm.weight"] == 1).all()
    assert (first["layers.0.norm2.bias"] == 0).all()


def test_a_changed_file_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    write_folder(tmp_path / "theirs", GENES)
    target, _ = made(tmp_path, LOCAL | {"path": str(tmp_path / "theirs")})
    content = bytearray((target / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (target / "weights.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"weights\.safetensors: is not the file of checkpoint\.json"):
        StoredCheckpoint.open(target).weights()
    (target / "vocabulary.json").write_text("{}")
    with pytest.raises(DataError, match=r"vocabulary\.json: is not the file"):
        StoredCheckpoint.open(target)


def test_whole_human_scgpt_has_its_number_of_weights() -> None:
    """specs: 12 layers of 512, 60,697 tokens."""
    shape = ScgptShape(tokens=60697, width=512, hidden=512, layers=12, heads=8, dropout=0.2, pad=60694)
    assert sum(int(np.prod(size)) for size in weight_shapes(shape).values()) == 50_278_400


def test_scformer_mini_is_read(real_data: Path, tmp_path: Path) -> None:
    target, said = made(tmp_path, LOCAL | {"path": str(real_data / "checkpoints" / "scformer_mini")}, cls_value=0)
    checkpoint = StoredCheckpoint.open(target)
    assert said == []
    assert (checkpoint.shape.layers, checkpoint.shape.width, checkpoint.shape.tokens) == (4, 64, 1002)
    dropped = checkpoint.record.dropped
    assert len(dropped) == 12
    assert all(key.startswith(("decoder.", "cls_decoder.")) for key in dropped)
    state = torch.load(real_data / "checkpoints" / "scformer_mini" / "best_model.pt", "cpu", weights_only=True)
    left = sum(state[key].numel() for key in dropped)
    assert checkpoint.record.parameters + left == sum(values.numel() for values in state.values()) == 178_762
    joint = state["transformer_encoder.layers.3.self_attn.in_proj_weight"].numpy()
    assert np.array_equal(checkpoint.weights()["layers.3.v_proj.weight"], joint[128:])
