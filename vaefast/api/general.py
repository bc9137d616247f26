"""`vaefast.GeneralVAE`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vaefast import models
from vaefast.api.arguments import CUSTOM
from vaefast.api.base import Part
from vaefast.api.images import OneStage, networks
from vaefast.api.reading import Images, some_of
from vaefast.api.shapes import are_images, refuse_what_images_have, settled_nets, standardiser_for
from vaefast.api.wae import against_adversary
from vaefast.data.stream import ImageStream
from vaefast.errors import ArgumentError
from vaefast.models.families import FamilyName
from vaefast.models.latent_model import PosteriorName
from vaefast.models.noise_level import Gamma
from vaefast.models.prior_penalty import Kernel
from vaefast.models.regularizers import RegularizerName
from vaefast.nets import NETS, GatedPixelCNN, LatentAdversary, NetsName, PixelCNNPlusPlus, ZhaoEncoder, zhao_cifar_encoder
from vaefast.nets.shapes import shape_of_data, whole_number
from vaefast.nets.weight_norm import normed_layers
from vaefast.training.settings import StageSettings

PixelNets = Literal["pixelcnn", "pixelcnn++"]
PIXEL_NETS = {"pixelcnn": (ZhaoEncoder, GatedPixelCNN), "pixelcnn++": (zhao_cifar_encoder, PixelCNNPlusPlus)}
"""Encoders with autoregressive decoders, by name: of binarised images, and of those of 256 levels."""

INITIAL_IMAGES = 80
"""That weight-normed layers begin with, as in Zhao et al.'s code of CIFAR-10."""


