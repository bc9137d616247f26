"""Penalties on the slope of a discriminator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vaefast.models.images import full_precision
from vaefast.models.inner_gradients import in_float16, without_float16
from vaefast.nets.global_batch import own_rows

EPS = 1e-4
"""Under the root of a slope."""

Judge = Callable[[Tensor], Tensor]
"""Images [B, ...] -> what is said of each, [B]."""


def squared_slopes(judge: Judge, x: Tensor) -> Tensor:
    """Squared norm, over everything but the batch, of the gradient of judge(x) with respect to each x; [B], with gradient."""
    x = full_precision(x) if in_float16(x.device) else x
    with torch.enable_grad(), without_float16(x.device):
        x = x.detach().requires_grad_()
        # the sum's gradient is each one's own, but for batch norm, which lets every x speak for all
        (gradient,) = torch.autograd.grad(judge(x).sum(), x, create_graph=True)
    return full_precision(gradient).flatten(1).square().sum(1)


def _from_one(squared: Tensor) -> Tensor:
    return (torch.sqrt(EPS + squared) - 1).square().mean()


def _half_mean(squared: Tensor) -> Tensor:
    return 0.5 * squared.mean()


def _uniform(x: Tensor) -> Tensor:
    """U[0, 1) for each entry of x."""
    return own_rows(x, lambda shape: torch.rand(shape, dtype=x.dtype, device=x.device))


def _share(x: Tensor) -> Tensor:
    """U[0, 1) for each example of x, to be multiplied with it."""
    return _uniform(x.flatten(1)[:, :1]).view(-1, *[1] * (x.ndim - 1))


def _between(real: Tensor, fake: Tensor, low: float, high: float) -> Tensor:
    return torch.lerp(real, fake, _share(real))


def _towards_noise(real: Tensor, fake: Tensor, low: float, high: float) -> Tensor:
    noise = 0.5 * real.std(correction=0) * _uniform(real)
    return real + _share(real) * noise


def _around(real: Tensor, fake: Tensor, low: float, high: float) -> Tensor:
    return (real + real.std(correction=0) * (_uniform(real) - 0.5)).clamp(low, high)


def _at_real(real: Tensor, fake: Tensor, low: float, high: float) -> Tensor:
    return real


@dataclass(frozen=True)
class Penalty:
    """Where the slope is taken, what of it is penalised, and whether it is that of the probability, not the logit."""

    points: Callable[[Tensor, Tensor, float, float], Tensor]
    cost: Callable[[Tensor], Tensor] = _from_one
    of_probability: bool = False


PenaltyName = Literal["none", "gp", "dragan", "dragan-v3", "r1"]
PENALTIES: dict[str, Penalty | None] = {
    "none": None,
    "gp": Penalty(_between),
    "dragan": Penalty(_towards_noise, of_probability=True),
    "dragan-v3": Penalty(_around),
    "r1": Penalty(_at_real, _half_mean),
}
"""By name. With slope = sqrt(1e-4 + squared norm of the gradient):

- gp: mean (slope - 1)^2 on the way from a real image to a fake, at a uniform share of it (Gulrajani et al. 2017).
- dragan: the same between a real image x and x + 0.5 std(batch) U[0, 1), of the *probability* (Kodali et al. 2017, as in Lucic
  et al.'s first code); dragan-v3: at x + std(batch) U[-1/2, 1/2), clipped to the image range, of the logit (as in their later).
- r1: half the mean squared slope at real images, without the 1e-4 (Mescheder et al. 2018).
"""


def gradient_penalty(name: str, judge: Judge, real: Tensor, fake: Tensor,
                     image_range: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """The penalty called `name`, of `PENALTIES` but "none", of logits judge(x) [B]; a scalar with gradient to judge's weights.

    Args:
        judge: must be twice differentiable, which no compiled module is.
        real, fake: images [B, ...] in `image_range`; they get no gradient.
    """
    kind = PENALTIES[name]
    assert kind is not None
    points = kind.points(real.detach(), fake.detach(), *image_range)
    return kind.cost(squared_slopes((lambda x: torch.sigmoid(judge(x))) if kind.of_probability else judge, points))
