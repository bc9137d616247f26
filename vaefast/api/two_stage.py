"""`vaefast.TwoStageVAE`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from vaefast import models
from vaefast.api.adversary import AdversaryName, image_adversary
from vaefast.api.base import Part
from vaefast.api.images import ImageAutoencoder, networks
from vaefast.api.perceptual import perceptual_term
from vaefast.api.reading import Images
from vaefast.api.second_stage import (
    SecondKind,
    TwoStageTraining,
    build_second,
    second_defaults,
    second_sizes,
)
from vaefast.api.shapes import refuse_what_images_have, settled_nets, standardiser_for
from vaefast.errors import ArgumentError
from vaefast.models.noise_level import Gamma
from vaefast.models.second_stage import SecondStage
from vaefast.models.vae import Likelihood
from vaefast.models.weighted_term import TermWeight
from vaefast.nets import NetsName
from vaefast.nets.shapes import CodeShape, checked_latents, shape_of_data
from vaefast.training.settings import StageSettings

Conditioned = Literal["second", "both"]


class TwoStageVAE(TwoStageTraining, ImageAutoencoder, models.TwoStageVAE):
    """The Two-Stage VAE of Dai & Wipf (2019): `fit`, `sample`, `encode`, `decode`, `reconstruct`, `save`.

    >>> model = vaefast.TwoStageVAE(image_shape=(1, 28, 28), latent_dim=64)
    >>> history = model.fit(images, epochs=(400, 800), out="runs/mnist")
    >>> x = model.sample(64)                     # float [64, 1, 28, 28] in [0, 1]

    `fit` trains stage 1 on the images, then stage 2 on fresh samples of stage 1's posteriors. The second stage is the paper's
    VAE, or, with second="flow", a flow that comes nearer to the codes in less time, or, with second="mixture", a mixture of
    Gaussians, which is fitted and not trained.

    Args:
        image_shape: (channels, height, width), of images.
        latent_dim: dimensions of the code z, and of the second stage's u; or (c, h, w), maps of codes, which a flow takes as maps
            (outside they are flat, k = c h w; `z.unflatten(1, latent_dim)` shows them).
        data_shape, standardise: instead of it, the shape of examples that are no images, and their units, as for `vaefast.VAE`.
        nets: "infogan", the neutral networks of the paper (default for images), or another of `vaefast.nets.NETS`; "residual" for
            data of `data_shape`; or give both `encoder` and `decoder`.
        encoder: any module image -> (mu, raw) or -> [B, 2 * latent_dim] (see `vaefast.nets` for how s is read).
        decoder: any module code -> image in [0, 1] (or logits; see `vaefast.nets`).
        gamma: stage 1's decoder noise: "learned", "optimal" or a number (see `vaefast.models.VAE`).
        gamma_init: first value of a learned gamma.
        likelihood: of stage 1, "gaussian" or "bernoulli" (cross-entropy).
        second: "vae", "flow" or "mixture" (see `vaefast.SecondStage`).
        classes: of the images' labels, from 0 on, for a second stage that is a flow or a mixture: `sample(n, condition=7)` draws
            of a class, or of n of them.
        condition_dim: d, instead, of vectors [N, d] of real numbers that a flow is told: `fit(images, condition=vectors)`,
            `sample(n, condition=vectors)`.
        conditioned: which stages know them: "second" alone (stage 1 codes every image alike), or "both" (stage 1 is conditioned
            as `vaefast.VAE` is, so that codes need not tell the class; encode, decode and reconstruct then take `condition`).
        second_gamma: a second VAE's decoder noise, as `gamma`.
        second_width, second_depth: hidden layers of its networks; 1024 and 3 of "vae", 512 and 4 of "flow" if None.
        joint: train both stages together, by one ELBO (`vaefast.models.TwoStageVAE.loss`), in one stage called "joint": a control
            of the paper's, which reports that it does no better than a VAE. second="vae" alone, without adversary or perceptual.
        adversary: "patchgan", or a discriminator module (images in [-1, 1] -> logits), that stage 1's reconstructions have to
            pass; a second player beside the VAE (see `vaefast.models.ImageAdversary`). None for none.
        adversarial_weight, perceptual, perceptual_weight: as for `vaefast.VAE`, of stage 1.
        net_options: of the named networks, encoder and decoder alike, such as width=32 of "gamix".

    Raises:
        ArgumentError: a value that cannot work.

    `model.first` and `model.second` are plain modules that return their loss terms, for your own training loop.
    """

    kind = "two-stage"
    first: models.VAE
    second: SecondStage
    if TYPE_CHECKING:  # the second of two parents has it
        def sample(self, n: int, generator: torch.Generator | None = None, *, stage: int | None = None, condition: Any = None,
                   **options: Any) -> Tensor: ...
    defaults: tuple[StageSettings, ...] = (StageSettings(epochs=400), StageSettings(epochs=800))

    def __init__(self, image_shape: tuple[int, int, int] | None = None, latent_dim: CodeShape = 64, *,
                 data_shape: tuple[int, ...] | None = None, standardise: bool | None = None, nets: NetsName | None = None,
                 encoder: nn.Module | None = None, decoder: nn.Module | None = None, gamma: Gamma = "learned",
                 gamma_init: float = 1.0, likelihood: Likelihood = "gaussian", second: SecondKind = "vae",
                 classes: int | None = None, condition_dim: int | None = None, conditioned: Conditioned = "second",
                 second_gamma: Gamma = "learned", second_width: int | None = None, second_depth: int | None = None,
                 joint: bool = False, adversary: AdversaryName | nn.Module | None = None, adversarial_weight: TermWeight = 100.0,
                 perceptual: str | nn.Module | None = None, perceptual_weight: TermWeight = "adaptive",
                 net_options: Mapping[str, Any] | None = None) -> None:
        shape, (k, maps) = shape_of_data(image_shape, data_shape), checked_latents(latent_dim)
        settled = settled_nets(nets, shape, encoder)
        refuse_what_images_have(shape, adversary=(adversary, None), perceptual=(perceptual, None),
                                likelihood=(likelihood, "gaussian", "squared"))
        if conditioned not in get_args(Conditioned) or (conditioned == "both" and classes is None and condition_dim is None):
            raise ArgumentError(f"conditioned is {conditioned!r}; expected 'second', or 'both' of a model with classes or "
                                "condition_dim.")
        told: dict[str, Any] = {"classes": classes, "condition_dim": condition_dim}
        told_first = told if conditioned == "both" else dict.fromkeys(told)
        encoder, decoder = networks(nets, encoder, decoder, shape, maps or k, options=net_options, **told_first)
        judge = image_adversary(adversary, shape[0])
        first = models.VAE(encoder, decoder, data_shape=shape, latent_dim=k, gamma=gamma,
                           likelihood=likelihood, gamma_init=gamma_init, adversary=judge, adversarial_weight=adversarial_weight,
                           perceptual=perceptual_term(perceptual, perceptual_weight),
                           standardiser=standardiser_for(shape, standardise), **told_first)
        width, depth = second_sizes(second, second_width, second_depth, maps=maps is not None)
        super().__init__(first, build_second(maps or k, width, depth, kind=second, gamma=second_gamma, **told), joint=joint)
        of_second = () if joint else second_defaults(second, StageSettings(epochs=800))
        self.defaults = (StageSettings(epochs=400), *of_second)
        self._settled = {**settled, "second_width": width, "second_depth": depth}

    def _parts(self, data: Images, device: torch.device) -> list[Part]:
        if not self.joint:
            return super()._parts(data, device)
        source = self._source(data, device)
        return [("joint", self, lambda: source)]
