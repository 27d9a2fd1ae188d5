"""A backbone with a head, and what it makes of tokens."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from annobench.data.checkpoints.spec import Shape
from annobench.methods.torch.dropout import Dropout
from annobench.methods.torch.inference import precision
from annobench.methods.transformer import strategies
from annobench.methods.transformer.backbone import Encoder
from annobench.methods.transformer.batches import Batch, TokenTable, pieces
from annobench.methods.transformer.weights import encoder_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Head(nn.Module):
    """From the features of a cell to logits: LayerNorm, dropout, an affine map. The same for all strategies.

    Parameters
    ----------
    width
        Features.
    classes
        Logits.
    dropout
        Share of the features that training leaves out.
    """

    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.dropout, self.linear = nn.LayerNorm(width), Dropout(dropout), nn.Linear(width, classes)

    def forward(self, features: Tensor) -> Tensor:
        """(n, width) to (n, classes)."""
        result: Tensor = self.linear(self.dropout(self.norm(features)))
        return result


class ProbeHead(nn.Module):
    """The affine map of a probe on standardised features.

    Attributes
    ----------
    mean, deviation
        (width,) of the training cells.
    linear
        The map.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def forward(self, features: Tensor) -> Tensor:
        """(n, width) to (n, classes)."""
        result: Tensor = self.linear((features - self.mean) / self.deviation)
        return result


class Annotator(nn.Module):
    """A backbone and a head.

    Parameters
    ----------
    backbone
        Adapted or not.
    head
        From features to logits.
    """

    def __init__(self, backbone: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, batch: Batch) -> Tensor:
        """Logits, (n, classes)."""
        result: Tensor = self.head(self.features(batch))
        return result

    def features(self, batch: Batch) -> Tensor:
        """Vector of every cell, (n, width)."""
        return self.backbone.embed(batch.genes, batch.values, batch.mask)

    def own_state(self) -> dict[str, Tensor]:
        """All that is not the base: the head, and what the strategy trains or has drawn."""
        state = self.state_dict()
        base = {f"backbone.{name}" for name in self._frozen()}
        return {name: tensor for name, tensor in state.items() if name not in base}

    def _frozen(self) -> set[str]:
        """Names of the weights of the base that are not trained."""
        with torch.device("meta"):
            names = encoder_of(self.backbone.shape).state_dict().keys()
        trained = {name for name, one in self.backbone.named_parameters() if one.requires_grad}
        # a weight of the base keeps its name, or has that of the adapter around it in the middle
        return {
            name
            for name in self.backbone.state_dict()
            if name not in trained and name.replace(".base_layer.", ".").replace(".base.", ".") in names
        }


def build(
    shape: Shape,
    weights: Mapping[str, Tensor],
    *,
    classes: int,
    strategy: str,
    options: Mapping[str, object] | None,
    head_dropout: float,
    seed: int,
) -> Annotator:
    """A backbone with the weights of a base, adapted, and a fresh head.

    The seed is set before any module is built, and the head is drawn first: it begins the same for every strategy.
    """
    with torch.device("meta"):
        backbone = encoder_of(shape)
    backbone.load_state_dict({name: tensor.clone() for name, tensor in weights.items()}, assign=True)
    torch.manual_seed(seed)
    probing = strategy == "probe"
    head = ProbeHead(shape.width, classes) if probing else Head(shape.width, classes, head_dropout)
    strategies.adapt(backbone, strategy, options)
    return Annotator(backbone, head)


def sizes(model: Annotator) -> dict[str, int]:
    """Trained numbers of backbone and head, and all numbers."""
    backbone = sum(p.numel() for p in model.backbone.parameters() if p.requires_grad)
    head = sum(p.numel() for p in model.head.parameters() if p.requires_grad)
    return {"backbone": backbone, "head": head, "all": sum(p.numel() for p in model.parameters())}


@torch.inference_mode()
def features_of(model: Annotator, tokens: TokenTable, *, device: str, kind: str, budget: int) -> "NDArray[np.float32]":
    """Vectors of cells, float32 (n, width), without dropout; batches halve where memory runs out."""
    model.eval()
    found = np.empty((len(tokens), model.backbone.shape.width), dtype=np.float32)

    def compute(rows: "NDArray[np.int64]") -> None:
        with precision(kind, device):
            found[rows] = model.features(tokens.packed(rows, device)).float().cpu().numpy()

    for rows in pieces(tokens.lengths(), budget):
        halving(compute, rows)
    return found


def halving(compute: "Callable[[NDArray[np.int64]], None]", rows: "NDArray[np.int64]") -> None:
    """Call a function on rows, and on halves of them where memory runs out."""
    try:
        compute(rows)
    except RuntimeError as error:
        if len(rows) == 1 or not is_out_of_memory(error):
            raise
    else:
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(rows) // 2
    halving(compute, rows[:half])
    halving(compute, rows[half:])


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out, on a GPU or on a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@torch.inference_mode()
def logits_of(model: Annotator, features: "NDArray[np.float32]", device: str) -> "NDArray[np.float32]":
    """Logits of features, float32 (n, classes)."""
    model.eval()
    result: NDArray[np.float32] = model.head(torch.from_numpy(features).to(device)).float().cpu().numpy()
    return result


def probabilities(logits: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Softmax in double precision, (n, classes)."""
    result: NDArray[np.float64] = functional.softmax(torch.from_numpy(logits).double(), dim=1).numpy()
    return result


def parts(n: int, size: int = 16384) -> "Iterator[NDArray[np.int64]]":
    """Consecutive places, `size` at a time: what is predicted of them is in memory at once."""
    for start in range(0, n, size):
        yield np.arange(start, min(start + size, n))
