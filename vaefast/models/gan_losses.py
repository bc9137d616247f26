"""The GAN losses: what discriminator and generator minimise, what the discriminator says, and what each is trained with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vaefast.errors import ArgumentError


@dataclass(frozen=True)
class Authors:
    """What a loss is trained with where the user says nothing.

    Args:
        lr, beta1: of Adam, for both networks; beta2 is 0.999 and the learning rate constant.
        disc_iters: discriminator steps a generator step.
        batch_norm: in the discriminator.
        weight_clip: largest absolute value of a discriminator's weight.
    """

    lr: float
    beta1: float
    disc_iters: int = 1
    batch_norm: bool = True
    weight_clip: float | None = None


def logits(said: Tensor, x: Tensor) -> Tensor:
    """The scores of images x [B, ...] for which a discriminator says a logit each, [B, 1] or [B]; [B]."""
    if said.shape not in ((len(x), 1), (len(x),)):
        raise ArgumentError(f"the discriminator returned shape {list(said.shape)} for {len(x)} images; expected {[len(x), 1]}.")
    return said.flatten()


def reconstruction_errors(said: Tensor, x: Tensor) -> Tensor:
    """The scores of images x [B, ...] that a discriminator reconstructs: mean absolute errors, [B]."""
    if said.shape != x.shape:
        raise ArgumentError(f"the discriminator returned shape {list(said.shape)} for images of shape {list(x.shape)}; "
                            "BEGAN's returns their reconstructions.")
    return (said - x).abs().flatten(1).mean(1)


@dataclass(frozen=True)
class Loss:
    """A GAN's two losses, as functions of the scores of real images, a [B], and of fakes, b [B].

    Args:
        discriminator: (a, b) -> what it minimises, a scalar.
        generator: b -> what it minimises, a scalar; (a, b) -> it, where `paired`.
        authors: what it is trained with where the user says nothing.
        paired: whether the generator's loss needs the scores of real images, too, as relativistic ones do.
        scores: (what the discriminator says, the images) -> their scores: `logits` or `reconstruction_errors`.
        boundary: where a discriminator that says more takes an image for real; None where its zero has no meaning.
        penalty: the gradient penalty that belongs to it.
        same_z: whether the generator's update takes the codes of the discriminator's.
        balanced: whether fakes weigh k_t in the discriminator's loss, which keeps the two errors in a ratio.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[..., Tensor]
    authors: Authors
    paired: bool = False
    scores: Callable[[Tensor, Tensor], Tensor] = logits
    boundary: float | None = 0.0
    penalty: str = "none"
    same_z: bool = True
    balanced: bool = False

    @property
    def reconstructs(self) -> bool:
        """Whether its discriminator is an autoencoder, and says no logits."""
        return self.scores is reconstruction_errors


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


def _more_real(a: Tensor, b: Tensor) -> Tensor:
    return F.softplus(b - a).mean()


def _less_real(a: Tensor, b: Tensor) -> Tensor:
    return F.softplus(a - b).mean()


# of named functions, as a model that keeps one can then be pickled
LossName = Literal["mm", "ns", "lsgan", "wgan", "wgan-gp", "dragan", "began", "hinge", "relativistic"]
LOSSES = {
    "mm": Loss(_cross_entropy, _saturating, Authors(5e-5, 0.0)),
    "ns": Loss(_cross_entropy, _non_saturating, Authors(5e-5, 0.0)),
    "lsgan": Loss(_least_squares, _squared_from_one, Authors(2e-4, 0.5)),
    "wgan": Loss(_difference, _minus_mean, Authors(5e-5, 0.5, disc_iters=5, weight_clip=0.01), boundary=None),
    "wgan-gp": Loss(_difference, _minus_mean, Authors(1e-4, 0.5, disc_iters=5, batch_norm=False), boundary=None, penalty="gp",
                    same_z=False),
    "dragan": Loss(_cross_entropy, _non_saturating, Authors(1e-4, 0.5), penalty="dragan"),
    "began": Loss(_errors_apart, _mean, Authors(1e-4, 0.5, disc_iters=5, batch_norm=False), scores=reconstruction_errors,
                  boundary=None, balanced=True),
    "hinge": Loss(_hinge, _minus_mean, Authors(2e-4, 0.5)),
    "relativistic": Loss(_more_real, _less_real, Authors(2e-4, 0.5), paired=True, boundary=None),
}
"""By name: minimax, non-saturating, least squares (of probabilities), Wasserstein (whose critic's weights are to be clipped:
`PlayerSettings.weight_clip`), the same with gradient penalty, DRAGAN, BEGAN, hinge, relativistic (a real image against a fake).

Source: Lucic et al. 2018, table 1, with constants and authors' settings as in their compare_gan code; hinge: Lim & Ye 2017, with
LSGAN's settings; relativistic: Jolicoeur-Martineau 2019, "The relativistic discriminator", section 4.2 (RSGAN).
"""
