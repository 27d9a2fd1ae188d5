"""The module of every kind of encoder, and that of a stored checkpoint with its weights."""

from typing import TYPE_CHECKING

from annobench.data.checkpoints.spec import BertShape, ScgptShape, Shape
from annobench.methods.transformer.backbone import Backbone, Encoder
from annobench.methods.transformer.bert import Bert

if TYPE_CHECKING:
    from annobench.data.checkpoints.stored import StoredCheckpoint


def encoder_of(shape: Shape) -> Encoder:
    """An encoder of a shape, with fresh weights."""
    if isinstance(shape, BertShape):
        return Bert(shape)
    assert isinstance(shape, ScgptShape)
    return Backbone(shape)


def load_backbone(checkpoint: "StoredCheckpoint") -> Encoder:
    """The encoder in evaluation mode; every weight is set, and none is left over."""
    import torch

    backbone = encoder_of(checkpoint.shape)
    state = {name: torch.from_numpy(values) for name, values in checkpoint.weights().items()}
    backbone.load_state_dict(state, strict=True)
    return backbone.eval()
