"""`vaefast.BigGAN` and `vaefast.BigGANVAE`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vaefast import models
from vaefast.api.adversary import AdversaryName, image_adversary
from vaefast.api.gan import Adversarial
from vaefast.api.images import OneStage
from vaefast.models.condition import as_classes
from vaefast.models.gan import Order
from vaefast.models.gan_losses import LossName
from vaefast.models.gradient_penalty import PenaltyName
from vaefast.nets import BigGANDiscriminator, BigGANEncoder, BigGANGenerator
from vaefast.nets.biggan.discriminator import EncoderRule
from vaefast.nets.biggan.options import check_choice
from vaefast.nets.biggan.parts import Activation, Init
from vaefast.nets.biggan.plan import ARCHS, Arch, Rule
from vaefast.nets.shapes import checked_image_shape, whole_number
from vaefast.training.settings import PlayerSettings, StageSettings

CLIP_VALUE = 0.1
"""Largest element of a gradient in Hinrichsen's trainings."""
VAE_WEIGHT_DECAY = 1e-4
"""Of Adam in his VAE's, added to the gradient."""


@dataclass(frozen=True)
class Published:
    """Hinrichsen's run of an architecture on CIFAR-10: width, batch size, and epochs of the GAN and of the VAE."""

    ch: int
    batch_size: int
    gan_epochs: int
    vae_epochs: int


PUBLISHED = {"normal": Published(96, 512, 314, 110), "deep": Published(128, 256, 345, 185)}


def published(arch: str) -> Published:
    """The run of `arch`; `ArgumentError` for another word."""
    check_choice("arch", arch, ARCHS)
    return PUBLISHED[arch]


def gan_stage(*, batch_size: int, epochs: float | None = None, steps: int | None = None, lr: float = 2e-4) -> StageSettings:
    """Hinrichsen's training of a GAN: Adam, gradients clipped by value, a quarter of the learning rate for the generator."""
    common: dict[str, Any] = {"schedule": "constant", "clip_value": CLIP_VALUE}
    return StageSettings(epochs=epochs, steps=steps, batch_size=batch_size, lr=lr, **common,
                         players={"generator": PlayerSettings(lr=lr / 4, **common)})


def vae_stage(*, batch_size: int, epochs: float | None = None, steps: int | None = None, lr: float = 1e-4) -> StageSettings:
    """Hinrichsen's training of a VAE: the learning rate falls to a tenth where the loss stays."""
    return StageSettings(epochs=epochs, steps=steps, batch_size=batch_size, lr=lr, schedule="plateau", plateau_patience=3,
                         plateau_factor=0.1, clip_value=CLIP_VALUE, weight_decay=VAE_WEIGHT_DECAY)


class BigGAN(Adversarial):
    """BigGAN or BigGAN-deep for small images: `fit`, `sample`, `decode`, `save`.

    >>> model = vaefast.BigGAN(image_shape=(3, 32, 32), arch="deep", ch=96)
    >>> history = model.fit(images, epochs=300, out="runs/cifar")
    >>> x = model.sample(64, truncation=0.5)     # float [64, 3, 32, 32] in [0, 1]

    As Hinrichsen 2023 has them by default; all of Brock et al.'s parts are options.

    Args:
        image_shape: (channels, S, S), S of 8 or more; 32, 45, 64 and 128 are those of the sources.
        arch: "normal" (BigGAN) or "deep" (BigGAN-deep).
        ch: channels at the image's own size; None for the source's: 96 (normal) or 128 (deep).
        latent_dim: dimensions of the code z ~ N(0, I).
        rule: of widths and details, "code", "paper" or "original" (see `vaefast.nets.BigGANGenerator`).
        activation: "relu" or "leaky_relu".
        classes: number of classes, if both networks are to be conditioned on the data's labels (0 to classes - 1).
        embedding_dim, hierarchical: of the generator, as for `vaefast.nets.BigGANGenerator`.
        attention, spectral_norm, init, blocks: of both networks, as for `vaefast.nets.BigGANGenerator`.
        loss, penalty, lambda_: "ns" is the source's, "hinge" Brock et al.'s (see `vaefast.models.GAN`).
        order: "dgd", an iteration is D, G, and D again on the same images; or "dg".
        disc_iters: iterations for each one in which G has its turn, too; D has its in all of them.
        orthogonal_weight: of the generator's orthogonal regularisation; Brock et al. have 1e-4.

    Raises:
        ArgumentError: a value that cannot work.

    `model.first` is the plain module, a `vaefast.models.BigGAN`. Source: Hinrichsen 2023, "Variational Autoencoders aren't Very
    Varied (As Generators)"; Brock et al. 2019, "Large Scale GAN Training for High Fidelity Natural Image Synthesis".
    """

    kind = "biggan"
    networks = ()
    channels_last_on_cpu = True  # an iteration takes 0.7 of the time (ch 16 and 32, fp32, one thread)
    first: models.BigGAN
    defaults = (gan_stage(epochs=PUBLISHED["deep"].gan_epochs, batch_size=PUBLISHED["deep"].batch_size),)

    def __init__(self, image_shape: tuple[int, int, int], arch: Arch = "deep", ch: int | None = None, latent_dim: int = 256, *,
                 rule: Rule = "code", activation: Activation = "relu", classes: int | None = None,
                 embedding_dim: int | None = 128, hierarchical: bool = False, attention: int | None = None,
                 spectral_norm: bool | None = None, init: Init | None = None, loss: LossName = "ns",
                 penalty: PenaltyName | None = None, lambda_: float = models.gan.PENALTY_WEIGHT, order: Order = "dgd",
                 disc_iters: int = 1, orthogonal_weight: float = 0.0, blocks: int | None = None) -> None:
        image_shape, latent_dim = checked_image_shape(image_shape), whole_number("latent_dim", latent_dim)
        source = published(arch)
        ch = source.ch if ch is None else ch
        common: dict[str, Any] = {"arch": arch, "ch": ch, "rule": rule, "activation": activation, "classes": classes,
                                  "attention": attention, "spectral_norm": spectral_norm, "init": init, "blocks": blocks}
        generator = BigGANGenerator(image_shape, latent_dim, embedding_dim=embedding_dim, hierarchical=hierarchical, **common)
        game: dict[str, Any] = {"loss": loss, "penalty": penalty, "lambda_": lambda_, "order": order, "disc_iters": disc_iters,
                                "orthogonal_weight": orthogonal_weight}
        super().__init__(models.BigGAN(generator, BigGANDiscriminator(image_shape, **common), image_shape=image_shape,
                                       latent_dim=latent_dim, classes=classes, **game))
        self.defaults = (gan_stage(epochs=source.gan_epochs, batch_size=source.batch_size),)
        self._settled = {"ch": ch}

    def sample_codes(self, n: int, generator: torch.Generator | None = None, *, truncation: float | None = None) -> Tensor:
        """n codes z, [n, k], from N(0, I); with `truncation`, each dimension cut off beyond +-truncation."""
        return self.first.prior(n, generator, truncation)

    def sample(self, n: int, generator: torch.Generator | None = None, *, truncation: float | None = None,
               condition: Any = None, labels: Tensor | None = None) -> Tensor:
        """n images, [n, C, S, S] in [0, 1]; a small `truncation`, such as 0.5, trades variety for quality. Of classes where
        `condition` says so (one for all, or n of them; `labels` [n] is the same), else of the classes in turn."""
        labels = as_classes(condition, n, self.classes, self.device) if condition is not None else labels
        return self.decode(self.sample_codes(n, generator, truncation=truncation), labels)

    def standing_statistics(self, batches: int = 16, *, batch_size: int = 64, truncation: float | None = None,
                            generator: torch.Generator | None = None) -> None:
        """Replace the generator's moving batch statistics by their means over so many batches of samples, before sampling with
        averaged weights (`ema`) or truncated codes."""
        self.first.standing_statistics(batches, batch_size=batch_size, truncation=truncation, generator=generator)


