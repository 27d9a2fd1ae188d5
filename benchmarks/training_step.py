"""One training step on the CPU: ours, sparse, beside dense PyTorch, bf16 autocast and torch.sparse.

Command: `.venv/bin/python benchmarks/training_step.py` (about two minutes, 3 GB of memory); with `--losses`, only what
every loss adds to our step with cross-entropy (with `--threads 1` on a busy machine); with `--avx2`, every contestant
uses AVX2 only, which imitates the vectors of another processor but not its caches

A step is forward, loss, backward, clipping of the global norm at 1.0, and AdamW. All contestants take turns on the same
batches in one process, in the environment of a fit (see `annobench.core.threads.SPIN`). Batches of dense contestants
are already dense; the conversion is not timed. The reference of every ratio is dense float32 with PyTorch's default
AdamW.
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from annobench.core.threads import SPIN

os.environ.update({name: value for name, value in SPIN.items() if name not in os.environ})
os.environ.update(  # of numba, PyTorch, and the two libraries of its dense products
    {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    }
    if "--avx2" in sys.argv
    else {}
)

import numpy as np
import torch
from repository import machine
from torch import Tensor, nn

from annobench.cells.store.batch import Batch
from annobench.methods.torch import networks
from annobench.methods.torch.losses import LOSSES, build_loss
from annobench.methods.torch.optimiser import AdamW

GENES, CLASSES, PAIRS, CELLS = 19_331, 164, 381, 2_048
REFERENCE = "dense float32"
RATE, DECAY, CLIP = 1e-3, 0.05, 1.0


@dataclass
class Contestant:
    """One way to take a step: the network, the form of its input, and its optimiser."""

    name: str
    network: nn.Module
    form: str  # batch, dense or csr
    autocast: bool = False
    optimiser: str = "default"  # AdamW: default, fused, or ours

    def stepper(self, loss: nn.Module) -> "Callable[[dict[str, Any], Tensor], None]":
        """A function that takes one step on a batch, given in all forms, and its class numbers."""
        parameters = list(self.network.parameters())
        if self.optimiser == "ours":
            ours = AdamW(self.network, DECAY)
            update = lambda: ours.step(RATE)  # noqa: E731
        else:
            update = torch.optim.AdamW(parameters, RATE, weight_decay=DECAY, fused=self.optimiser == "fused").step

        def step(forms: dict[str, Any], codes: Tensor) -> None:
            for parameter in parameters:
                parameter.grad = None
            with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
                logits = self.network(forms[self.form])
            loss(logits.float(), codes).backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            update()

        return step


class CsrLinear(nn.Linear):
    """nn.Linear of a torch.sparse CSR matrix (its own autograd has no backward for this product)."""

    def forward(self, cells: Tensor) -> Tensor:
        """Logits."""
        return CsrProduct.apply(cells, self.weight) + self.bias


class CsrProduct(torch.autograd.Function):
    """cells @ weight.T for cells in torch.sparse's CSR."""

    @staticmethod
    def forward(ctx: Any, cells: Tensor, weight: Tensor) -> Tensor:
        """(n, genes) @ (genes, k)."""
        ctx.cells = cells
        return cells @ weight.T.contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        """The gradient of the weight, (k, genes)."""
        return None, (ctx.cells.t() @ gradient).T


def plain(name: str, first: type[nn.Linear] = nn.Linear) -> nn.Module:
    """The reference networks, made of PyTorch's own layers."""
    if name == "linear":
        return first(GENES, CLASSES)
    blocks = [
        (nn.Linear(128, 128) if i else first(GENES, 128), nn.BatchNorm1d(128), nn.SiLU(), nn.Dropout(0.1))
        for i in range(8)
    ]
    return nn.Sequential(*[layer for block in blocks for layer in block], nn.Linear(128, CLASSES))


