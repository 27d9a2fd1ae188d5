"""One training step of TabNet on the CPU: ours on sparse cells beside dense float32 PyTorch.

Command: `.venv/bin/python benchmarks/tabnet_step.py` (about two minutes, 6 GB of memory)

A step is forward, loss with the penalty of the mask, backward, clipping of the global norm at 1.0, and AdamW. The dense
contestants are the same network in plain PyTorch, with entmax by sorting, as in published implementations, and by our
search of the threshold; their batches are already dense, and the conversion is not timed. All take turns on the same
batches in one process, and start from the same weights: `logits` and `gradients` are differences from the first
contestant in the first step, as norms relative to its norm. Float32 rounding moves a few of 262,144 hidden units across
zero, where the gradient jumps, on any path. Memory is the peak that a step adds to the memory before it.
"""

import argparse
import time
from pathlib import Path
from statistics import median

from training_step import CELLS, CLASSES, CLIP, DECAY, GENES, losses, synthetic_batch

# isort: split
import torch  # after the environment was set
from torch import Tensor, nn

from annobench.cells.store.batch import Batch
from annobench.methods.torch import entmax
from annobench.methods.torch.optimiser import AdamW
from annobench.methods.torch.tabnet import TabNet

RATE = 5e-3
SORT, SEARCH, SPARSE = "dense, entmax by sort", "dense, entmax by search", "ours, sparse"
WARM = 1  # steps that are not counted


def threshold_by_sort(x: Tensor) -> Tensor:
    """The threshold of rows x = z / 2 whose maxima are zero, by sorting (Peters, Niculae and Martins)."""
    ordered = x.sort(-1, descending=True).values
    size = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    mean = ordered.cumsum(-1) / size
    square = ordered.square().cumsum(-1) / size
    thresholds = mean - ((1 - size * (square - mean.square())) / size).clamp_min(0).sqrt()
    return thresholds.gather(-1, (thresholds <= ordered).sum(-1, keepdim=True) - 1)


class Contestant:
    """A network with its optimiser, and the form of its input."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        self.name, self.network = name, TabNet(GENES, CLASSES)
        self.optimiser = AdamW(self.network, DECAY)
        self.times: list[float] = []
        self.memory = 0.0

    def step(self, batch: Batch, cells: Tensor, loss: nn.Module) -> Tensor:
        """Take one step, record time and memory, and return the logits."""
        search, before = entmax.threshold, reset_peak()
        if self.name == SORT:
            entmax.threshold = threshold_by_sort
        begin = time.perf_counter()
        try:
            self.network.zero_grad(set_to_none=True)
            logits = self.network(batch if self.name == SPARSE else cells)
            (loss(logits, torch.from_numpy(batch.codes)) + self.network.penalty).backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
            self.optimiser.step(RATE)
        finally:
            entmax.threshold = search
        self.times.append(time.perf_counter() - begin)
        self.memory = max(self.memory, resident("VmHWM") - before)
        return logits.detach()


def resident(key: str) -> float:
    """Memory of this process in GiB: VmRSS now, VmHWM at its peak."""
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(key))
    return int(line.split()[1]) / 2**20


def reset_peak() -> float:
    """Reset the peak to the current memory; returns it."""
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def difference(first: Contestant, second: Contestant) -> float:
    """The norm of the difference of the whole gradients, relative to that of the second."""
    pairs = list(zip(first.network.parameters(), second.network.parameters(), strict=True))
    apart = sum((p.grad - q.grad).square().sum().item() for p, q in pairs)
    return (apart / sum(q.grad.square().sum().item() for _, q in pairs)) ** 0.5


def measure(key: str, loss: nn.Module, batches: list[tuple[Batch, Tensor]], rounds: int) -> None:
    """Steps of all contestants with one loss, in turns; prints medians and ratios."""
    contestants = [Contestant(name) for name in (SORT, SEARCH, SPARSE)]
    for number in range(WARM + rounds):
        batch, cells = batches[number % len(batches)]
        logits = [each.step(batch, cells, loss) for each in contestants]
        if number == 0:
            apart = [((value - logits[0]).norm() / logits[0].norm()).item() for value in logits[1:]]
            slopes = [difference(each, contestants[0]) for each in contestants[1:]]
    # our step is short: more of them for a stable median
    for number in range(4 * rounds):
        contestants[-1].step(*batches[number % len(batches)], loss)
    print(f"\n{key.upper():<26}{'ms':>9}{'cells/s':>10}{'ratio':>8}{'GiB':>7}{'logits':>10}{'gradients':>11}")
    reference = median(contestants[0].times[WARM:])
    for contestant, logit, slope in zip(contestants, [0.0, *apart], [0.0, *slopes], strict=True):
        spent = median(contestant.times[WARM:])
        print(
            f"{contestant.name:<26}{1e3 * spent:9.0f}{CELLS / spent:10,.0f}{reference / spent:8.1f}"
            f"{contestant.memory:7.2f}{logit:10.1e}{slope:11.1e}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("losses", nargs="*", default=["ce", "hce"], help="ce, hce")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    made = [synthetic_batch(CELLS, GENES, seed) for seed in range(2)]
    density = sum(len(batch.values) for batch in made) / len(made) / CELLS
    print(f"{CELLS:,} cells x {GENES:,} genes, {density:,.0f} non-zeros a cell, {arguments.threads} threads")
    batches = [(batch, torch.from_numpy(batch.dense())) for batch in made]
    chosen = losses()
    for key in arguments.losses:
        measure(key, chosen[key], batches, arguments.rounds)


if __name__ == "__main__":
    main()
