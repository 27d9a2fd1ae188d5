"""A multi-layer perceptron trained with any loss of methods/torch/losses: the MLP of the HCE paper."""

from typing import Literal

from torch import nn

from annobench.fit.method import Abilities
from annobench.methods.torch import networks
from annobench.methods.torch.classifier import TorchClassifier
from annobench.methods.torch.recipe import Recipe, Settings


class Perceptron(TorchClassifier):
    """Equal layers on log-normalised expression, then an affine map to logits.

    Parameters
    ----------
    width
        Units of a layer.
    blocks
        Number of layers.
    dropout
        Share of the units of a layer that a training step leaves out.

    The others are those of TorchClassifier. The embedding is the output of the last layer before the affine map.
    """

    abilities = Abilities(embedding=True, gpu=True, streams=True, parallel=True)
    set_by_yaml = ("abilities.embedding",)  # one may do without: it takes a second pass over the cells

    def __init__(
        self,
        *,
        loss: str = "ce",
        n_genes: int | None = None,
        class_weights: bool | Literal["sampling"] = True,
        augment: bool = False,
        width: int = 128,
        blocks: int = 8,
        dropout: float = 0.1,
        recipe: Recipe | Settings = Recipe(
            learning_rate=2e-3, weight_decay=0.05, batch_size=128, epochs=50, min_steps=400, patience=10
        ),
    ) -> None:
        super().__init__(loss=loss, n_genes=n_genes, class_weights=class_weights, augment=augment, recipe=recipe)
        self.width, self.blocks, self.dropout = width, blocks, dropout

    def _network(self, genes: int, classes: int) -> nn.Module:
        return networks.mlp(genes, classes, self.width, self.blocks, self.dropout)

    def _hidden(self) -> nn.Module:
        return networks.hidden(self._model)

    def _network_parameters(self) -> dict[str, float]:
        return {"width": self.width, "blocks": self.blocks, "dropout": self.dropout}
