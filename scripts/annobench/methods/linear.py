"""A linear network trained with cross-entropy or a loss that knows the ontology (the linear model of the HCE paper)."""

from torch import nn

from annobench.methods.torch import networks
from annobench.methods.torch.classifier import TorchClassifier
from annobench.methods.torch.trainer import Recipe


class Linear(TorchClassifier):
    """`loss` is one of annobench.methods.torch.losses.LOSSES."""

    def __init__(
        self,
        *,
        loss: str = "ce",
        n_genes: int | None = None,
        class_weights: bool | str = True,
        learning_rate: float = 5e-4,
        weight_decay: float = 0.01,
        batch_size: int = 128,
        epochs: int = 50,
        min_steps: int = 1000,
        patience: int = 10,
        precision: str = "auto",
        selection: str = "macro_f1",
        drop_last: bool = False,
    ) -> None:
        self.loss, self.n_genes, self.class_weights = loss, n_genes, class_weights
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
        return networks.linear(genes, classes)
