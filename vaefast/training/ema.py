"""Exponential moving average of a player's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vaefast.torch_private import copy_all, lerp_all


class WeightAverage:
    """avg += (1 - d) (weights - avg) after every step, with d = min(decay, (1 + t) / (10 + t)) so that it warms up.

    Buffers (batch-norm statistics, spectral-norm iterates) are the live ones whenever the average is used.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.names = list(parameters)
        self.live: list[Tensor] = list(parameters.values())
        self.average = [p.detach().clone() for p in self.live]
        device = self.live[0].device
        # on a GPU the step is captured, and reads its share from the device
        self._share = torch.zeros((), device=device) if device.type == "cuda" else None
        self._value = 0.0

    def set_step(self, step: int) -> None:
        """Say which step (counted from 0) the next update belongs to."""
        value = 1 - min(self.decay, (1 + step) / (10 + step))
        if self._share is not None and value != self._value:
            self._share.fill_(value)
        self._value = value

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights."""
        lerp_all(self.average, self.live, self._value if self._share is None else self._share)

    @torch.no_grad()
    def apply(self) -> None:
        """Replace the model's weights by their average."""
        copy_all(self.live, self.average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The average in the model's place inside, the weights again afterwards."""
        weights = [p.detach().clone() for p in self.live]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                copy_all(self.live, weights)

    def state(self) -> dict[str, Tensor]:
        """The average by parameter name."""
        return dict(zip(self.names, self.average))

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Put a saved average back."""
        for name, tensor in zip(self.names, self.average):
            tensor.copy_(state[name])