def wide(name: str) -> list[Contestant]:
    """Contestants for networks whose first layer is wide and linear."""
    ours = {"linear": networks.linear, "mlp": networks.mlp}[name]
    return [
        Contestant("ours, sparse", ours(GENES, CLASSES), "batch", optimiser="ours"),
        Contestant(REFERENCE, plain(name), "dense"),
        Contestant("dense, AdamW fused", plain(name), "dense", optimiser="fused"),
        Contestant("dense, bf16 autocast", plain(name), "dense", autocast=True),
        Contestant("torch.sparse CSR", plain(name, CsrLinear), "csr"),
    ]


# contestants of a network; takes its name
NETWORKS: dict[str, Callable[[str], list[Contestant]]] = {"linear": wide, "mlp": wide}


def synthetic_batch(cells: int, genes: int, seed: int, expressed: float = 1_950) -> Batch:
    """Cells of geometric counts around log-normal gene means (sigma 2), log1p of 10,000 counts a cell.

    The means are scaled so that about `expressed` genes a cell are not 0; they are the same for every seed.
    """
    shape = np.exp(np.random.default_rng(0).normal(0, 2, genes))
    low, high = 0.0, 1e3 / shape.mean()
    for _ in range(60):
        scale = (low + high) / 2
        low, high = (scale, high) if (shape * scale / (1 + shape * scale)).sum() < expressed else (low, scale)
    mean = shape * scale
    rng = np.random.default_rng([1, seed])
    # the number of failures of a geometric distribution of this mean is positive with mean / (1 + mean)
    found = rng.random((cells, genes), dtype=np.float32) < (mean / (1 + mean)).astype(np.float32)
    rows, columns = np.nonzero(found)
    counts = rng.geometric(1 / (1 + mean[columns]))
    totals = np.bincount(rows, counts, minlength=cells)
    indptr = np.concatenate([[0], np.cumsum(found.sum(axis=1))]).astype(np.int64)
    values = np.log1p(counts * 1e4 / totals[rows]).astype(np.float32)
    codes = rng.integers(CLASSES, size=cells)
    return Batch(indptr, columns.astype(np.int32), values, codes, np.arange(cells), genes)


def forms(batch: Batch) -> dict[str, Any]:
    """A batch in all forms that contestants take."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR tensor|invariant)")
        csr = torch.sparse_csr_tensor(
            torch.from_numpy(batch.indptr),
            torch.from_numpy(batch.indices).long(),
            torch.from_numpy(batch.values),
            (batch.n, batch.genes),
        )
    return {"batch": batch, "dense": torch.from_numpy(batch.dense()), "csr": csr}


def losses(*names: str) -> dict[str, nn.Module]:
    """Losses over a hierarchy with as many pairs as scTab's classes; by default CE and HCE."""
    rng = np.random.default_rng(0)
    upper = np.flatnonzero(np.triu(np.ones((CLASSES, CLASSES), dtype=bool), 1))
    pairs = np.eye(CLASSES, dtype=bool)
    pairs.flat[rng.choice(upper, PAIRS - CLASSES, replace=False)] = True
    return {name: build_loss(name, torch.from_numpy(pairs), None) for name in names or ("ce", "hce")}


