"""The models and the trainer of scDLKit beside ours: the same checkpoint, cells and tokens, in one process."""

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from annobench.methods.torch.optimiser import AdamW
from annobench.methods.transformer import sources
from annobench.methods.transformer.batches import Batch, TokenTable
from annobench.methods.transformer.model import build
from annobench.methods.transformer.recipe import AdaptationRecipe
from annobench.methods.transformer.training import Labelled, Trainer

if TYPE_CHECKING:
    from anndata import AnnData

BATCH, RATE, HEAD_DROPOUT = 64, 1e-4, 0.1
LORA = {"rank": 4, "alpha": 8.0, "dropout": 0.05}  # of its benchmark, in out_proj, linear1 and linear2


@dataclass(frozen=True)
class Contestant:
    """Something that trains; `epoch` sees every cell once."""

    name: str
    epoch: Callable[[], None]
    trained: int


@dataclass(frozen=True)
class Race:
    """Contestants on the same tokens, and what is known of these."""

    contestants: tuple[Contestant, ...]
    cells: int
    padded: int  # tokens of every cell of theirs
    lengths: "np.ndarray[Any, np.dtype[np.int64]]"
    differ: float  # largest difference between their vectors of cells and ours, before any training

    def run(self, rounds: int) -> "dict[str, list[tuple[float, float]]]":
        """Seconds, and seconds of the processor, of an epoch of every contestant; the first round is not counted.

        They take turns in an order that is drawn anew in every round.
        """
        found: dict[str, list[tuple[float, float]]] = {one.name: [] for one in self.contestants}
        order = np.random.default_rng(0)
        for number in range(rounds + 1):
            for i in order.permutation(len(self.contestants)):
                one = self.contestants[i]
                begin = time.perf_counter(), time.process_time()
                one.epoch()
                if number:
                    found[one.name].append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
        return found


def race(peer: Path, checkpoint: Path, cells: "AnnData", label: str) -> Race:
    """Build all contestants.

    Parameters
    ----------
    peer
        Source tree of scDLKit.
    checkpoint
        Folder in scGPT's layout.
    cells
        With symbols as names of the genes; `raw` is used where there is one, as scDLKit does.
    label
        Column of obs with the classes.
    """
    warnings.filterwarnings("ignore", message=".*nested tensor.*")
    folder = Path(tempfile.mkdtemp(prefix="annobench_scdlkit_"))
    (folder / "foundation" / "scgpt").mkdir(parents=True)
    (folder / "foundation" / "scgpt" / "whole-human").symlink_to(checkpoint.resolve())
    os.environ["SCDLKIT_CACHE_DIR"] = str(folder)  # where it looks before it would download
    sys.path.insert(0, str(peer / "src"))
    from scdlkit.foundation.data import prepare_scgpt_data  # type: ignore[import-not-found]

    prepared = prepare_scgpt_data(cells, label_key=label, min_gene_overlap=1)
    data, classes = prepared.dataset, len(prepared.label_categories)
    base = _base(checkpoint, folder)
    tokens, codes = _ours(data), data.labels.numpy().astype(np.int64)
    labelled = Labelled(tokens, codes)
    theirs = [_theirs(name, data, classes) for name in ("full_finetune", "lora")]
    ours = [_trainer(base, name, labelled, classes) for name in ("full", "lora")]
    contestants = [
        *(Contestant(f"scDLKit, {name}", epoch, size) for name, epoch, size, _ in theirs),
        *(Contestant(f"annobench, {name}", epoch, size) for name, epoch, size, _ in ours),
        Contestant("annobench, full, padded as scDLKit", *_padded(base, data, codes, classes)),
    ]
    some = np.arange(min(len(codes), 128))
    batch = tokens.batch(some, base.shape.pad)
    with torch.inference_mode():
        mine = ours[0][3].backbone.eval().embed(batch.genes, batch.values, batch.mask)
        there = theirs[0][3].eval()(data.gene_ids[some], data.values[some], data.padding_mask[some])
    differ = float((mine - there).abs().max())
    return Race(tuple(contestants), len(codes), int(data.gene_ids.shape[1]), tokens.lengths(), differ)


def _base(checkpoint: Path, folder: Path) -> sources.Base:
    """The checkpoint in our form."""
    from annobench.config.schema import validate
    from annobench.data.checkpoints.fetch import fetch_checkpoint
    from annobench.data.checkpoints.spec import CheckpointSpec

    text: dict[str, object] = dict.fromkeys(("label", "summary", "citation", "licence"), "of a benchmark")
    text |= {"organism": "any", "source": {"kind": "local", "path": str(checkpoint.resolve())}}
    spec = CheckpointSpec.of(validate(text, "checkpoint", "benchmark"))
    fetch_checkpoint("benchmark", spec, folder / "weights", lock_file=folder / "lock.yaml")
    return sources.base_of(folder / "weights")


