"""What the discriminator and the generator of each GAN minimise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """A GAN's two losses, as functions of what the discriminator says of real images, a [B], and of fakes, b [B].

    Args:
        discriminator: (a, b) -> what it minimises, a scalar.
        generator: b -> what it minimises, a scalar.
        boundary: where a discriminator that says more takes an image for real; None where its zero has no meaning.
        penalty: the gradient penalty that belongs to it.
        same_z: whether the generator's update takes the codes of the discriminator's.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    boundary: float | None = 0.0
    penalty: str = "none"
    same_z: bool = True


def _cross_entropy(a: Tensor, b: Tensor) -> Tensor:
    return F.softplus(-a).mean() + F.softplus(b).mean()


def _non_saturating(b: Tensor) -> Tensor:
    return F.softplus(-b).mean()


def _least_squares(a: Tensor, b: Tensor) -> Tensor:
    return 0.5 * ((torch.sigmoid(a) - 1).square().mean() + torch.sigmoid(b).square().mean())


def _difference(a: Tensor, b: Tensor) -> Tensor:
    return b.mean() - a.mean()


def _minus_mean(b: Tensor) -> Tensor:
    return -b.mean()


def _saturating(b: Tensor) -> Tensor:
    return -F.softplus(b).mean()


def _squared_from_one(b: Tensor) -> Tensor:
    return 0.5 * (torch.sigmoid(b) - 1).square().mean()


def _errors_apart(a: Tensor, b: Tensor) -> Tensor:
    return a.mean() - b.mean()


def _mean(b: Tensor) -> Tensor:
    return b.mean()


def _hinge(a: Tensor, b: Tensor) -> Tensor:
    return F.relu(1 - a).mean() + F.relu(1 + b).mean()


# of named functions, as a model that keeps one can then be pickled
LossName = Literal["mm", "ns", "lsgan", "wgan", "wgan-gp", "dragan", "began", "hinge"]
LOSSES = {
    "mm": Loss(_cross_entropy, _saturating),
    "ns": Loss(_cross_entropy, _non_saturating),
    "lsgan": Loss(_least_squares, _squared_from_one),
    "wgan": Loss(_difference, _minus_mean, boundary=None),
    "wgan-gp": Loss(_difference, _minus_mean, boundary=None, penalty="gp", same_z=False),
    "dragan": Loss(_cross_entropy, _non_saturating, penalty="dragan"),
    "began": Loss(_errors_apart, _mean, boundary=None),
    "hinge": Loss(_hinge, _minus_mean),
}
"""By name: minimax, non-saturating, least squares (of probabilities), Wasserstein (whose critic's weights are to be clipped:
`PlayerSettings.weight_clip`), the same with gradient penalty, DRAGAN, BEGAN, hinge.

The discriminator says logits; BEGAN's is an autoencoder, and a and b are its reconstruction errors (b times k_t for the
discriminator). Source: Lucic et al. 2018, table 1, with constants as in their compare_gan code; hinge: Lim & Ye 2017.
"""
