"""TabNet trained with any loss of methods/torch/losses: the scTab model of the HCE paper."""

from typing import Literal

from torch import nn

from annobench.fit.method import Abilities
from annobench.methods.torch.classifier import TorchClassifier
from annobench.methods.torch.recipe import Recipe, Settings
from annobench.methods.torch.tabnet import Representation
from annobench.methods.torch.tabnet import TabNet as Network


class TabNet(TorchClassifier):
    """TabNet with one decision step. The defaults are those of the HCE paper, but for the size of a batch.

    Parameters
    ----------
    decision, attention
        The widths n_d and n_a of the TabNet paper.
    shared, own
        Gated linear units that splitter and decision step share, and that each has of its own.
    ghost
        Cells of a ghost batch.
    sparsity
        Factor of the penalty on the entropy of the masks.

    The others are those of TorchClassifier. The embedding is what the head sees: the output of the decision step.
    """

    abilities = Abilities(embedding=True, gpu=True, streams=True, parallel=True)
    set_by_yaml = ("abilities.embedding",)  # one may do without: it takes a second pass over the cells
    normalises_inputs = True

    def __init__(
        self,
        *,
        loss: str = "ce",
        n_genes: int | None = None,
        class_weights: bool | Literal["sampling"] = True,
        augment: bool = False,
        decision: int = 128,
        attention: int = 64,
        shared: int = 3,
        own: int = 5,
        ghost: int = 256,
        sparsity: float = 1e-5,
        recipe: Recipe | Settings = Recipe(
            learning_rate=5e-3, weight_decay=0.05, batch_size=128, epochs=50, min_steps=1000, patience=10
        ),
    ) -> None:
        super().__init__(loss=loss, n_genes=n_genes, class_weights=class_weights, augment=augment, recipe=recipe)
        self.decision, self.attention = decision, attention
        self.shared, self.own, self.ghost, self.sparsity = shared, own, ghost, sparsity

    def _network(self, genes: int, classes: int) -> nn.Module:
        return Network(
            genes,
            classes,
            decision=self.decision,
            attention=self.attention,
            shared=self.shared,
            own=self.own,
            ghost=self.ghost,
            sparsity=self.sparsity,
        )

    def _hidden(self) -> nn.Module:
        assert isinstance(self._model, Network)
        return Representation(self._model)

    def _network_parameters(self) -> dict[str, float]:
        names = ("decision", "attention", "shared", "own", "ghost", "sparsity")
        return {name: getattr(self, name) for name in names}
