"""A linear network trained with cross-entropy or hierarchical cross-entropy (the linear model of the HCE paper)."""

from torch import nn

from annobench.torch import networks
from annobench.torch.classifier import TorchClassifier
from annobench.torch.trainer import Recipe


class Linear(TorchClassifier):
    """`loss` is ce or hce."""

    def __init__(
        self,
        *,
        loss: str = "ce",
        n_genes: int | None = None,
        class_weights: bool = True,
        learning_rate: float = 5e-4,
        weight_decay: float = 0.01,
        batch_size: int = 128,
        epochs: int = 50,
        min_steps: int = 1000,
        patience: int = 10,
        precision: str = "auto",
    ) -> None:
        self.loss, self.n_genes, self.class_weights = loss, n_genes, class_weights
        self.recipe = Recipe(learning_rate, weight_decay, batch_size, epochs, min_steps, patience, precision=precision)

    def _network(self, genes: int, classes: int) -> nn.Module:
        return networks.linear(genes, classes)
