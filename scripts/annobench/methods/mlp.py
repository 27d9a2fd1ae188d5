"""A multi-layer perceptron trained with cross-entropy or a loss that knows the ontology (the MLP of the HCE paper)."""

from torch import nn

from annobench.methods.torch import networks
from annobench.methods.torch.classifier import TorchClassifier
from annobench.methods.torch.trainer import Recipe


class Perceptron(TorchClassifier):
    """`loss` is one of annobench.methods.torch.losses.LOSSES.

    augment: move every training cell by a difference between donors (annobench.methods.torch.augmentation).
    """

    def __init__(
        self,
        *,
        loss: str = "ce",
        n_genes: int | None = None,
        class_weights: bool | str = True,
        augment: bool = False,
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
        selection: str = "macro_f1",
        drop_last: bool = False,
    ) -> None:
        self.loss, self.n_genes, self.class_weights, self.augment = loss, n_genes, class_weights, augment
        self.width, self.blocks, self.dropout = width, blocks, dropout
        self.recipe = Recipe(
            learning_rate,
            weight_decay,
            batch_size,
            epochs,
            min_steps,
            patience,
            precision=precision,
            selection=selection,
            drop_last=drop_last,
        )

    def _network(self, genes: int, classes: int) -> nn.Module:
        return networks.mlp(genes, classes, self.width, self.blocks, self.dropout)

    def _network_parameters(self) -> dict[str, float]:
        return {"width": self.width, "blocks": self.blocks, "dropout": self.dropout}
