"""The optimiser of the networks."""

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw


class AdamW:
    """PyTorch's fused AdamW with its default betas, through its functional form.

    The first call of the class torch.optim.AdamW imports the compiler: 0.7 s of every short fit.
    """

    def __init__(self, network: nn.Module, weight_decay: float) -> None:
        self.parameters: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
        self.weight_decay = weight_decay
        self.mean = [torch.zeros_like(p) for p in self.parameters]
        self.square = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    def gradients(self) -> list[Tensor]:
        """Gradients of the last backward pass."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if len(gradients) != len(self.parameters):
            raise ValueError("every trainable parameter needs a gradient")
        return gradients

    @torch.no_grad()
    def step(self, learning_rate: float, clip: float | None = None) -> None:
        """One step; `clip` is the largest norm of all gradients together.

        Clipping divides by max(norm / clip, 1) within the step, which saves a pass over all gradients.
        """
        gradients = self.gradients()
        scale = None
        if clip is not None:
            norms = torch._foreach_norm(gradients)
            scale = (torch.linalg.vector_norm(torch.stack(norms)) / clip).clamp_min(1)
        adamw(
            self.parameters,
            gradients,
            self.mean,
            self.square,
            [],
            self.steps,
            fused=True,
            grad_scale=scale,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """Tensors of the state by name."""
        named = {"mean": self.mean, "square": self.square, "steps": self.steps}
        return {f"{name}.{i}": tensor for name, tensors in named.items() for i, tensor in enumerate(tensors)}
