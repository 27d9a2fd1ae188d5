"""The encoder of a stored checkpoint, with its weights."""

from typing import TYPE_CHECKING

from annobench.methods.scgpt.backbone import Backbone, BackboneShape

if TYPE_CHECKING:
    from annobench.data.checkpoints.stored import StoredCheckpoint


def load_backbone(checkpoint: "StoredCheckpoint") -> Backbone:
    """The encoder in evaluation mode; every weight is set, and none is left over."""
    import torch

    backbone = Backbone(BackboneShape(**vars(checkpoint.shape)))
    state = {name: torch.from_numpy(values) for name, values in checkpoint.weights().items()}
    backbone.load_state_dict(state, strict=True)
    return backbone.eval()