def _ours(data: Any) -> TokenTable:
    """Its tokens without the padding."""
    there = ~data.padding_mask.numpy()
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64)
    return TokenTable(offsets, data.gene_ids.numpy()[there].astype(np.int32), data.values.numpy()[there])


def _theirs(strategy: str, data: Any, classes: int) -> tuple[str, Callable[[], None], int, nn.Module]:
    from scdlkit.foundation.annotation import load_scgpt_annotation_model  # type: ignore[import-not-found]
    from scdlkit.foundation.peft import LoRAConfig  # type: ignore[import-not-found]
    from scdlkit.training import Trainer as TheirTrainer  # type: ignore[import-not-found]

    config = LoRAConfig(**LORA) if strategy == "lora" else None
    model = load_scgpt_annotation_model(
        num_classes=classes, tuning_strategy=strategy, strategy_config=config, device="cpu"
    )
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    trainer = TheirTrainer(model, "classification", epochs=1, batch_size=BATCH, lr=RATE, device="cpu", checkpoint=False)
    return strategy, lambda: trainer.fit(data), trained, model.backbone


def _trainer(
    base: sources.Base, strategy: str, data: Labelled, classes: int
) -> tuple[str, Callable[[], None], int, Any]:
    options: Mapping[str, object] | None = {**LORA, "target": "scdlkit"} if strategy == "lora" else None
    model = build(
        base.shape,
        base.weights,
        classes=classes,
        strategy=strategy,
        options=options,
        head_dropout=HEAD_DROPOUT,
        seed=0,
    )
    loss = nn.CrossEntropyLoss()
    trainer = Trainer(model, loss, loss, data, None, recipe=AdaptationRecipe(batch_size=BATCH), seed=0)
    optimiser = AdamW(model, 0.01)

    def epoch() -> None:
        steps = -(-len(data.codes) // BATCH)  # as many as theirs, of which the last is smaller
        for number, rows in enumerate(trainer.batches(steps), 1):
            trainer.step(rows, number, optimiser, RATE)

    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    return strategy, epoch, trained, model


def _padded(base: sources.Base, data: Any, codes: Any, classes: int) -> tuple[Callable[[], None], int]:
    """Our network on their padded tensors: what is left of the difference without it is padding."""
    model = build(
        base.shape, base.weights, classes=classes, strategy="full", options=None, head_dropout=HEAD_DROPOUT, seed=0
    )
    optimiser = AdamW(model, 0.01)

    def epoch() -> None:
        model.train()
        for rows in torch.randperm(len(codes)).split(BATCH):
            model.zero_grad(set_to_none=True)
            batch = Batch(data.gene_ids[rows], data.values[rows], ~data.padding_mask[rows])
            nn.functional.cross_entropy(model(batch), data.labels[rows]).backward()
            optimiser.step(RATE, 1.0)

    return epoch, sum(one.numel() for one in model.parameters() if one.requires_grad)


def report(one: Race, times: "Mapping[str, list[tuple[float, float]]]") -> None:
    """Print what was measured."""
    mean = one.lengths.mean()
    print(f"{one.cells:,} cells of {one.lengths.min()} to {one.lengths.max()} tokens, {mean:.0f} on average", end="; ")
    print(f"scDLKit pads all to {one.padded}: {1 - mean / one.padded:.0%} padding")
    print(f"vectors of the same cells before training differ by {one.differ:.1e}")
    for contestant in one.contestants:
        wall, processor = (median(seconds) for seconds in zip(*times[contestant.name], strict=True))
        print(
            f"{contestant.name:36} {one.cells / wall:7,.0f} training cells/s, {1e3 * processor / one.cells:6.2f} ms of "
            f"the processor a cell, {contestant.trained:,} numbers trained"
        )
    for strategy, other in (("full", "full_finetune"), ("lora", "lora")):
        pairs = zip(times[f"annobench, {strategy}"], times[f"scDLKit, {other}"], strict=True)
        ratios = np.array([(theirs[0] / mine[0], theirs[1] / mine[1]) for mine, theirs in pairs])
        print(
            f"{strategy}: {np.median(ratios[:, 0]):.2f} times as fast (rounds: {ratios[:, 0].min():.2f} to "
            f"{ratios[:, 0].max():.2f}); by time of the processor {np.median(ratios[:, 1]):.2f} (rounds: "
            f"{ratios[:, 1].min():.2f} to {ratios[:, 1].max():.2f})"
        )
