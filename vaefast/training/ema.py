"""Exponential moving average of a model's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """avg += (1 - d) (weights - avg) after every step, with d = min(decay, (1 + t) / (10 + t)) so that it warms up.

    Floating-point buffers (batch-norm statistics, spectral-norm iterates) are copied at the end, not averaged.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.names = [name for name, p in model.named_parameters() if p.requires_grad]
        self.live = [p for p in model.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step` (counted from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, self.live, 1 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Replace the model's weights by their average."""
        torch._foreach_copy_(self.live, self.average)

    def state(self) -> dict[str, Tensor]:
        """The average by parameter name."""
        return dict(zip(self.names, self.average))

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Put a saved average back."""
        for name, tensor in zip(self.names, self.average):
            tensor.copy_(state[name])
