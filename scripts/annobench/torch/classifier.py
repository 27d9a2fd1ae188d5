"""Base of the PyTorch classifiers: features, training, prediction, saving."""

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from annobench.methods.base import Context, Method, load_state, save_state
from annobench.methods.features import ExpressionFeatures
from annobench.predictions import Predictions
from annobench.torch.losses import build_loss
from annobench.torch.trainer import Recipe, logits, train

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix


class TorchClassifier(Method):
    """A network on log1p CP10k values; subclasses say which network."""

    loss: str
    n_genes: int | None
    class_weights: bool
    recipe: Recipe

    @abstractmethod
    def _network(self, genes: int, classes: int) -> nn.Module:
        """A fresh network."""

    def fit(self, train_cells: "AnnData", context: Context) -> None:
        torch.manual_seed(context.seed)
        torch.set_num_threads(context.threads)
        self._features = ExpressionFeatures(self.n_genes)
        values = self._features.fit(train_cells)
        self._classes, codes = np.unique(train_cells.obs["label_id"].astype(str), return_inverse=True)
        counts = np.bincount(codes)
        # inverse frequency ("balanced"): N / (classes * count)
        weight = (
            torch.as_tensor(len(codes) / (len(counts) * counts), dtype=torch.float32) if self.class_weights else None
        )
        reachability = torch.as_tensor(context.ontology.reachability(self._classes.tolist()))
        self._model = self._network(values.shape[1], len(self._classes))
        self.trainable_parameters = sum(p.numel() for p in self._model.parameters() if p.requires_grad)
        self._device, self._top_k = context.device, context.top_k
        self.best_epoch = train(
            self._model,
            build_loss(self.loss, reachability, weight),
            values,
            codes,
            self._validation(context),
            self.recipe,
            context.seed,
            context.device,
            context.progress,
        )

    def _validation(self, context: Context) -> "tuple[csr_matrix, np.ndarray] | None":
        if context.validation is None:
            return None
        known = np.isin(context.validation.obs["label_id"].astype(str), self._classes)
        cells = context.validation[known]
        if cells.n_obs == 0:
            return None
        return self._features.transform(cells), np.searchsorted(self._classes, cells.obs["label_id"].astype(str))

    def predict(self, query: "AnnData") -> Predictions:
        values = logits(self._model, self._features.transform(query), self._device)
        probabilities = torch.softmax(torch.from_numpy(values).double(), dim=1).numpy()
        return Predictions.from_probabilities(
            query.obs_names, probabilities, self._classes.tolist(), self._top_k, values
        )

    def save(self, folder: Path) -> None:
        save_file(
            {key: value.cpu().contiguous() for key, value in self._model.state_dict().items()},
            folder / "weights.safetensors",
        )
        save_state(
            folder,
            self._features.state(),
            classes=self._classes.tolist(),
            top_k=self._top_k,
            network=self._network_parameters(),
        )

    def _network_parameters(self) -> dict[str, float]:
        """Arguments of __init__ that shape the network."""
        return {}

    @classmethod
    def load(cls, folder: Path) -> "TorchClassifier":
        arrays, values = load_state(folder)
        method = cls(**values["network"])
        method._features = ExpressionFeatures.restore(arrays)
        method._classes, method._top_k, method._device = np.array(values["classes"]), values["top_k"], "cpu"
        method._model = method._network(len(arrays["genes"]), len(method._classes))
        method._model.load_state_dict(load_file(folder / "weights.safetensors"))
        return method
