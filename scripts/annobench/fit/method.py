"""The contract of an annotation method.

A method sees training cells with labels and query cells without. It does its own normalisation, and everything it
chooses (genes, scaling, hyperparameters) it chooses on the training and validation cells.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annobench.fit.predictions import Predictions
from annobench.ontology import Ontology

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData


@dataclass
class Context:
    """What a method may know besides the training cells.

    validation: cells with labels for model selection, None where there are none. classes: the training classes,
    sorted. device: `cpu` or `cuda`. progress: takes a fraction (0..1) and a text. truth: label of every test cell, for
    a control that declares `needs.truth`; None for everything else. checkpoint: a folder for what a long training needs
    to go on after a kill; None where it is not wanted.
    """

    seed: int
    classes: list[str]
    ontology: Ontology
    validation: "AnnData | None" = None
    device: str = "cpu"
    threads: int = 1
    top_k: int = 5
    progress: Callable[[float, str], None] = lambda fraction, text: None
    truth: Mapping[str, str] | None = None
    checkpoint: Path | None = None


class Method(ABC):
    """Base class: parameters are keyword arguments of __init__ with literal defaults.

    `train.obs["label_id"]` holds the labels; X holds counts, or what uns["annobench"]["matrix"] says.
    """

    trainable_parameters: int | None = None  # set by fit where the notion makes sense
    gene_overlap: dict[str, int] | None = None  # `model` and `shared` genes, of a model that brings its own genes
    seconds_before: float = 0.0  # of training in earlier attempts, where fit went on from a checkpoint
    one_step: bool = False  # training and prediction cannot be told apart; all time counts as training
    # takes StoredCells, whose counts stay on disk, and then gives its predictions in parts, an iterator of Predictions
    streams: bool = False
    parallel: bool = False  # several processes can train it together; then load(folder).to(device, threads) is it

    @abstractmethod
    def fit(self, train: "AnnData", context: Context) -> None:
        """Learn from the training cells."""

    @abstractmethod
    def predict(self, query: "AnnData") -> Predictions:
        """Annotate query cells, which have the genes of the training cells in the same order."""

    def embed(self, query: "AnnData") -> "np.ndarray | None":
        """Embedding of query cells, float32 of shape (cells, dimensions), where the method has one."""
        return None

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what `load` needs into an existing folder, in formats whose loading executes no code."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> "Method":
        """Read what `save` wrote; the result predicts the same."""


def save_state(folder: Path, arrays: Mapping[str, Any], **values: Any) -> None:
    """Write arrays to arrays.npz and plain values to state.json."""
    import numpy as np

    np.savez_compressed(folder / "arrays.npz", allow_pickle=False, **arrays)
    (folder / "state.json").write_text(json.dumps(values, sort_keys=True), encoding="utf-8")


def load_state(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `save_state` wrote: arrays and plain values."""
    import numpy as np

    with np.load(folder / "arrays.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, json.loads((folder / "state.json").read_text(encoding="utf-8"))
