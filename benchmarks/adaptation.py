"""Training cells per second of an adapted backbone on the CPU, beside PyTorch's encoder, and where the time goes.

Commands:
`.venv/bin/python benchmarks/adaptation.py [--threads 2]`: about a minute
`.venv/bin/python benchmarks/adaptation.py --peer FOLDER [--checkpoint FOLDER] [--data FILE --label COLUMN]`: beside the
models and the trainer of scDLKit, whose source tree is FOLDER
`.venv/bin/python benchmarks/adaptation.py --cells 10000 100000 [--checkpoint FOLDER]`: memory of an adapted model over
so many cells

The backbone has the shape of scformer_mini (4 layers, 64 wide, 1,002 tokens) and random weights, the cells as many
tokens as pbmc68k has of its vocabulary (24 to 62; 136 with all its genes). A step is forward, cross-entropy, backward,
clipping and AdamW on a batch of 64 cells. The other contestant is full fine-tuning of nn.TransformerEncoder with the
same shape and dropout, padded to 136 tokens, as scDLKit does it. All take turns in one process; medians.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from annobench.core.threads import SPIN

os.environ |= SPIN | {"TQDM_DISABLE": "1"}

import numpy as np
import torch
from repository import machine
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from annobench.data.checkpoints.spec import ScgptShape
from annobench.methods.torch.optimiser import AdamW
from annobench.methods.transformer.backbone import Backbone
from annobench.methods.transformer.batches import Batch, TokenTable
from annobench.methods.transformer.model import build, features_of
from annobench.methods.transformer.recipe import AdaptationRecipe
from annobench.methods.transformer.training import Labelled, Trainer

SHAPE = ScgptShape(tokens=1002, width=64, hidden=64, layers=4, heads=4, dropout=0.2, pad=999)
CELLS, CLASSES, BATCH, PADDED = 1024, 10, 64, 136
KINDS = {
    "optimiser": ("adamw", "_foreach", "Optimizer", "aten::sqrt", "addcdiv", "addcmul", "lerp"),
    "attention": ("scaled_dot_product", "flash_attention", "softmax", "bmm"),
    "norms": ("layer_norm",),
    "dropout": ("Dropped", "dropout", "bernoulli"),
    "embedding": ("embedding", "unique", "index_select"),
    "linear maps": ("addmm", "mm", "linear"),
    "element by element": ("mul", "add", "copy_", "fill_", "sum", "div", "threshold", "relu", "clamp", "where"),
    "loader": ("DataLoader", "aten::stack", "aten::cat"),
}  # part -> what names of operations hold


def cells(seed: int = 0) -> tuple[TokenTable, np.ndarray]:
    """Tokens of cells and class numbers."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(24, 63, CELLS)
    ids = np.concatenate([[1000, *rng.choice(999, n - 1, replace=False)] for n in lengths]).astype(np.int32)
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    return TokenTable(offsets, ids, rng.integers(1, 14, len(ids)).astype(np.float32)), rng.integers(CLASSES, size=CELLS)


def trainer(strategy: str, data: Labelled) -> Trainer:
    """Ours."""
    torch.manual_seed(0)
    weights = Backbone(SHAPE).state_dict()
    model = build(SHAPE, weights, classes=CLASSES, strategy=strategy, options=None, head_dropout=0.1, seed=0)
    loss = nn.CrossEntropyLoss()
    return Trainer(model, loss, loss, data, None, recipe=AdaptationRecipe(batch_size=BATCH), seed=0)


class Stock(nn.Module):
    """The same network with PyTorch's encoder."""

    def __init__(self) -> None:
        super().__init__()
        width = SHAPE.width
        self.embedding, self.norm = nn.Embedding(SHAPE.tokens, width, SHAPE.pad), nn.LayerNorm(width)
        first, second = nn.Linear(1, width), nn.Linear(width, width)
        self.values = nn.Sequential(first, nn.ReLU(), second, nn.LayerNorm(width), nn.Dropout(SHAPE.dropout))
        layer = nn.TransformerEncoderLayer(width, SHAPE.heads, SHAPE.hidden, SHAPE.dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, SHAPE.layers, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Dropout(0.1), nn.Linear(width, CLASSES))

    def forward(self, batch: Batch) -> Tensor:
        """Logits of cells padded to PADDED tokens."""
        more = PADDED - batch.genes.shape[1]
        genes = nn.functional.pad(batch.genes, (0, more), value=SHAPE.pad)
        mask = nn.functional.pad(batch.mask, (0, more), value=False)
        values = nn.functional.pad(batch.values, (0, more))
        tokens = self.norm(self.embedding(genes)) + self.values(values.unsqueeze(-1))
        return self.head(self.encoder(tokens, src_key_padding_mask=~mask)[:, 0])


