"""A multi-layer perceptron trained with cross-entropy or hierarchical cross-entropy (the MLP of the HCE paper)."""

from torch import nn

from annobench.torch import networks
from annobench.torch.classifier import TorchClassifier
from annobench.torch.trainer import Recipe


class Perceptron(TorchClassifier):
    """`loss` is ce or hce."""

    def __init__(
        self,
        *,
        loss: str = "ce",
        n_genes: int | None = None,
        class_weights: bool = True,
        width: int = 128,
        blocks: int = 8,
        dropout: float = 0.1,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.05,
        batch_size: int = 128,
        epochs: int = 50,
        min_steps: int = 400,
        patience: int = 10,
        precision: str = "auto",
    ) -> None:
        self.loss, self.n_genes, self.class_weights = loss, n_genes, class_weights
        self.width, self.blocks, self.dropout = width, blocks, dropout
        self.recipe = Recipe(learning_rate, weight_decay, batch_size, epochs, min_steps, patience, precision=precision)

    def _network(self, genes: int, classes: int) -> nn.Module:
        return networks.mlp(genes, classes, self.width, self.blocks, self.dropout)

    def _network_parameters(self) -> dict[str, float]:
        return {"width": self.width, "blocks": self.blocks, "dropout": self.dropout}