class GeneralVAE(OneStage):
    """E_q[log p(x|z)] - R(q) of images or other data, with any p(x|z) and any regulariser: `fit`, `sample`, `chain`, ...

    >>> model = vaefast.GeneralVAE(image_shape=(1, 28, 28), latent_dim=10, family="bernoulli", regularizer="none")
    >>> history = model.fit(images, epochs=20, out="runs/unregularised")
    >>> x = model.chain(64, steps=20)            # float [64, 1, 28, 28]; its codes are not the prior's

    Well-known members: beta-VAE is regularizer "elbo" with `beta`, beta-TC-VAE "tc", InfoVAE "info", WAE "mmd" or "adversarial"
    with a Gaussian family of fixed gamma.

    Args:
        image_shape: (channels, height, width), of images.
        latent_dim: dimensions of the code z.
        data_shape, standardise: instead of it, the shape of examples that are no images, and their units, as for `vaefast.VAE`.
        nets: "infogan", the neutral networks of Dai & Wipf (default for images), or another of `vaefast.nets.NETS`; "pixelcnn" or
            "pixelcnn++" for Zhao et al.'s encoders with autoregressive decoders (the second's layers are weight-normed, and set
            by 80 images before training); "residual" for data of `data_shape`; or give both `encoder` and `decoder`.
        net_options: of the named networks, encoder and decoder alike, such as width=32 of "gamix".
        decoder_options: names and values of the named decoder alone, such as layers=6 and width=16 of "pixelcnn".
        encoder: any module image -> (mu, raw) or -> [B, 2 * latent_dim] (see `vaefast.nets` for how s is read).
        decoder: any module code -> what `family` reads, or an autoregressive one (see `vaefast.models.GeneralVAE`).
        family: of p(x|z): "bernoulli", "gaussian", "laplace", "logistic-mixture" or "categorical"; None for the decoder's own,
            and "bernoulli" where it has none. Data of `data_shape` have "gaussian", by default, or "laplace".
        regularizer: "elbo", "none", "l2norm", "center", "mmd", "adversarial", "tc", "info", or a function (mu, scale, z) -> R
            of each example [B] or of the batch []; such a function is not saved with the model.
        beta: of "elbo" (default 1) and "tc" (6).
        alpha: of "info" (0).
        lambda_: of "mmd", "adversarial" and "info" (100 each).
        kernel: of "mmd" and "info": "imq" or "rbf".
        gamma, gamma_init: noise of "gaussian" and "laplace": "learned" (from `gamma_init`), "optimal" or a number.
        posterior: "gaussian", or "deterministic".
        reduction: "sum", the true objective, or "mean", of early published code (see `vaefast.models.GeneralVAE`).
        adversary_width, adversary_depth: hidden layers of the adversary of "adversarial".

    Raises:
        ArgumentError: a value that cannot work.

    `model.first` is the plain module, a `vaefast.models.GeneralVAE`. Source: Zhao, Song & Ermon 2017; see
    `vaefast.models.regularizers` for those of the members.
    """

    kind = "general"
    first: models.GeneralVAE
    defaults: tuple[StageSettings, ...] = (StageSettings(epochs=400),)

    def __init__(self, image_shape: tuple[int, int, int] | None = None, latent_dim: int = 64, *,
                 data_shape: tuple[int, ...] | None = None, standardise: bool | None = None,
                 nets: NetsName | PixelNets | None = None, encoder: nn.Module | None = None, decoder: nn.Module | None = None,
                 family: FamilyName | None = None,
                 regularizer: RegularizerName | Callable[[Tensor, Tensor, Tensor], Tensor] = "elbo", beta: float | None = None,
                 alpha: float | None = None, lambda_: float | None = None, kernel: Kernel | None = None,
                 gamma: Gamma = "learned", gamma_init: float = 1.0, posterior: PosteriorName = "gaussian",
                 reduction: Literal["sum", "mean"] = "sum", adversary_width: int = 1024, adversary_depth: int = 4,
                 decoder_options: Mapping[str, Any] | None = None, net_options: Mapping[str, Any] | None = None) -> None:
        shape, latent_dim = shape_of_data(image_shape, data_shape), whole_number("latent_dim", latent_dim)
        settled, images = settled_nets(nets, shape, encoder), are_images(shape)
        if family is None and not images:
            family = getattr(decoder, "family", "gaussian")
        refuse_what_images_have(shape, family=(family, "gaussian", "laplace"))
        made = models.make_family(family or "bernoulli", shape[0], gamma=gamma, gamma_init=gamma_init)
        if images and nets in PIXEL_NETS and encoder is None and family is not None:
            raise ArgumentError(f"family is {family!r} with nets {nets!r}, whose decoder has its own; leave it out.")
        encoder, decoder = networks(nets, encoder, decoder, shape, latent_dim, deterministic=posterior == "deterministic",
                                    channels_out=None if nets in PIXEL_NETS else made.channels_out(shape[0]),
                                    known={**NETS, **PIXEL_NETS} if images else None, options=net_options,
                                    decoder_options=decoder_options)
        width, depth = whole_number("adversary_width", adversary_width), whole_number("adversary_depth", adversary_depth)
        if isinstance(regularizer, nn.Module) and any(True for _ in regularizer.parameters()):
            raise ArgumentError("regularizer is a module with parameters, which cannot be saved with the model; train it with "
                                "vaefast.models.GeneralVAE and vaefast.Trainer.")
        adversary = LatentAdversary(latent_dim, width, depth) if regularizer == "adversarial" else None
        super().__init__(models.GeneralVAE(encoder, decoder, data_shape=shape, latent_dim=latent_dim, family=family,
                                           regularizer=_not_saved if regularizer == CUSTOM else regularizer, gamma=gamma,
                                           gamma_init=gamma_init, posterior=posterior, reduction=reduction, beta=beta,
                                           alpha=alpha, lambda_=lambda_, kernel=kernel, adversary=adversary,
                                           standardiser=standardiser_for(shape, standardise)))
        self._settled = settled
        self._trained_on: int | None = None
        if adversary is not None:
            self.defaults = tuple(map(against_adversary, self.defaults))

    def _equip(self, data: Images, device: torch.device) -> None:
        super()._equip(data, device)
        self._trained_on = _count(data)

    def _prepare(self, data: Images, seed: int, device: torch.device) -> None:
        super()._prepare(data, seed, device)
        if any(normed_layers(net) for net in (self.first.encoder, self.first.decoder)):
            self.to(device)
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                torch.manual_seed(seed)
                self.first.initialise_from_data(some_of(data, INITIAL_IMAGES).to(device))

    def _parts(self, data: Images, device: torch.device) -> list[Part]:
        if isinstance(self.first.regularizer, models.regularizers.TotalCorrelation):  # held-out data have the training set's N
            self.first.regularizer.dataset_size = self._trained_on or _count(data)
        return super()._parts(data, device)


def _count(data: Images) -> int | None:
    return data.count if isinstance(data, ImageStream) else len(data)


def _not_saved(mu: Tensor, scale: Tensor, z: Tensor) -> Any:
    raise ArgumentError("this model was saved with a regularizer of your own, which is not in the file; build the model with "
                        "it to train on.")