def stock_step(model: Stock, optimiser: torch.optim.Optimizer, batch: Batch, codes: Tensor) -> None:
    """One step of PyTorch's encoder."""
    optimiser.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(model(batch), codes).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()


def steps(one: Trainer, optimiser: AdamW, rows: np.ndarray) -> None:
    """A few steps of ours."""
    for number in range(1, 6):
        one.step(rows, number, optimiser, 1e-3)


def parts(run: Callable[[], None]) -> str:
    """Shares of the time of operations."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        run()
    spent: dict[str, float] = {}
    for event in record.key_averages():
        kind = next((kind for kind, names in KINDS.items() if any(n in event.key for n in names)), "all others")
        spent[kind] = spent.get(kind, 0) + event.self_cpu_time_total
    whole = sum(spent.values())
    return ", ".join(f"{kind} {time / whole:.0%}" for kind, time in sorted(spent.items(), key=lambda one: -one[1]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="steps of every contestant")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", type=Path, metavar="FOLDER", help="source tree of scDLKit")
    parser.add_argument("--checkpoint", type=Path, metavar="FOLDER", help="in scGPT's layout; $ANNOBENCH_DATA has one")
    parser.add_argument("--data", type=Path, metavar="FILE", help="h5ad file with symbols as names; default: pbmc68k")
    parser.add_argument("--label", default="bulk_labels", help="column of obs with the classes")
    parser.add_argument("--most", type=int, default=1000, help="cells of FILE that train")
    parser.add_argument("--cells", type=int, nargs="+", metavar="N", help="measure memory over so many cells")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = Path(os.environ.get("ANNOBENCH_DATA", "")) / "checkpoints" / "scformer_mini"
    options.checkpoint = options.checkpoint or folder
    if options.cells:
        from adaptation_memory import measure

        measure(options.checkpoint, options.cells, options.threads)
    elif options.peer:
        beside_scdlkit(options)
    else:
        beside_pytorch(options)


def beside_scdlkit(options: argparse.Namespace) -> None:
    """Measure both on the same tokens."""
    import anndata
    import scanpy
    from adaptation_peer import race, report

    cells = anndata.read_h5ad(options.data) if options.data else scanpy.datasets.pbmc68k_reduced()
    if cells.n_obs > options.most:
        cells = cells[np.random.default_rng(0).permutation(cells.n_obs)[: options.most]].copy()
    print(f"{options.threads} threads; {machine()}")
    contest = race(options.peer, options.checkpoint, cells, options.label)
    report(contest, contest.run(options.rounds))
    for one in contest.contestants:
        print(f"{one.name}: {parts(one.epoch)}")


def beside_pytorch(options: argparse.Namespace) -> None:
    """Measure ours and PyTorch's encoder on simulated tokens."""
    tokens, codes = cells()
    data = Labelled(tokens, codes.astype(np.int64))
    ours = {name: trainer(name, data) for name in ("full", "lora")}
    optimisers = {name: AdamW(one.model, 0.01) for name, one in ours.items()}
    stock = Stock().train()
    optimiser = torch.optim.AdamW(stock.parameters(), lr=1e-3)
    times: dict[str, list[float]] = {"full": [], "lora": [], "nn.TransformerEncoder, padded": []}
    for number, rows in enumerate(ours["full"].batches(options.rounds + 2), 1):
        for name, one in ours.items():
            begin = time.perf_counter()
            one.step(rows, number, optimisers[name], 1e-3)
            times[name].append(time.perf_counter() - begin)
        batch, labels = tokens.batch(rows, SHAPE.pad), torch.from_numpy(data.codes[rows])
        begin = time.perf_counter()
        stock_step(stock, optimiser, batch, labels)
        times["nn.TransformerEncoder, padded"].append(time.perf_counter() - begin)
    for name, seconds in times.items():
        print(f"{name:32} {BATCH / median(seconds[2:]):7,.0f} training cells/s")
    begin = time.perf_counter()
    features_of(ours["lora"].model, tokens, device="cpu", kind="auto", budget=32768)
    print(f"{'lora, prediction':32} {CELLS / (time.perf_counter() - begin):7,.0f} cells/s")
    rows = next(ours["full"].batches(1))
    lengths = tokens.rows(rows).lengths()
    print(f"padding to {PADDED}: {1 - lengths.mean() / PADDED:.0%} of the tokens of a batch; packed: none")
    for name, one in ours.items():
        print(f"{name}: " + parts(partial(steps, one, optimisers[name], rows)))


if __name__ == "__main__":
    main()
