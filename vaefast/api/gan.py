"""`vaefast.GAN`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vaefast import models
from vaefast.api.base import Part
from vaefast.api.images import ImageModel
from vaefast.api.reading import Images, conditions_of, source_of
from vaefast.errors import ArgumentError
from vaefast.models.condition import as_classes
from vaefast.models.doors import no_loss
from vaefast.models.gan import Codes, Order
from vaefast.models.gan_losses import LOSSES, Authors, LossName
from vaefast.models.gradient_penalty import PenaltyName
from vaefast.models.images import clipped
from vaefast.models.mode import evaluating
from vaefast.nets import BEGANDiscriminator, InfoGANDiscriminator, InfoGANGenerator
from vaefast.nets.own import own_network
from vaefast.nets.shapes import checked_image_shape, whole_number
from vaefast.training.settings import PlayerSettings, StageSettings

STEPS = 15_625
"""Discriminator steps on MNIST and Fashion-MNIST: 20 epochs, counted as 50,000 images, in batches of 64."""


AUTHORS = {name: loss.authors for name, loss in LOSSES.items()}
"""What each loss is trained with where the user says nothing."""


class Adversarial(ImageModel):
    """A model of images whose one stage is the module `first`, a `vaefast.models.GAN`; it has no encoder.

    Everything but training (decode, sample) runs in eval mode, whatever mode the module is in.
    """

    first: models.GAN
    networks: ClassVar[tuple[str, ...]] = ("generator", "discriminator")

    def __init__(self, first: models.GAN) -> None:
        super().__init__()
        self.first = first

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of one image."""
        return self.first.image_shape

    @property
    def latent_dim(self) -> int:
        """Dimensions k of a code z."""
        return self.first.latent_dim

    @property
    def classes(self) -> int:
        """Of the labels that it knows; 0: none."""
        return self.first.classes or 0

    def _labelled(self, data: Any, condition: Any) -> Any:
        if not self.classes:
            raise ArgumentError("condition is given, but this model knows no classes: build it with classes=N.")
        return super()._labelled(data, condition)

    def _accept(self, data: Any) -> tuple[Any, dict[str, Any]]:
        images, described = super()._accept(data)
        conditions_of(self.first, images)
        return images, described

    def _parts(self, data: Images, device: torch.device) -> list[Part]:
        source = source_of(data, device, condition=conditions_of(self.first, data))
        return [("stage1", self.first, lambda: source)]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Not one: there is a loss for each of the players."""
        raise no_loss(self, "model.first.discriminator_loss(images) and model.first.generator_loss(images), the losses of its "
                      "two players")

    def sample_codes(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n codes z, [n, k], as in training."""
        return self.first.prior(n, generator)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [B, C, H, W] of codes [B, k], clipped to [0, 1]; of labels [B], or of the classes in turn, if the model has
        classes."""
        with evaluating(self.first):
            return clipped(self.first.decode(z, labels), self.first.generator)

    def sample(self, n: int, generator: torch.Generator | None = None, *, condition: Any = None) -> Tensor:
        """n images, [n, C, H, W] in [0, 1]; of classes where `condition` says so (one for all, or n of them), else of the classes
        in turn, if the model has classes."""
        return self.decode(self.sample_codes(n, generator), as_classes(condition, n, self.classes, self.device))


class GAN(Adversarial):
    """A generative adversarial network of images: `fit`, `sample`, `decode`, `save`.

    >>> model = vaefast.GAN(image_shape=(1, 28, 28), loss="wgan-gp")
    >>> history = model.fit(images, steps=15_625, out="runs/mnist")
    >>> x = model.sample(64)                     # float [64, 1, 28, 28] in [0, 1]

    Steps are the discriminator's, as in the source.

    Args:
        image_shape: (channels, height, width).
        loss: of `vaefast.models.gan_losses.LOSSES`: mm, ns, lsgan, wgan, wgan-gp, dragan, began, hinge or relativistic. It brings
            its authors' settings: learning rate and beta1, and what is None below.
        latent_dim: dimensions of the code z.
        nets: "infogan", those of the source; or give both `generator` and `discriminator`.
        generator: any module code -> image or logits, discriminator: any module image -> logit [B, 1] (see `vaefast.models.GAN`).
        classes: number of classes, if both networks are to be conditioned on the data's labels (0 to classes - 1): those of
            `nets` by a gain and bias of each class in the generator's batch norms and a projection in the discriminator; your own
            are called with labels [B], too. Not for "began".
        penalty, lambda_: a gradient penalty (none, gp, dragan, dragan-v3, r1) and its weight.
        disc_iters: discriminator steps a generator step.
        batch_norm, spectral_norm: in the discriminator of `nets`.
        weight_penalty, order, same_z, z, image_range, began_lambda, began_gamma, began_clip: see
            `vaefast.models.GAN`.
        weight_clip: largest absolute value of the discriminator's weights, after each of its steps.

    Raises:
        ArgumentError: a value that cannot work.

    `model.first` is the plain module, a `vaefast.models.GAN`. Source: Lucic et al. 2018, "Are GANs Created Equal?".
    """

    kind = "gan"
    defaults = (StageSettings(steps=STEPS),)

    def __init__(self, image_shape: tuple[int, int, int], loss: LossName = "ns", latent_dim: int = 64, *,
                 nets: Literal["infogan"] = "infogan", generator: nn.Module | None = None, discriminator: nn.Module | None = None,
                 classes: int | None = None, penalty: PenaltyName | None = None, lambda_: float = models.gan.PENALTY_WEIGHT,
                 disc_iters: int | None = None, batch_norm: bool | None = None,
                 spectral_norm: bool = False, weight_penalty: float = 0.0, weight_clip: float | None = None, order: Order = "dg",
                 same_z: bool | None = None, z: Codes = "uniform", image_range: tuple[float, float] | None = None,
                 began_lambda: float = 1e-3, began_gamma: float = 0.75, began_clip: bool = False) -> None:
        image_shape, latent_dim = checked_image_shape(image_shape), whole_number("latent_dim", latent_dim)
        if loss not in LOSSES:
            raise ArgumentError(f"loss is {loss!r}; expected one of {', '.join(LOSSES)}.")
        authors = AUTHORS[loss]
        if (generator is None) != (discriminator is None):
            raise ArgumentError("generator and discriminator go together: give both, or neither for the networks named by nets.")
        if generator is None and nets != "infogan":
            raise ArgumentError(f"nets is {nets!r}; expected 'infogan', or a generator and a discriminator.")
        if generator is not None and (batch_norm is not None or spectral_norm):
            raise ArgumentError("batch_norm and spectral_norm are of the discriminator of nets; yours is as you built it.")
        if generator is not None and discriminator is not None:
            generator, discriminator = own_network("generator", generator), own_network("discriminator", discriminator)
        clip = authors.weight_clip if weight_clip is None else weight_clip
        if generator is None or discriminator is None:
            norm = authors.batch_norm if batch_norm is None else batch_norm
            generator = InfoGANGenerator(image_shape, latent_dim, classes=classes)
            discriminator = _discriminator(image_shape, loss, norm, spectral_norm, classes)
        super().__init__(models.GAN(
            generator, discriminator, image_shape=image_shape, latent_dim=latent_dim, classes=classes, loss=loss, penalty=penalty,
            lambda_=lambda_, weight_penalty=weight_penalty,
            disc_iters=authors.disc_iters if disc_iters is None else disc_iters, order=order, same_z=same_z, z=z,
            image_range=image_range, began_lambda=began_lambda, began_gamma=began_gamma, began_clip=began_clip))
        self.defaults = (settings_of(authors, clip),)
        self._clip = clip

    def _settings(self, settings: StageSettings | Sequence[StageSettings] | None,
                  overrides: dict[str, Any]) -> list[StageSettings]:
        (stage,) = super()._settings(settings, overrides)
        discriminator = stage.of("discriminator")
        if self._clip is None or discriminator.weight_clip is not None:
            return [stage]
        own = {f.name: getattr(discriminator, f.name) for f in fields(PlayerSettings)} | {"weight_clip": self._clip}
        return [replace(stage, players={**stage.players, "discriminator": PlayerSettings(**own)})]


def settings_of(authors: Authors, weight_clip: float | None) -> StageSettings:
    """The stage of a GAN: both players alike, but for the discriminator's weights, which may be clipped."""
    common: dict[str, Any] = {"lr": authors.lr, "betas": (authors.beta1, 0.999), "schedule": "constant"}
    clipped = {"discriminator": PlayerSettings(**common, weight_clip=weight_clip)} if weight_clip is not None else {}
    return StageSettings(steps=STEPS, **common, players=clipped)


def _discriminator(image_shape: tuple[int, int, int], loss: str, batch_norm: bool, spectral_norm: bool,
                   classes: int | None) -> nn.Module:
    if not LOSSES[loss].reconstructs:
        return InfoGANDiscriminator(image_shape, batch_norm=batch_norm, spectral_norm=spectral_norm, classes=classes)
    if spectral_norm:
        raise ArgumentError("spectral_norm is True; BEGAN's discriminator, an autoencoder, has none.")
    return BEGANDiscriminator(image_shape, batch_norm=batch_norm)
