"""Type of the context that PyTorch passes to `forward` and `backward` of a custom function."""

from torch import Tensor
from torch.autograd.function import FunctionCtx


class Saved(FunctionCtx):
    """What `forward` leaves for `backward`; a function that leaves more than tensors annotates a subclass."""

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]
