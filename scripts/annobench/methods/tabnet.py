"""TabNet trained with cross-entropy or a loss that knows the ontology (the scTab model of the HCE paper)."""

from torch import nn

from annobench.methods.torch.classifier import TorchClassifier
from annobench.methods.torch.tabnet import TabNet as Network
from annobench.methods.torch.trainer import Recipe


class TabNet(TorchClassifier):
    """`loss` is one of annobench.methods.torch.losses.LOSSES; `decision` and `attention` are the widths n_d and n_a.

    augment: move every training cell by a difference between donors (annobench.methods.torch.augmentation). The
    defaults are those of the paper, but for the size of a batch.
    """

    normalises_inputs = True

    def __init__(
        self,
        *,
        loss: str = "ce",
        n_genes: int | None = None,
        class_weights: bool | str = True,
        augment: bool = False,
        decision: int = 128,
        attention: int = 64,
        shared: int = 3,
        own: int = 5,
        ghost: int = 256,
        sparsity: float = 1e-5,
        learning_rate: float = 5e-3,
        weight_decay: float = 0.05,
        batch_size: int = 128,
        epochs: int = 50,
        min_steps: int = 1000,
        patience: int = 10,
        precision: str = "auto",
        selection: str = "macro_f1",
        drop_last: bool = False,
    ) -> None:
        self.loss, self.n_genes, self.class_weights, self.augment = loss, n_genes, class_weights, augment
        self.shape = {
            "decision": decision,
            "attention": attention,
            "shared": shared,
            "own": own,
            "ghost": ghost,
            "sparsity": sparsity,
        }
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
        return Network(genes, classes, **self.shape)  # type: ignore[arg-type]

    def _network_parameters(self) -> dict[str, float]:
        return dict(self.shape)
