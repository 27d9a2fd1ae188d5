"""A pretraining learns something, is seeded, reads no labels, and says that it is no scGPT."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from annobench.data.checkpoints.initial import initial_weights
from annobench.data.checkpoints.spec import CheckpointRecord, CheckpointSpec
from annobench.data.checkpoints.stored import StoredCheckpoint
from annobench.data.tokens.stored import PaddedTokens
from annobench.methods.transformer import pretrain
from annobench.methods.transformer.pretrain import pretrain_checkpoint
from annobench.methods.transformer.weights import load_backbone
from annobench.ontology import Ontology
from checkpoint_folders import shape_for, spec_of
from helpers import cells

SOURCE = {"kind": "pretrain", "dataset": "d", "genes": 30, "width": 16, "hidden": 16, "layers": 1, "heads": 2}
SOURCE |= {"steps": 60, "batch": 16, "learning_rate": 0.01}


def spec(**changes: Any) -> CheckpointSpec:
    return spec_of(SOURCE | changes, "any", max_length=20, bins=11)


@pytest.fixture(scope="module")
def file(ontology: Ontology, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    prepared = cells(ontology)
    del prepared.obs["label_id"]  # labels are not read
    prepared.write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def trained(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    pretrain_checkpoint("own", spec(), file, folder)
    return folder


def test_it_learns_and_the_record_says_what_it_is(trained: Path) -> None:
    checkpoint = StoredCheckpoint.open(trained)
    record = checkpoint.record
    assert "200 unlabelled cells of d: hidden values, 60 steps of 16 cells; not scGPT" in record.pretraining
    assert record.cells_seen == ("d",)
    first, last = (
        float(part.split()[0]) for part in record.notes[0].split("both heads: ")[1].split(" in the first 20 steps, ")
    )
    assert 0 < last < 0.8 * first
    assert len(checkpoint.vocabulary) == 32
    assert (checkpoint.shape.pad, checkpoint.vocabulary["<cls>"]) == (30, 31)
    weights, before = checkpoint.weights(), initial_weights(checkpoint.shape, 0)
    moved = {name for name in weights if not np.array_equal(weights[name], before[name])}
    assert moved == set(weights)  # every part of the encoder learns
    assert (weights["gene_embedding.weight"][30] == 0).all()  # but for the padding
    load_backbone(checkpoint)


def test_the_same_seed_gives_the_same_weights(file: Path, trained: Path, tmp_path: Path) -> None:
    for name, changes in (("same", {}), ("other", {"seed": 1})):
        pretrain_checkpoint("own", spec(**changes), file, tmp_path / name)
    one, same, other = (StoredCheckpoint.open(path).record for path in (trained, tmp_path / "same", tmp_path / "other"))
    assert one.weights_sha256 == same.weights_sha256 != other.weights_sha256


def test_hidden_values_are_not_seen(monkeypatch: pytest.MonkeyPatch, trained: Path) -> None:
    """What the encoder is given does not depend on the values that it has to predict."""
    checkpoint = StoredCheckpoint.open(trained)
    genes = np.tile(np.array([31, 3, 5, 7]), (2, 1))
    mask = np.ones(genes.shape, dtype=bool)
    seen: list[torch.Tensor] = []

    class Tokens:
        lengths = np.array([4, 4])

        def padded(self, rows: Any, pad: int) -> PaddedTokens:
            return PaddedTokens(genes, np.array([[-2, 8, 9, 10]] * 2, dtype=np.float32), mask)

    source = spec(hidden_share=0.5).source
    training = pretrain._Training(checkpoint.shape, source, Tokens(), 10.0)  # type: ignore[arg-type]
    kept = training._backbone.forward
    monkeypatch.setattr(training._backbone, "forward", lambda g, v, m: seen.append(v) or kept(g, v, m))
    for _ in range(8):
        training._loss(np.array([0, 1]))
    values = torch.stack(seen)
    assert (values[..., 0] == -2).all()  # the token of the cell stays
    assert set(values[..., 1:].unique().tolist()) == {-1.0, 8.0, 9.0, 10.0}
    assert (values[..., 1:] == -1).any(dim=-1).all()  # a value of every cell is hidden


def test_what_cannot_be_trained_on_is_said(file: Path, tmp_path: Path, ontology: Ontology) -> None:
    said: list[str] = []
    human = replace(spec(), organism="Mus musculus")
    prepared = cells(ontology)
    prepared.var["feature_id"] = [f"ENSG{i:011d}" for i in range(prepared.n_vars)]
    prepared.write_h5ad(tmp_path / "cells.h5ad")
    pretrain_checkpoint("own", human, tmp_path / "cells.h5ad", tmp_path / "made", report=said.append)
    reason = str(CheckpointRecord.read(tmp_path / "made").reason)
    assert "begin ENSG, but the vocabulary is of Mus musculus" in reason
    assert said == [f"own: {reason}; fits that read this checkpoint are skipped"]
    prepared = cells(ontology)
    prepared.X = prepared.X * 0
    prepared.write_h5ad(tmp_path / "cells.h5ad")
    pretrain_checkpoint("own", spec(), tmp_path / "cells.h5ad", tmp_path / "made")
    assert "no cell has two genes of the vocabulary" in str(CheckpointRecord.read(tmp_path / "made").reason)


def test_genes_of_the_vocabulary_vary_most(file: Path, trained: Path) -> None:
    import anndata

    prepared = anndata.read_h5ad(file)
    dense = prepared.X.toarray()
    spread = np.log1p(dense / dense.sum(axis=1, keepdims=True) * 1e4).var(axis=0)
    expected = set(prepared.var["feature_name"].astype(str).to_numpy()[np.argsort(-spread)[:30]])
    assert set(StoredCheckpoint.open(trained).vocabulary) == expected | {"<pad>", "<cls>"}


def test_every_cell_comes_once_before_any_comes_again() -> None:
    source = spec(steps=20, batch=4).source
    tokens = SimpleNamespace(lengths=np.arange(80)[::-1])
    training = pretrain._Training(shape_for(9), source, tokens, 1.0)  # type: ignore[arg-type]
    batches = list(training._batches(np.arange(80)))
    assert sorted(np.concatenate(batches).tolist()) == list(range(80))
    assert (
        max(np.ptp(one) for one in batches) < 30
    )  # of like length: of 32 cells at a time, four that follow each other
    twice = list(pretrain._Training(shape_for(9), replace(source, steps=40), tokens, 1.0)._batches(np.arange(80)))
    assert np.bincount(np.concatenate(twice)).tolist() == [2] * 80
    rates = [training._rate(step) for step in range(2, 20)]
    assert (training._rate(0), rates[0]) == (0.5, 1.0)
    assert rates == sorted(rates, reverse=True)