class BigGANVAE(OneStage):
    """A VAE of BigGAN's parts: `fit`, `sample`, `encode`, `decode`, `reconstruct`, `save`.

    >>> model = vaefast.BigGANVAE(image_shape=(3, 45, 45), arch="deep", ch=96)
    >>> history = model.fit(faces, epochs=172, out="runs/lfw")
    >>> x = model.sample(64)                     # float [64, 3, 45, 45] in [0, 1]

    The encoder is the discriminator with 2 latent_dim outputs, mean and log variance, the decoder the generator. The loss is the
    squared error of images in `image_range`, summed over pixels, plus beta times the KL; means over the batch.

    Args:
        image_shape: (channels, S, S), S of 8 or more.
        arch, ch: as for `vaefast.BigGAN`.
        latent_dim: dimensions of the code z.
        beta: weight of the KL.
        image_range: in which errors are taken: (-1, 1), or (0, 1) as in Hinrichsen's code for his other VAE, where they weigh a
            quarter beside the KL.
        rule: of widths and details, "code" or "paper".
        activation, attention, spectral_norm, init, blocks: of both networks, as for `vaefast.BigGAN`.
        adversary, adversarial_weight: a discriminator that reconstructions have to pass, as for `vaefast.VAE`.

    Raises:
        ArgumentError: a value that cannot work.

    `model.first` is the plain module, a `vaefast.models.VAE`. Source: Hinrichsen 2023, "Variational Autoencoders aren't Very
    Varied (As Generators)", whose reductions and beta are those of his code for another VAE (networks "hinrichsen").
    """

    kind = "biggan-vae"
    first: models.VAE
    networks = ()
    channels_last_on_cpu = True  # an iteration takes 0.7 of the time (ch 16 and 32, fp32, one thread)
    defaults = (vae_stage(epochs=PUBLISHED["deep"].vae_epochs, batch_size=PUBLISHED["deep"].batch_size),)

    def __init__(self, image_shape: tuple[int, int, int], arch: Arch = "deep", ch: int | None = None, latent_dim: int = 256, *,
                 beta: float = 0.1, image_range: tuple[float, float] = (-1.0, 1.0), rule: EncoderRule = "code",
                 activation: Activation = "relu", attention: int | None = None, spectral_norm: bool | None = None,
                 init: Init | None = None, adversary: AdversaryName | nn.Module | None = None,
                 adversarial_weight: float = 100.0, blocks: int | None = None) -> None:
        image_shape, latent_dim = checked_image_shape(image_shape), whole_number("latent_dim", latent_dim)
        source = published(arch)
        ch = source.ch if ch is None else ch
        common: dict[str, Any] = {"arch": arch, "ch": ch, "rule": rule, "activation": activation, "attention": attention,
                                  "spectral_norm": spectral_norm, "init": init, "blocks": blocks}
        judge = image_adversary(adversary, image_shape[0])
        encoder = BigGANEncoder(image_shape, latent_dim, **common)
        decoder = BigGANGenerator(image_shape, latent_dim, output="logits", **common)
        super().__init__(models.VAE(encoder, decoder, data_shape=image_shape, latent_dim=latent_dim, gamma=1.0,
                                    likelihood="squared", beta=beta, image_range=image_range, adversary=judge,
                                    adversarial_weight=adversarial_weight))
        self.defaults = (vae_stage(epochs=source.vae_epochs, batch_size=source.batch_size),)
        self._settled = {"ch": ch}