def loss_ms(loss: nn.Module, codes: Tensor, rounds: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Milliseconds for a loss and its gradient alone."""
    logits, times = torch.randn(len(codes), CLASSES, requires_grad=True), []
    for _ in range(5 + rounds):
        begin = clock()
        loss(logits, codes).backward()
        times.append(clock() - begin)
    return 1e3 * median(times[5:])


def measure(name: str, batches: list[tuple[dict[str, Any], Tensor]], rounds: int) -> None:
    """Time steps of all contestants with both losses, in turn; prints medians and ratios."""
    torch.manual_seed(0)
    chosen = losses()
    steps = {
        (contestant.name, key): contestant.stepper(loss)
        for key, loss in chosen.items()
        for contestant in NETWORKS[name](name)
    }
    times: dict[tuple[str, str], list[float]] = {key: [] for key in steps}
    for number in range(2 + rounds):
        for key, step in steps.items():
            begin = time.perf_counter()
            step(*batches[number % len(batches)])
            times[key].append(time.perf_counter() - begin)
    medians = {key: 1e3 * median(values[2:]) for key, values in times.items()}
    print(f"\n{name:<22}{'CE ms':>9}{'HCE ms':>9}{'HCE cells/s':>13}{'CE ratio':>10}{'HCE ratio':>10}")
    cells = batches[0][0]["batch"].n
    for contestant in dict.fromkeys(key for key, _ in steps):
        ce, hce = medians[contestant, "ce"], medians[contestant, "hce"]
        ratios = [medians[REFERENCE, loss] / value for loss, value in (("ce", ce), ("hce", hce))]
        print(f"{contestant:<22}{ce:9.1f}{hce:9.1f}{1e3 * cells / hce:13,.0f}{ratios[0]:10.2f}{ratios[1]:10.2f}")
    alone = {key: loss_ms(loss, batches[0][1], 4 * rounds) for key, loss in chosen.items()}
    cost = alone["hce"] - alone["ce"]
    print(
        f"loss and its gradient alone: CE {alone['ce']:.2f} ms, HCE {alone['hce']:.2f} ms; HCE costs {cost:.2f} ms "
        f"more: {cost / medians[REFERENCE, 'ce']:.1%} of the dense step, {cost / medians['ours, sparse', 'ce']:.1%} of "
        "ours"
    )


def cost_of_losses(name: str, batches: list[tuple[dict[str, Any], Tensor]], rounds: int) -> None:
    """Time our step with every loss, in turn on the same batch and weights; prints what each adds to that with CE.

    The difference of a round is that of two consecutive steps; thread time excludes other processes.
    """
    torch.manual_seed(0)
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    ours = wide(name)[0]
    chosen = losses(*LOSSES)
    steps = {key: ours.stepper(loss) for key, loss in chosen.items()}
    alone = {key: loss_ms(loss, batches[0][1], 4 * rounds, clock) for key, loss in chosen.items()}
    times: dict[str, list[float]] = {key: [] for key in steps}
    for number in range(3 + rounds):
        keys = list(steps)
        for key in keys[number % len(keys) :] + keys[: number % len(keys)]:
            begin = clock()
            steps[key](*batches[number % len(batches)])
            times[key].append(1e3 * (clock() - begin))
    ce = np.array(times["ce"][3:])
    head = f"\n{name:<18}{'ms':>8}{'more than CE (quartiles)':>26}{'of the step':>13}"
    print(f"{head}{'alone, ms':>11}{'more, of the step':>19}")
    for key, values in times.items():
        more = np.array(values[3:]) - ce
        low, middle, high = np.quantile(more, [0.25, 0.5, 0.75])
        share = middle / np.median(ce)
        print(
            f"{key:<18}{median(values[3:]):8.1f}{middle:8.2f} ({low:.2f}, {high:.2f}){share:14.1%}{alone[key]:11.2f}"
            f"{(alone[key] - alone['ce']) / np.median(ce):19.1%}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--losses", action="store_true", help="only the cost of every loss in our step")
    parser.add_argument("--avx2", action="store_true", help="use AVX2 only")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{machine()}; PyTorch uses {torch.backends.cpu.get_cpu_capability()}")
    made = [synthetic_batch(CELLS, GENES, seed) for seed in range(3)]
    density = sum(len(batch.values) for batch in made) / len(made) / CELLS
    print(f"{CELLS:,} cells x {GENES:,} genes, {density:,.0f} non-zeros a cell, {arguments.threads} threads")
    batches = [(forms(batch), torch.from_numpy(batch.codes)) for batch in made]
    for name in arguments.networks:
        (cost_of_losses if arguments.losses else measure)(name, batches, arguments.rounds)


if __name__ == "__main__":
    main()
