"""Backbones, tokens and labels that are small enough for tests."""

from typing import Any

import numpy as np
import torch

from annobench.data.checkpoints.spec import BertShape, ScgptShape
from annobench.methods.transformer.backbone import Backbone
from annobench.methods.transformer.batches import TokenTable
from annobench.methods.transformer.bert import Bert
from annobench.methods.transformer.model import Annotator, build
from annobench.methods.transformer.sources import Base

SHAPE = ScgptShape(tokens=30, width=16, hidden=24, layers=2, heads=2, dropout=0.1, pad=29)
CLS = 28
# as SHAPE, in the layout of Geneformer: <pad> 29, <cls> 28, <eos> 27
RANKED = BertShape(
    **{"tokens": 30, "width": 16, "hidden": 24, "layers": 2, "heads": 2, "dropout": 0.1, "pad": 29},
    **{"positions": 20, "epsilon": 1e-12, "pooling": "mean", "special": (27, 28, 29)},
)


def backbone(seed: int = 0, shape: ScgptShape = SHAPE) -> Backbone:
    """One with random weights, biases and norms included, so that none is without effect."""
    torch.manual_seed(seed)
    made = Backbone(shape)
    with torch.no_grad():
        for one in made.parameters():
            one.add_(torch.randn_like(one) * 0.1)
        made.gene_embedding.weight[shape.pad] = 0
    return made.eval()


def bert(seed: int = 0, shape: BertShape = RANKED) -> Bert:
    """A BERT with random weights."""
    torch.manual_seed(seed)
    made = Bert(shape)
    with torch.no_grad():
        for one in made.parameters():
            one.add_(torch.randn_like(one) * 0.1)
    return made.eval()


def ranked_base(seed: int = 0, **more: Any) -> Base:
    """A base of these weights."""
    facts: dict[str, Any] = {"place": "toy", "vocabulary_sha256": "v" * 64, "medians_sha256": "m" * 64} | more
    return Base(shape=RANKED, weights=bert(seed).state_dict(), preprocessing={"values": "ranks"}, **facts)


def base(seed: int = 0, **more: Any) -> Base:
    """A base with these weights."""
    facts: dict[str, Any] = {"place": "toy", "vocabulary_sha256": "v" * 64, "preprocessing": {"bins": 51}} | more
    return Base(shape=SHAPE, weights=backbone(seed).state_dict(), **facts)


def annotator(strategy: str, *, classes: int = 3, seed: int = 1, one: Base | None = None, **options: Any) -> Annotator:
    """An adapted backbone with a head."""
    one = one or base()
    return build(
        one.shape, one.weights, classes=classes, strategy=strategy, options=options, head_dropout=0.1, seed=seed
    )


def cell_tokens(
    n: int, *, classes: int = 3, seed: int = 0, lengths: tuple[int, int] = (4, 13)
) -> tuple[TokenTable, np.ndarray]:
    """Tokens of n cells and their class numbers; the genes of a class are likelier in its cells."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(n) % classes)
    sizes = rng.integers(*lengths, size=n)
    ids, values = [], []
    for code, size in zip(codes, sizes, strict=True):
        share = np.where(np.arange(CLS) % classes == code, 40.0, 1.0)
        genes = rng.choice(CLS, size - 1, replace=False, p=share / share.sum())
        ids += [CLS, *genes]
        values += [-2.0, *rng.integers(1, 51, size - 1)]
    offsets = np.cumsum([0, *sizes]).astype(np.int64)
    return TokenTable(offsets, np.array(ids, np.int32), np.array(values, np.float32)), codes.astype(np.int64)


def ranked_tokens(
    n: int, *, classes: int = 3, seed: int = 0, lengths: tuple[int, int] = (4, 13)
) -> tuple[TokenTable, np.ndarray]:
    """The same of cells that are ranked: <cls>, genes, <eos>, each with its place."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(n) % classes)
    sizes = rng.integers(*lengths, size=n)
    ids, values = [], []
    for code, size in zip(codes, sizes, strict=True):
        share = np.where(np.arange(27) % classes == code, 40.0, 1.0)
        ids += [28, *rng.choice(27, size - 2, replace=False, p=share / share.sum()), 27]
        values += range(size)
    offsets = np.cumsum([0, *sizes]).astype(np.int64)
    return TokenTable(offsets, np.array(ids, np.int32), np.array(values, np.int16)), codes.astype(np.int64)
