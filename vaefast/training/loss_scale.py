"""The factor of a loss whose gradients are computed in float16, where small ones would be 0 without it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from vaefast.torch_private import unscale_all

FIRST = 2.0**16
"""Scale of the first step."""
LEAST = 2.0**-16
"""A gradient that is not finite at this scale is not so for want of range."""
GROWTH_INTERVAL = 2_000
"""Steps in a row with finite gradients after which the scale is doubled."""


class LossScaler:
    """A dynamic loss scale: halved where a gradient is not finite, doubled after `growth_interval` steps in a row without such.

    `scale`, `good_steps` and `overflowed`, scalars on the device, are changed there: a captured step does so in every replay, and
    the host waits for nothing. `overflowed` is 1 where a gradient that a loss takes of itself was not finite.

    Source: Micikevicius et al. 2018, "Mixed Precision Training", section 3.2; the numbers are those of `torch.amp.GradScaler`.
    """

    def __init__(self, device: torch.device, growth_interval: int = GROWTH_INTERVAL) -> None:
        self.growth_interval = growth_interval
        self.scale = torch.full((), FIRST, device=device)
        self.good_steps = torch.zeros((), dtype=torch.int32, device=device)
        self.overflowed = torch.zeros((), device=device)

    def unscale(self, parameters: Iterable[Tensor]) -> Tensor:
        """Divide the parameters' gradients by the scale, in place; 1.0 if one of them, or of the loss itself, is not finite,
        else 0.0, a scalar."""
        found_inf = self.overflowed.clone()
        self.overflowed.zero_()
        unscale_all([p.grad for p in parameters if p.grad is not None], self.scale.reciprocal(), found_inf)
        return found_inf

    def update(self, found_inf: Tensor) -> None:
        """Take the scale of the next step from what `unscale` found in this one."""
        good_steps = torch.where(found_inf > 0, 0, self.good_steps + 1)
        grows = good_steps >= self.growth_interval
        self.good_steps.copy_(torch.where(grows, 0, good_steps))
        grown = torch.where(grows & torch.isfinite(2.0 * self.scale), 2.0, 1.0)
        self.scale.mul_(torch.where(found_inf > 0, 0.5, grown))

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs."""
        return {"scale": self.scale, "good_steps": self.good_steps}

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave; nothing, of a checkpoint from before there was a scale, leaves it as it is."""
        for name, tensor in self.state().items():
            if name in state:
                tensor.copy_(state[name])
