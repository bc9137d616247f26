"""`vaefast.SecondStage`: the second stage alone, for anyone's autoencoder."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from vaefast import models
from vaefast.api.base import Model, Part
from vaefast.models.latents import Latents, as_latents
from vaefast.models.mode import evaluating
from vaefast.models.noise_level import Gamma
from vaefast.models.posterior import DiagonalGaussian, Posterior
from vaefast.models.second_stage import draw_codes, recode
from vaefast.nets import SecondStageDecoder, SecondStageEncoder
from vaefast.nets.shapes import whole_number
from vaefast.training.settings import StageSettings
from vaefast.training.sources import ImageSource, PosteriorSource
from vaefast.training.stage import History

USUAL_SCALE = (0.1, 10.0)
"""Standard deviation of a latent dimension that the networks and learning rates are made for."""
USUAL_OFFSET = 5.0
"""Most that the mean of a dimension may lie from 0, in mean standard deviations of a dimension."""


def build_second(latent_dim: int, width: int, depth: int, *, gamma: Gamma = "learned",
                 gamma_init: float = 1.0) -> models.VAE:
    """The second stage's VAE: codes z [k] with latents u [k]."""
    return models.VAE(SecondStageEncoder(latent_dim, latent_dim, width, depth),
                      SecondStageDecoder(latent_dim, latent_dim, width, depth),
                      data_shape=(latent_dim,), latent_dim=latent_dim, gamma=gamma, gamma_init=gamma_init)


class SecondStage(Model):
    """The second stage of Dai & Wipf (2019) for any autoencoder: learns how its latents are distributed, and draws new ones.

    >>> second = vaefast.SecondStage(latent_dim=32)
    >>> second.fit((mu, std), epochs=200, batch_size=256, lr=1e-3)   # or .fit(latents)
    >>> images = your_decoder(second.sample(64))

    `fit` takes a tensor, array or data frame [N, k] of latents, or a tuple (mu, std) of the posteriors of a variational encoder,
    of which every batch then draws afresh, z = mu + std eps. Give posteriors where there are such: their means alone cover less
    than the decoder was trained on. The defaults are the paper's (800 epochs, batches of 64), made for tens of thousands of
    latents.

    Scale: a VAE's latents have standard deviations near 1, and the networks and learning rates here are made for that.
    Nothing is standardised, as in the paper; where the mean standard deviation of a dimension lies outside 0.1 to 10, `fit`
    warns: divide the latents by it first, and multiply samples by it before they are decoded. So it does where the mean of a
    dimension lies more than 5 of these deviations from 0: subtract the means first, and add them to samples.

    Args:
        latent_dim: dimensions k of the latents, and of the second stage's u.
        gamma: decoder noise: "learned", "optimal" or a number (see `vaefast.models.VAE`).
        gamma_init: first value of a learned gamma.
        width, depth: hidden layers of its networks.

    Raises:
        ArgumentError: a value that cannot work. `fit` also: latents of another shape; DataError: NaN or infinity in them.

    Source: Dai & Wipf 2019, section 4; networks and sampling as in their code.
    """

    kind = "second-stage"
    defaults = (StageSettings(epochs=800),)

    def __init__(self, latent_dim: int, *, gamma: Gamma = "learned", gamma_init: float = 1.0, width: int = 1024,
                 depth: int = 3) -> None:
        super().__init__()
        latent_dim = whole_number("latent_dim", latent_dim)
        width, depth = whole_number("width", width), whole_number("depth", depth)
        self.second = build_second(latent_dim, width, depth, gamma=gamma, gamma_init=gamma_init)

    @property
    def latent_dim(self) -> int:
        """Dimensions k of a latent z."""
        return self.second.latent_dim

    def fit(self, data: Any, y: Any = None, **settings: Any) -> History:
        """Train on latents; see the class for what `data` may be, and `vaefast.VAE.fit` for `settings`. `y` is ignored, as in
        scikit-learn's unsupervised estimators."""
        return super().fit(data, **settings)

    def _accept(self, data: Any) -> tuple[Latents, dict[str, Any]]:
        latents = as_latents(data, self.latent_dim)
        scale = latents.scale()
        if not USUAL_SCALE[0] <= scale <= USUAL_SCALE[1]:
            warnings.warn(f"the latents have a mean standard deviation of {scale:.3g} in a dimension; the second stage expects "
                          f"about 1. Divide mu and std by {scale:.3g}, and multiply its samples by it.", stacklevel=4)
        means = latents.mean.double().mean(0)
        if float(offset := means.abs().amax()) > USUAL_OFFSET * scale:
            dimension = int(means.abs().argmax())
            warnings.warn(f"the latents have a mean of {float(means[dimension]):.3g} in dimension {dimension}, "
                          f"{f'{offset / scale:.3g} standard deviations' if scale else 'without any spread,'} from 0; the second "
                          "stage expects means near 0. Subtract the mean of each dimension from mu (std stays as it is), and add "
                          "it to its samples.", stacklevel=4)
        return latents, {"name": "latents", "count": len(latents), "latent_dim": latents.dims,
                         "posteriors": latents.std is not None, "digest": latents.digest()}

    def _parts(self, data: Latents, device: torch.device) -> list[Part]:
        # the losses are in float32; the smallest float stands for a deviation of 0, whose logarithm is not finite
        latents = data.to(device, torch.float32)
        if latents.std is None:
            source: Any = ImageSource(latents.mean, device, scale=False)
        else:
            raw = latents.std.clamp_min(torch.finfo(torch.float32).tiny).log()
            source = PosteriorSource(DiagonalGaussian(latents.mean, raw, "logstd"))
        return [("stage2", self.second, lambda: source)]

    def forward(self, z: Any) -> dict[str, Tensor]:
        """Loss terms of a batch of latents [B, k], in nats per latent, for your own training loop."""
        terms: dict[str, Tensor] = self.second(z)
        return terms

    def encode(self, z: Tensor) -> Posterior:
        """q(u|z) of latents [B, k]: `mean`, `std` and `sample()`, [B, k] each."""
        with evaluating(self.second):
            return self.second.encode(z)

    def decode(self, u: Tensor) -> Tensor:
        """z_hat(u), [B, k], without the noise gamma_z eps."""
        with evaluating(self.second):
            return self.second.decode(u)

    def reconstruct(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Latents passed through the second stage, [B, k]: u ~ q(u|z), z_hat(u) + gamma_z eps."""
        return recode(self.second, z, generator)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n latents z_hat(u) + gamma_z eps with u ~ N(0, I), [n, k], on the model's device."""
        return draw_codes(self.second, n, generator)
