"""Exponential moving average of a player's weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vaefast.torch_private import copy_all, lerp_all


class WeightAverage:
    """avg += (1 - d) (weights - avg) after every step.

    Without `start`, d = min(decay, (1 + t) / (10 + t)), so that it warms up, and buffers (batch-norm statistics, spectral-norm
    iterates) are the live ones whenever the average is used. With it, d is 0 for the first `start` steps and `decay` from then
    on, and `buffers` are averaged, too.

    Source of the latter: Brock et al. 2019, appendix C, and its PyTorch code.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float, *, start: int | None = None,
                 buffers: dict[str, Tensor] | None = None) -> None:
        self.decay, self.start = decay, start
        state: dict[str, Tensor] = {**parameters, **({} if start is None else buffers or {})}
        self.names, self.live = list(state), list(state.values())
        self.average = [p.detach().clone() for p in self.live]
        device = self.live[0].device
        # on a GPU the step is captured, and reads its share from the device
        self._share = torch.zeros((), device=device) if device.type == "cuda" else None
        self._value = 0.0

    def set_step(self, step: int) -> None:
        """Say which step (counted from 0) the next update belongs to."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.start is None else self.decay if step >= self.start else 0.0
        value = 1 - decay
        if self._share is not None and value != self._value:
            self._share.fill_(value)
        self._value = value

    @torch.no_grad()
    def update(self, skip: Tensor | None = None) -> None:
        """Take in the weights; not where `skip` is 1: there was no step."""
        share = self._value if self._share is None else self._share
        lerp_all(self.average, self.live, share if skip is None else share * (1.0 - skip))

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


def buffers_of(module: nn.Module, parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """Floating buffers that a state dict keeps, of those parts of the module all of whose trainable parameters are among
    these, by name. The names begin with "buffers."."""
    own, state = set(map(id, parameters)), module.state_dict(keep_vars=True)
    kept = {id(t): name for name, t in state.items() if t.is_floating_point() and not isinstance(t, nn.Parameter)}

    def within(part: nn.Module) -> Iterator[Tensor]:
        trained = {id(p) for p in part.parameters() if p.requires_grad}
        if trained and trained <= own:
            yield from part.buffers()
        else:
            for child in part.children():
                yield from within(child)

    return {f"buffers.{kept[id(t)]}": t for t in within(module) if id(t) in kept}
