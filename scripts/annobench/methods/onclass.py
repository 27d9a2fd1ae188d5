"""OnClass, rebuilt: a bilinear network onto the graph of the ontology, which can name types that no training cell has.

After Wang et al., Nature Communications 2021, doi 10.1038/s41467-021-25725-x.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from torch import nn

from annobench.cells.stored_cells import is_stored
from annobench.core.errors import ConfigError
from annobench.core.files import expanded
from annobench.fit.method import Abilities, Context
from annobench.fit.predictions import Predictions
from annobench.methods.shared.type_graph import near, read_texts, read_types, type_graph
from annobench.methods.torch import networks
from annobench.methods.torch.classifier import TorchClassifier
from annobench.methods.torch.inference import logits
from annobench.methods.torch.recipe import Recipe, Settings

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from annobench.cells.stored_cells import StoredCells
    from annobench.ontology import Ontology

    Cells: TypeAlias = "AnnData | StoredCells"
    Numbers = NDArray[np.floating]

_FILE = "types.npz"
_PART = 8192  # cells whose probabilities of all types are computed together
_HELD_OUT = 10  # without validation cells, every tenth cell of a class is held out


class OnClass(TorchClassifier):
    """One hidden layer, an affine map into the space of the ontology, and dot products with the places of types.

    It is trained over the types of the training cells (the seen types). A type that no training cell
    has gets the probabilities of the seen types, weighted by how alike their places in the graph are to its own; see
    `spread`. How much these unseen types weigh is chosen on the validation cells, all of which are of seen types: at
    most a share `lost` of them may be given an unseen type.

    Differences to the published program: any release of the ontology, optional texts, and this choice, where it weighs
    unseen types by a fixed factor.

    Parameters
    ----------
    loss
        Name of a file in methods/torch/losses.
    candidates
        Unseen types that may be predicted: `near` the seen types in the ontology (`reach`), all of the `ontology`,
        those of a `file` (`types`), or `none`.
    reach
        Most `is_a` steps, in either direction, from a seen type to a candidate that is near.
    types
        File with one Cell Ontology id a line: the candidates, for `candidates: file`.
    lost
        Largest share of the validation cells that may be given an unseen type.
    sharpness
        Power to which the likeness of places is raised.
    texts
        An .npz file with vectors of the descriptions of types (`ids`, `vectors`), which weigh the relations; None for
        equal weights.
    dimensions
        Most dimensions of the space.
    restart
        Probability of a random walk to begin again.
    n_genes
        Variable genes; None for all.
    class_weights
        As in TorchClassifier.
    width
        Units of the hidden layer.
    dropout
        Share of these units that a training step leaves out.
    recipe
        Hyperparameters of training.
    """

    abilities = Abilities(embedding=True, gpu=True, streams=True, closed_labels=False)
    files: ClassVar[tuple[str, ...]] = ("{types}", "{texts}")

    def __init__(
        self,
        *,
        loss: str = "ce",
        candidates: Literal["near", "ontology", "file", "none"] = "near",
        reach: int = 2,
        types: str | None = None,
        lost: float = 0.02,
        sharpness: float = 2.0,
        texts: str | None = None,
        dimensions: int = 200,
        restart: float = 0.5,
        n_genes: int | None = 3000,
        class_weights: bool | Literal["sampling"] = True,
        width: int = 200,
        dropout: float = 0.1,
        recipe: Recipe | Settings = Recipe(
            learning_rate=1e-3, weight_decay=0.01, batch_size=128, epochs=30, min_steps=400, patience=10
        ),
    ) -> None:
        super().__init__(loss=loss, n_genes=n_genes, class_weights=class_weights, recipe=recipe)
        if (candidates == "file") != (types is not None):
            raise ConfigError("parameters.types is the file of `candidates: file`; give both or neither")
        for name, value, most in (("lost", lost, 1), ("restart", restart, 1)):
            if not 0 <= value <= most or (name == "restart" and value == 0):
                raise ConfigError(f"parameters.{name}: expected a number from 0 to 1, found {value}")
        self.candidates, self.reach, self.types, self.lost = candidates, reach, types, lost
        self.sharpness, self.texts, self.dimensions, self.restart = sharpness, texts, dimensions, restart
        self.width, self.dropout = width, dropout

    def fit(self, train_cells: "Cells", context: Context) -> None:
        seen = sorted(map(str, train_cells.obs["label_id"].unique()))
        self._unseen = self._chosen(seen, context.ontology)
        texts = read_texts(expanded(self.texts)) if self.texts else None
        graph = type_graph(
            context.ontology,
            [*seen, *self._unseen],
            dimensions=self.dimensions,
            restart=self.restart,
            texts=texts,
        )
        self._places = graph.places[: len(seen)].astype(np.float32)
        self._alike = np.maximum(graph.similarity(seen, self._unseen), 0) ** self.sharpness
        self._weight = 0.0
        judged, how = context.validation, "validation cells"
        if self._unseen and (judged is None or not judged.obs["label_id"].astype(str).isin(seen).any()):
            train_cells, judged = _some_held_out(train_cells)
            context = replace(context, validation=judged)
            how = "training cells that were held out, for there are no validation cells"
        super().fit(train_cells, context)
        if self._unseen and judged is not None:
            self._weight = self._weighed(judged)
        self.notes = {
            "seen_types": len(seen),
            "unseen_candidates": len(self._unseen),
            "unseen_weight": round(self._weight, 6),
            "dimensions": int(self._places.shape[1]),
        }
        if self._unseen:
            cells = 0 if judged is None else judged.n_obs
            self.notes["unseen_weight_from"] = f"{cells} {how}" if cells else "nothing: too few training cells; it is 0"
        if texts is not None:
            self.notes["types_with_text"] = sum(name in texts for name in (*seen, *self._unseen))
        for name, value in self.notes.items():
            print(f"{name}: {value}", flush=True)

    def _chosen(self, seen: list[str], ontology: "Ontology") -> list[str]:
        """The unseen types that may be predicted, sorted."""
        if self.candidates == "none":
            return []
        if self.candidates == "file":
            return sorted(set(read_types(expanded(str(self.types)), ontology)) - set(seen))
        return near(ontology, seen, self.reach if self.candidates == "near" else len(ontology.terms))

    def _weighed(self, cells: "Cells") -> float:
        """The weight of unseen types at which they win at most a share `lost` of cells of seen types."""
        labels = cells.obs["label_id"].astype(str).to_numpy()
        known = np.isin(labels, self._classes)
        feed = self._feed(self._rows(cells[known] if not known.all() else cells), None, batch_size=2048, shuffle=False)
        seen = softmax(logits(self._model, feed, self.recipe.precision))
        return weight_of(seen, self._alike, self.lost)

    def _network(self, genes: int, classes: int) -> nn.Module:
        return networks.bilinear(genes, torch.from_numpy(self._places), self.width, self.dropout)

    def _hidden(self) -> nn.Module:
        return networks.hidden(self._model)

    def _network_parameters(self) -> dict[str, float]:
        return {"width": self.width, "dropout": self.dropout, "restart": self.restart, "dimensions": self.dimensions}

    def predict(self, query: "Cells") -> Iterator[Predictions]:
        if is_stored(query) or query.n_obs <= _PART or not self._unseen:
            yield from super().predict(query)
            return
        for start in range(0, query.n_obs, _PART):  # there are many types: the matrix of all cells may be large
            yield from super().predict(query[start : start + _PART])

    def _predictions(self, names: "pd.Index", values: "NDArray[np.float32]") -> Predictions:
        classes = [*self._classes.tolist(), *self._unseen]
        probabilities, confidence = spread(softmax(values), self._alike, self._weight)
        found = Predictions.from_probabilities(names, probabilities, classes, self._top_k)
        found.confidence = confidence
        return found

    def save(self, folder: Path) -> None:
        super().save(folder)
        np.savez_compressed(
            folder / _FILE,
            allow_pickle=False,
            unseen=np.array(self._unseen, dtype=str),
            places=self._places,
            alike=self._alike,
            weight=np.array(self._weight),
        )

    def _read(self, folder: Path) -> None:
        with np.load(folder / _FILE, allow_pickle=False) as archive:
            self._places, self._alike = archive["places"], archive["alike"]
            self._unseen, self._weight = archive["unseen"].tolist(), float(archive["weight"])


def softmax(values: "Numbers") -> "NDArray[np.float64]":
    """Softmax of every row, in float64."""
    powers = np.exp(values.astype(np.float64) - values.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def weight_of(seen: "Numbers", alike: "Numbers", lost: float) -> float:
    """The largest weight of unseen types at which they win at most a share of some cells.

    Parameters
    ----------
    seen
        (n, seen) probabilities of the cells.
    alike
        (seen, unseen) likeness of types.
    lost
        The share.
    """
    best = (seen @ alike).max(axis=1)
    ratios = np.divide(seen.max(axis=1), best, out=np.full(len(seen), np.inf), where=best > 0)
    ordered = np.sort(ratios)
    weight = float(ordered[min(int(lost * len(ordered)), len(ordered) - 1)]) if len(ordered) else 0.0
    # on a tie the seen type wins, being first; rounding must not turn a tie into a win
    return weight * (1 - 1e-9) if np.isfinite(weight) else 1.0


def spread(seen: "Numbers", alike: "Numbers", weight: float) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Probabilities of seen and unseen types from those of the seen ones.

    An unseen type u counts `weight` times the sum over seen types s of p(s) alike(s, u), and a seen type its p(s);
    divided by the sum of all, they are probabilities.

    Parameters
    ----------
    seen
        (n, seen), rows add up to one.
    alike
        (seen, unseen), from 0 to 1.
    weight
        Of the unseen types, at least 0.

    Returns
    -------
    (n, seen + unseen) probabilities, and (n,) confidences: what the first label counts, divided by what all seen types
    and the best unseen one count. Many unseen types of one place share their probability, but not this confidence.
    """
    unseen = weight * (seen @ alike)
    counts = np.concatenate([seen, unseen], axis=1)
    best = unseen.max(axis=1, initial=0)
    return counts / counts.sum(axis=1, keepdims=True), counts.max(axis=1) / (seen.sum(axis=1) + best)


def _some_held_out(cells: "Cells") -> "tuple[Cells, Cells | None]":
    """Every tenth cell of each class apart from the others; None where no class has ten."""
    labels = cells.obs["label_id"].astype(str)
    out = labels.groupby(labels).cumcount().to_numpy() % _HELD_OUT == _HELD_OUT - 1
    return (cells[~out], cells[out]) if out.any() else (cells, None)
