"""`vaefast.WAE`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vaefast import models
from vaefast.api.images import OneStage, networks
from vaefast.api.reading import Images, conditions_of, source_of
from vaefast.api.shapes import refuse_what_images_have, settled_nets, standardiser_for
from vaefast.errors import ArgumentError
from vaefast.models.latent_model import PosteriorName
from vaefast.models.prior_penalty import Kernel
from vaefast.models.wae import Cost
from vaefast.nets import LatentAdversary, NetsName
from vaefast.nets.shapes import shape_of_data, whole_number
from vaefast.training.settings import PlayerSettings, StageSettings
from vaefast.training.stream import StreamSource

BETAS = (0.5, 0.999)
"""Adam's, where there is an adversary: Tolstikhin et al.'s."""
ADVERSARY_LR = 0.5
"""Of the adversary, relative to the autoencoder's: that of Tolstikhin et al.'s MNIST configuration."""
ADVERSARY = "adversary"
"""Its name among the players."""
PRETRAIN_BATCH = 256
PRETRAIN_IMAGES = 40 * PRETRAIN_BATCH
"""Most images of a stream that are held for it."""


def against_adversary(settings: StageSettings) -> StageSettings:
    """`settings` for a WAE-GAN's stage: Adam with beta1 of 0.5, and half the learning rate for the adversary."""
    adversary = PlayerSettings(lr=ADVERSARY_LR * settings.lr, schedule=settings.schedule, halve_every=settings.halve_every,
                               warmup_steps=settings.warmup_steps, betas=BETAS)
    return replace(settings, betas=BETAS, players={ADVERSARY: adversary})


class WAE(OneStage):
    """A Wasserstein autoencoder of images, or of data of any shape: `fit`, `sample`, `encode`, `decode`, `reconstruct`, `save`.

    >>> model = vaefast.WAE(image_shape=(1, 28, 28), latent_dim=64, penalty="mmd")
    >>> history = model.fit(images, epochs=400, out="runs/mnist")
    >>> x = model.sample(64)                     # float [64, 1, 28, 28] in [0, 1]

    Args:
        image_shape: (channels, height, width), of images.
        latent_dim: dimensions of the code z.
        data_shape, standardise: instead of it, the shape of examples that are no images, and their units, as for `vaefast.VAE`.
        nets: "infogan", the neutral networks of Dai & Wipf (default for images), or another of `vaefast.nets.NETS`; "residual"
            for data of `data_shape`; or give both `encoder` and `decoder`.
        encoder: any module image -> mu [B, latent_dim], or as for `vaefast.TwoStageVAE`.
        decoder: any module code -> image in `image_range` (or logits; see `vaefast.nets`).
        penalty: "mmd", or "gan": an adversary tells codes from draws of the prior; training then has two players,
            "autoencoder" and "adversary".
        lambda_: weight of the penalty.
        prior_std, kernel, reconstruction, image_range, posterior, prior_trick: see `vaefast.models.WAE`.
        adversary_width, adversary_depth: hidden layers of the adversary.
        classes, condition_dim: what encoder and decoder are conditioned on, as for `vaefast.VAE`.
        net_options: of the named networks, encoder and decoder alike, such as width=16 of "wae-stride2".
        pretrain: before training, let the encoder match the mean and covariance of the prior (up to 200 steps; see
            `vaefast.models.pretrain_encoder`).

    Raises:
        ArgumentError: a value that cannot work.

    `model.first` is the plain module, a `vaefast.models.WAE`. Source: Tolstikhin et al. 2018; Dai & Wipf 2019, section 5.
    """

    kind = "wae"
    first: models.WAE
    defaults: tuple[StageSettings, ...] = (StageSettings(epochs=400),)

    def __init__(self, image_shape: tuple[int, int, int] | None = None, latent_dim: int = 64, *,
                 data_shape: tuple[int, ...] | None = None, standardise: bool | None = None, nets: NetsName | None = None,
                 encoder: nn.Module | None = None, decoder: nn.Module | None = None, penalty: Literal["mmd", "gan"] = "mmd",
                 lambda_: float = 100.0, prior_std: float = 1.0, kernel: Kernel = "imq", reconstruction: Cost = "l2sq",
                 image_range: tuple[float, float] = (0.0, 1.0), posterior: PosteriorName = "deterministic",
                 prior_trick: bool = True, adversary_width: int = 1024, adversary_depth: int = 4, pretrain: bool = False,
                 classes: int | None = None, condition_dim: int | None = None,
                 net_options: Mapping[str, Any] | None = None) -> None:
        shape, latent_dim = shape_of_data(image_shape, data_shape), whole_number("latent_dim", latent_dim)
        settled = settled_nets(nets, shape, encoder)
        refuse_what_images_have(shape, image_range=(image_range, (0, 1), [0, 1]))
        encoder, decoder = networks(nets, encoder, decoder, shape, latent_dim, deterministic=posterior == "deterministic",
                                    options=net_options, classes=classes, condition_dim=condition_dim)
        width, depth = whole_number("adversary_width", adversary_width), whole_number("adversary_depth", adversary_depth)
        if not isinstance(pretrain, bool):
            raise ArgumentError(f"pretrain is {pretrain!r}; expected True or False.")
        super().__init__(models.WAE(encoder, decoder, data_shape=shape, latent_dim=latent_dim, penalty=penalty,
                                    lambda_=lambda_, prior_std=prior_std, kernel=kernel, reconstruction=reconstruction,
                                    image_range=image_range, posterior=posterior, prior_trick=prior_trick,
                                    adversary=LatentAdversary(latent_dim, width, depth) if penalty == "gan" else None,
                                    standardiser=standardiser_for(shape, standardise), classes=classes,
                                    condition_dim=condition_dim))
        self._settled = settled
        if penalty == "gan":
            self.defaults = tuple(map(against_adversary, self.defaults))
        self._pretrain = pretrain

    def _prepare(self, data: Images, seed: int, device: torch.device) -> None:
        super()._prepare(data, seed, device)
        if not self._pretrain:
            return
        self.to(device)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            source = source_of(data, torch.device("cpu"), condition=conditions_of(self.first, data))
            self.first.look_at(source)  # for the units of vectors
            if isinstance(source, StreamSource):
                rows = source.stream.some(PRETRAIN_IMAGES)
            else:
                rows = (source.images,) if source.labels is None else (source.images, source.labels)
            models.pretrain_encoder(self.first, _batches(rows))


def _batches(rows: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    """Batches of shuffled images (and what they are conditioned on), without end; all, where there are fewer than a batch."""
    count = len(rows[0])
    while True:
        for index in torch.randperm(count).split(PRETRAIN_BATCH):
            if len(index) == min(PRETRAIN_BATCH, count):
                yield tuple(t[index] for t in rows)
