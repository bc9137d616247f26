"""An adversarial term on the reconstructions of any autoencoder: a discriminator of images beside it, as a second player.

Both players step from one forward pass. The autoencoder's turn comes first: its loss takes the discriminator as it is, gives it
no gradient, and leaves the reconstruction here; the discriminator's turn judges that same reconstruction, detached. Neither's
step has any effect on the other's gradient, as if both were taken at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from vaefast.errors import ArgumentError
from vaefast.models.images import as_float, full_precision
from vaefast.models.player import Parts, Player, trainable
from vaefast.models.weighted_term import TermWeight, WeightedTerm

SHARE = 0.8
"""Of the reconstruction's gradient, where the weight is adaptive; as in Esser et al.'s code."""


class ImageAdversary(WeightedTerm):
    """A discriminator of images, and what it adds to an autoencoder's loss.

    Args:
        discriminator: module, images [B, C, H, W] in [-1, 1] -> logits of any shape [B, ...], above 0 for "real", such as
            `vaefast.nets.PatchGAN(channels)`. It sees real images and reconstructions in passes of their own, so that batch norm
            in it takes away much of what tells them apart.
        weight: of the autoencoder's term, above 0; the discriminator's loss is multiplied by this first value, too, as in the
            source. Or "adaptive": as much gradient as 0.8 of the reconstruction's (see `WeightedTerm`), and 1 for the
            discriminator's.

    Raises:
        ArgumentError: a weight that cannot work.

    Source: Rivera 2023, "How to train your VAE", and its released code; non-saturating loss of Goodfellow et al. 2014.
    """

    def __init__(self, discriminator: nn.Module, weight: TermWeight = 100.0) -> None:
        super().__init__("adversarial_weight", weight, SHARE, "adversary=None")
        self.discriminator, self._scale = discriminator, 1.0 if self.adaptive else float(weight)
        self._parts = 0  # how many reconstructions to keep
        self._kept: list[Tensor] = []

    def players(self, autoencoder: Player, loss: Callable[..., dict[str, Tensor]]) -> list[Player]:
        """The autoencoder's turn and then the discriminator's, on the same images and reconstructions.

        Args:
            autoencoder: its player; the discriminator's parameters are not among its own.
            loss: images -> terms of the discriminator's loss, by `self.loss`.
        """
        around = autoencoder.around

        @contextmanager
        def keeping(parts: Parts) -> Iterator[None]:
            with self.keeping(len(parts)), around(parts) if around else nullcontext():
                yield

        return [replace(autoencoder, around=keeping),
                Player("discriminator", trainable(self.discriminator), loss, new_batch=False)]

    @contextmanager
    def keeping(self, parts: int = 1) -> Iterator[None]:
        """Inside, `term` keeps the next `parts` reconstructions, for as many calls of `loss` afterwards.

        In a training loop of your own, have the autoencoder's loss inside and the discriminator's after it; without, the
        discriminator's loss makes reconstructions of its own.
        """
        self._parts = parts
        self._kept.clear()
        try:
            yield
        finally:
            self._parts = 0

    def term(self, images: Tensor) -> Tensor:
        """mean softplus(-D(images)): how well reconstructions [B, C, H, W] in [0, 1] pass for real ones.

        The images get a gradient and the discriminator none; its moving statistics stay, too.
        """
        self._keep(images.detach())
        network = self.discriminator
        frozen: dict[str, Tensor] = {name: p.detach() for name, p in network.named_parameters()}
        frozen |= {name: b.clone() for name, b in network.named_buffers()}
        return F.softplus(-full_precision(functional_call(network, frozen, (2 * images - 1,)))).mean()

    def loss(self, x: Tensor, reconstruct: Callable[[], Tensor]) -> dict[str, Tensor]:
        """Terms of the discriminator's loss of a batch [B, C, H, W], images uint8 or in [0, 1].

        Args:
            x: the images that the autoencoder's turn was given.
            reconstruct: makes reconstructions in [0, 1] where none were kept.

        Returns:
            Scalars `loss` = weight (mean softplus(-D(x)) + mean softplus(D(x_hat))) and, detached, `accuracy`: the share of
            logits that tell right.
        """
        fake = self._taken()
        if fake is None:
            with torch.no_grad():
                fake = reconstruct()
        real = full_precision(self.discriminator(2 * as_float(x, fake.dtype) - 1))
        false = full_precision(self.discriminator(2 * fake - 1))
        loss = self._scale * (F.softplus(-real).mean() + F.softplus(false).mean())
        with torch.no_grad():
            accuracy = 0.5 * ((real > 0).to(loss.dtype).mean() + (false < 0).to(loss.dtype).mean())
        return {"loss": loss, "accuracy": accuracy}

    # Reconstructions on their way from one player's turn to the other's.

    def _keep(self, images: Tensor) -> None:
        if len(self._kept) < self._parts:
            self._kept.append(images)

    def _taken(self) -> Tensor | None:
        return self._kept.pop(0) if self._kept else None


def as_adversary(adversary: Any, weight: TermWeight) -> ImageAdversary | None:
    """`adversary` as a part of a model: None, an `ImageAdversary`, or a discriminator to make one of."""
    if adversary is None or isinstance(adversary, ImageAdversary):
        return adversary
    if not isinstance(adversary, nn.Module):
        raise ArgumentError(f"adversary is of type {type(adversary).__name__}; expected a module, images in [-1, 1] -> logits, "
                            "such as vaefast.nets.PatchGAN(channels).")
    return ImageAdversary(adversary, weight)
