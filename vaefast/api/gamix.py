"""`vaefast.GAMIXVAE`."""

from __future__ import annotations

from typing import Literal

from torch import nn

from vaefast import models
from vaefast.api.adversary import AdversaryName, image_adversary
from vaefast.api.images import OneStage, networks
from vaefast.api.second_stage import (
    SecondKind,
    TwoStageTraining,
    build_second,
    second_defaults,
    second_sizes,
)
from vaefast.errors import ArgumentError
from vaefast.models.gamix import Reconstruction
from vaefast.models.noise_level import Gamma
from vaefast.models.second_stage import SecondStage, TwoStages
from vaefast.nets import NetsName
from vaefast.nets.norms import NormName, checked_norm
from vaefast.nets.shapes import checked_image_shape, whole_number
from vaefast.training.device import crashing_convolution
from vaefast.training.settings import StageSettings

PAPER = StageSettings(epochs=300, batch_size=10, lr=1e-4, schedule="constant", betas=(0.5, 0.999), eps=1e-7, flip=True)
"""Rivera's released training, of both players."""
SECOND = StageSettings(epochs=800)
"""Dai & Wipf's, of the second stage."""


class GAMIXVAE(TwoStageTraining, TwoStages, OneStage):
    """GAMIX-VAE (Rivera 2023, "How to train your VAE"): `fit`, `sample`, `encode`, `decode`, `reconstruct`, `save`.

    >>> model = vaefast.GAMIXVAE(image_shape=(3, 256, 256), latent_dim=512)
    >>> history = model.fit(images, epochs=300, out="runs/faces")
    >>> x = model.sample(64)                     # float [64, 3, 256, 256] in [0, 1]

    The Gaussian of the *aggregate* posterior's moments is matched to N(0, I), each posterior's variance is held by a term of its
    own, the reconstruction cost is L1, and a PatchGAN judges reconstructions; see `vaefast.models.GAMIXVAE`.

    Args:
        image_shape: (channels, height, width); with nets="gamix" square, of a side that is a power of two from 8.
        latent_dim: dimensions of the code z.
        nets: "gamix", or another of `vaefast.nets.NETS`; or give both `encoder` and `decoder`, as for `vaefast.TwoStageVAE`.
        width: channels of the gamix networks, and of the PatchGAN's first layers.
        norm: of the gamix networks: "batch" (as described), "affine" (as the released training has it in effect) or "group". The
            PatchGAN's is "affine" in any case (see `vaefast.nets.PatchGAN`, which you can give as `adversary`).
        checkpoint: recompute activations in the backward pass, for less memory (gamix networks alone).
        input_norm: let the encoder begin with a layer norm over each channel, as released. It takes away an image's brightness
            and colour, so that no code can tell them; without, reconstructions have the image's (gamix networks alone).
        var: of the global term: "means" (released) or "mixture" (exact).
        memory: batches before the present one whose moments count in the global term. With batches of 10 and hundreds of
            dimensions its value is mostly noise; see docs/gamix.md.
        reconstruction: "l1" or "l2".
        reconstruction_weight, global_weight, individual_weight, kl_weight: of the terms; `kl_weight` is that of the ordinary KL.
        adversary: "patchgan", a discriminator module (images in [-1, 1] -> logits), or None.
        adversarial_weight: of its term; 0 leaves the adversary out.
        second_stage: train a second stage on the codes, too, as in a Two-Stage VAE (Dai & Wipf 2019), and sample by it.
        second, classes, second_gamma, second_width, second_depth: of the second stage, as for `vaefast.TwoStageVAE`.

    Raises:
        ArgumentError: a value that cannot work.

    `model.first` (and `model.second`) are plain modules, for your own training loop.
    """

    kind = "gamix"
    first: models.GAMIXVAE
    defaults: tuple[StageSettings, ...] = (PAPER,)

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int = 512, *, nets: NetsName = "gamix",
                 encoder: nn.Module | None = None, decoder: nn.Module | None = None, width: int = 128, norm: NormName = "batch",
                 checkpoint: bool = False, input_norm: bool = True, var: Literal["means", "mixture"] = "means", memory: int = 0,
                 reconstruction: Reconstruction = "l1", reconstruction_weight: float = 5000.0, global_weight: float = 1.0,
                 individual_weight: float = 0.2, kl_weight: float = 0.0, adversary: AdversaryName | nn.Module | None = "patchgan",
                 adversarial_weight: float = 100.0, second_stage: bool = False, second: SecondKind = "vae",
                 classes: int | None = None, second_gamma: Gamma = "learned", second_width: int | None = None,
                 second_depth: int | None = None) -> None:
        image_shape, latent_dim = checked_image_shape(image_shape), whole_number("latent_dim", latent_dim)
        for name, value in (("checkpoint", checkpoint), ("input_norm", input_norm), ("second_stage", second_stage)):
            if not isinstance(value, bool):
                raise ArgumentError(f"{name} is {value!r}; expected True or False.")
        named = nets == "gamix" and encoder is None
        if (checkpoint or not input_norm) and not named:
            what = "checkpoint is True" if checkpoint else "input_norm is False"
            raise ArgumentError(f"{what}, which the gamix networks alone have; leave it out for others.")
        checked_norm(norm)
        options = {"width": width, "norm": norm, "checkpoint": checkpoint, "input_norm": input_norm} if named else None
        encoder, decoder = networks(nets, encoder, decoder, image_shape, latent_dim, options=options)
        judge = image_adversary(adversary if adversarial_weight else None, image_shape[0], width=width)
        super().__init__(models.GAMIXVAE(
            encoder, decoder, data_shape=image_shape, latent_dim=latent_dim, var=var, reconstruction=reconstruction,
            reconstruction_weight=reconstruction_weight, global_weight=global_weight, individual_weight=individual_weight,
            kl_weight=kl_weight, adversary=judge, adversarial_weight=adversarial_weight, memory=memory,
            image_range=(-1.0, 1.0)))
        self.second: SecondStage | None = None
        second_width, second_depth = second_sizes(second, second_width, second_depth)
        if second_stage:
            self.second = build_second(latent_dim, second_width, second_depth, kind=second, gamma=second_gamma, classes=classes)
            self.defaults = (PAPER, *second_defaults(second, SECOND))
        # an iteration takes 0.8 of the time (width 16, 32x32 and 64x64, fp32, one thread)
        self.channels_last_on_cpu = named and crashing_convolution(self) is None
        self._settled = {"second_width": second_width, "second_depth": second_depth,
                         **({} if adversarial_weight else {"adversary": None})}
