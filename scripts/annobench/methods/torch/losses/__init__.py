"""Losses, one file each, found by file name.

A loss states, as literals, its LABEL for figures, whether it is HIERARCHICAL (looks at the classes below a label), and,
if it likes, its ORDER among all losses, which decides its colour; losses without one follow, by name. Its function
`build` takes the reachability of the classes and their weights, and returns a module: logits (batch, classes) and class
numbers, int64 (batch,), in, the mean over the batch out. The mean is weighted by the class of the label where classes
have weights, as those of PyTorch; the attribute `weight` of the module holds these weights, or None.
"""

import importlib
from pathlib import Path

from torch import Tensor, nn

LOSSES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"))


def build_loss(name: str, reachability: Tensor, weight: Tensor | None) -> nn.Module:
    """A loss by its name.

    Parameters
    ----------
    name
        File in this folder, without .py.
    reachability
        bool (classes, classes); [i, j] is true where class j is i or a descendant of i.
    weight
        float (classes,), the weight of every class in the mean; None for equal weights.

    Returns
    -------
    nn.Module
        Takes logits, float (batch, classes), and class numbers, int64 (batch,); returns a scalar.

    Raises
    ------
    ValueError
        There is no such loss, or `reachability` is not square with a true diagonal.
    """
    if name not in LOSSES:
        raise ValueError(f"loss is '{name}', expected {', '.join(LOSSES)}")
    if reachability.ndim != 2 or reachability.shape[0] != reachability.shape[1] or not reachability.diagonal().all():
        raise ValueError(f"reachability must be square with a true diagonal, got shape {tuple(reachability.shape)}")
    loss: nn.Module = importlib.import_module(f"{__name__}.{name}").build(reachability, weight)
    return loss
