"""A linear network trained with any loss of methods/torch/losses: the linear model of the HCE paper."""

from typing import Literal

from torch import nn

from annobench.methods.torch import networks
from annobench.methods.torch.classifier import TorchClassifier
from annobench.methods.torch.recipe import Recipe, Settings


class Linear(TorchClassifier):
    """One affine map from log-normalised expression to logits. Parameters as in TorchClassifier."""

    def __init__(
        self,
        *,
        loss: str = "ce",
        n_genes: int | None = None,
        class_weights: bool | Literal["sampling"] = True,
        recipe: Recipe | Settings = Recipe(
            learning_rate=5e-4, weight_decay=0.01, batch_size=128, epochs=50, min_steps=1000, patience=10
        ),
    ) -> None:
        super().__init__(loss=loss, n_genes=n_genes, class_weights=class_weights, recipe=recipe)

    def _network(self, genes: int, classes: int) -> nn.Module:
        return networks.linear(genes, classes)
