"""The contract of a method.

A method sees training cells with labels and query cells without. It does its own normalisation, and everything it
chooses (genes, scaling, hyperparameters) it chooses on the training and validation cells.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from annobench.config.method_facts import Abilities, Needs
from annobench.fit.embedding import Embedding
from annobench.fit.expression import Expression
from annobench.fit.predictions import Predictions
from annobench.fit.run_record import Note
from annobench.fit.uses import FinishedFit
from annobench.ontology import Ontology

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

__all__ = [
    "Abilities",
    "Context",
    "Embedding",
    "Expression",
    "FinishedFit",
    "Method",
    "Needs",
    "Notes",
    "Predictions",
    "load_state",
    "save_state",
]

Notes: TypeAlias = dict[str, Note | Mapping[str, Note] | tuple[str, ...]]


@dataclass
class Context:
    """What a method may know besides the training cells.

    Parameters
    ----------
    seed
        Seed of every random draw.
    classes
        Labels of the training cells, sorted.
    ontology
        The Cell Ontology of the study.
    validation
        Cells with labels for model selection; None where there are none.
    device
        `cpu` or `cuda`.
    threads
        Threads that the method may use.
    top_k
        Labels per cell that are kept of a prediction.
    progress
        Takes a fraction (0 to 1) and a text.
    truth
        Label of every test cell, for a control that states `needs.truth`; None for every other method.
    query
        The unlabelled test cells, for a method that states `needs.query`; None for every other method.
    checkpoint
        Folder for what a long training needs to go on after a kill; None where none is wanted.
    dataset
        Name of the dataset.
    uses
        The fits of other methods that its YAML file names, by the name by which the method knows them.
    absent
        Of the fits that it reads several of by one name, those that are of no use: method -> why.
    tokens, weights
        Folders of the cells of the dataset as tokens (`StoredTokens`) and of their checkpoint (`StoredCheckpoint`), for
        a method that states `needs.tokens`; cells are found in them by id. None for every other method.
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
    query: "AnnData | None" = None
    checkpoint: Path | None = None
    dataset: str = ""
    uses: Mapping[str, tuple[FinishedFit, ...]] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    tokens: Path | None = None
    weights: Path | None = None


class Method:
    """Base class of all methods: parameters are keyword arguments of `__init__` with literal defaults.

    At least one of `predict`, `embed` and `predict_expression` is overridden; `abilities` states which. `needs`,
    `abilities`, `set_by_yaml`, `parts`, `part_options`, `files` and `uses` are written as literals, because they are
    read without importing the module; so are the defaults of parameters, or they are calls of a dataclass with
    literals, whose fields a YAML file then gives as a mapping (see `Recipe` of the networks).

    Attributes
    ----------
    needs
        What the method cannot do without.
    abilities
        What it gives, and how it works.
    set_by_yaml
        Needs and abilities that depend on the parameters, such as `("abilities.embedding",)`: its YAML files may state
        them.
    parts
        Parameters whose value is the name of a Python file, and the folder of these files: `{"loss":
        "methods/torch/losses"}`. Names are checked before anything runs, and a change of such a file refits the methods
        that use it.
    part_options
        Parameters that are keyword arguments of the public function of a part: `{"options": "reader"}`.
    files
        Paths of files that it reads, with names of parameters in braces, such as `("{path}",)`; one whose parameters
        are not set is left out. A change of one of them refits the method.
    uses
        Fits of other methods that it reads (`context.uses`): the name by which it knows them -> the output that they
        must have left, such as `{"embedding": "embedding"}`; in a tuple where it reads several, such as
        `{"votes": ("predictions",)}`, and does without those that did not succeed. Its YAML files say which methods
        these are.
    trainable_parameters
        Numbers that training sets; set by `fit` where the notion makes sense.
    gene_overlap
        `model` and `shared` genes, of a model that brings its own genes.
    notes
        What the run record shall say of this fit, known after `predict`.
    seconds_before
        Seconds of training in earlier attempts, where `fit` went on from a checkpoint.
    """

    needs: ClassVar[Needs] = Needs()
    abilities: ClassVar[Abilities] = Abilities()
    set_by_yaml: ClassVar[tuple[str, ...]] = ()
    parts: ClassVar[Mapping[str, str]] = {}
    part_options: ClassVar[Mapping[str, str]] = {}
    files: ClassVar[tuple[str, ...]] = ()
    uses: ClassVar[Mapping[str, str | tuple[str, ...]]] = {}

    trainable_parameters: int | None = None
    gene_overlap: dict[str, int] | None = None
    notes: Notes | None = None
    seconds_before: float = 0.0

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        can = cls.abilities
        if not (can.predictions or can.embedding or can.expression):
            raise TypeError(f"{cls.__name__}: abilities: it gives none of predictions, embedding and expression")
        for stated, ability, name in (
            (can.predictions, "predictions", "predict"),
            (can.embedding, "embedding", "embed"),
            (can.expression, "expression", "predict_expression"),
        ):
            if stated and getattr(cls, name) is getattr(Method, name):
                raise TypeError(f"{cls.__name__}: abilities.{ability} is true, but there is no method `{name}`")

    def fit(self, train: "AnnData", context: Context) -> None:
        """Learn from the training cells; does nothing where the method learned elsewhere.

        Parameters
        ----------
        train
            Training cells: labels in `obs["label_id"]`; `X` holds counts, or what `uns["annobench"]["matrix"]` states.
        context
            What the method may know besides.
        """

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        """Annotate cells.

        Parameters
        ----------
        query
            Cells without labels, with the genes of the training cells in the same order.

        Returns
        -------
        Predictions of all cells, in parts that follow the order of the cells; within a part their order is free. A
        method that has them at once yields one part.
        """
        raise NotImplementedError

    def embed(self, query: "AnnData") -> Iterator[Embedding]:
        """Embed cells.

        Parameters
        ----------
        query
            Cells without labels, with the genes of the training cells in the same order. They may be training cells.

        Returns
        -------
        Embedding of all cells, in parts as of `predict`.
        """
        raise NotImplementedError

    def predict_expression(self, query: "AnnData", conditions: "Sequence[str]") -> Expression:
        """Predict what cells express under a condition.

        Parameters
        ----------
        query
            Observations of the cells and the genes to predict; there is no `X`.
        conditions
            (n,) the condition of every cell.

        Returns
        -------
        Expression of every cell over the genes of `query`.
        """
        raise NotImplementedError

    def genes_read(self, var: "pd.DataFrame") -> "NDArray[np.bool_] | None":
        """Which of these genes of new cells the method reads, (genes,); None for all.

        A new cell without a value in any of them is annotated as unknown. Raises DataError where it cannot read them.
        """

    def save(self, folder: Path) -> None:
        """Write what `load` needs into an existing folder, in formats whose loading executes no code."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the result predicts the same."""
        raise NotImplementedError(f"{cls.__name__} keeps no model")


def save_state(folder: Path, arrays: "Mapping[str, np.ndarray]", **values: object) -> None:
    """Write arrays to arrays.npz and plain values to state.json."""
    import numpy as np

    np.savez_compressed(folder / "arrays.npz", allow_pickle=False, **arrays)
    (folder / "state.json").write_text(json.dumps(values, sort_keys=True), encoding="utf-8")


def load_state(folder: Path) -> "tuple[dict[str, np.ndarray], dict[str, Any]]":
    """Read what `save_state` wrote: arrays and plain values."""
    import numpy as np

    with np.load(folder / "arrays.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, json.loads((folder / "state.json").read_text(encoding="utf-8"))
