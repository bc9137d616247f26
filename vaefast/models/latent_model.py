"""What all models with an encoder, a decoder and a Gaussian prior have in common."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models.doors import takes_codes, takes_images
from vaefast.models.draws import Draws
from vaefast.models.images import full_precision, gives_logits, in_dtype, wrong_output
from vaefast.models.posterior import DiagonalGaussian, FlowPosterior, PointMass
from vaefast.models.standardiser import Standardiser

PosteriorName = Literal["gaussian", "deterministic"]


class LatentModel(Draws, nn.Module):
    """Codes of examples and examples of codes, by `encoder` and `decoder`; the prior is N(0, prior_std^2 I).

    A model sets these, `data_shape` and `latent_dim`, and says where and in what precision it computes (`_like`).

    With a `standardiser`, networks, losses and gamma are in its units, and what is given and returned in the data's own.
    """

    encoder: nn.Module
    decoder: nn.Module
    data_shape: tuple[int, ...]
    latent_dim: int
    posterior: str = "gaussian"
    prior_std = 1.0
    standardiser: Standardiser | None

    def __init__(self) -> None:
        super().__init__()
        self.standardiser = None

    @property
    def _like(self) -> Tensor:
        """A tensor of the model's device and dtype."""
        raise NotImplementedError

    @takes_images
    def encode(self, x: Tensor) -> DiagonalGaussian | FlowPosterior:
        """q(z|x) of inputs [B, *data_shape], images as uint8 or float in [0, 1]: its `mean`, `std` and `sample(generator)` are
        [B, k]."""
        return self._posterior(self.encoder(self._seen(x)))

    def _units(self, x: Tensor) -> Tensor:
        """Examples as losses compare them: in standardised units, where there are such."""
        return x if self.standardiser is None else self.standardiser(x)

    def _seen(self, x: Tensor) -> Tensor:
        """Examples as the encoder takes them."""
        return in_dtype(self._units(x), self._like)

    def _own(self, x: Tensor) -> Tensor:
        """What is in the losses' units in the data's own."""
        return x if self.standardiser is None else self.standardiser.undo(x)

    def _posterior(self, out: Any) -> DiagonalGaussian:
        """q(z|x) from what the encoder returned: (mu, raw), [B, 2k] holding both, or mu where it is deterministic."""
        if not isinstance(out, tuple):
            if not isinstance(out, Tensor):
                raise wrong_output(out, self.encoder, (2 * self.latent_dim,))
            out = out.split(self.latent_dim, dim=1)
        if self.posterior == "deterministic":
            return PointMass(full_precision(out[0]))
        if len(out) != 2:
            raise ArgumentError(f"posterior 'gaussian' needs an encoder that returns (mu, raw); this one returns {len(out)} "
                                f"tensor(s) of {self.latent_dim} dimensions. Build it with deterministic=False.")
        return DiagonalGaussian(full_precision(out[0]), full_precision(out[1]), getattr(self.encoder, "scale_param", "logvar"))

    def _decode_raw(self, z: Tensor, *told: Any) -> Tensor:
        """What the decoder returns, which is told so much after the codes."""
        raw = self.decoder(in_dtype(z, self._like), *told)
        if not isinstance(raw, Tensor):
            raise wrong_output(raw, self.decoder, self.data_shape)
        return full_precision(raw)

    def _activate(self, raw: Tensor) -> Tensor:
        """The image, of what the decoder returned."""
        return torch.sigmoid(raw) if gives_logits(self.decoder) else raw

    @takes_codes
    def decode(self, z: Tensor) -> Tensor:
        """Images [B, *data_shape] in [0, 1] of codes [B, k], or other data in their own units: the mean of p(x|z), without its
        noise."""
        return self._own(self._activate(self._decode_raw(z)))

    def draw(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """x ~ p(x|z) of codes [B, k], [B, *data_shape]: with the noise that `decode` leaves out, and not clipped."""
        raise ArgumentError(f"a {type(self).__name__} has no distribution p(x|z) to draw pixels from; decode its codes instead.")

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) in nats of examples [B, *data_shape] at codes [B, k], [B]: of data in their own units."""
        raise ArgumentError(f"a {type(self).__name__} has no distribution p(x|z), and so no likelihood.")

    def _log_density(self, nll: Tensor) -> Tensor:
        """The log density of data in their own units, of a negative one in the losses' units, [B]."""
        return -nll if self.standardiser is None else -nll - self.standardiser.log_volume(self.data_shape)

    @takes_images
    def reconstruct(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images decoded from a *drawn* code of each image, [B, *data_shape]."""
        return self.decode(self.encode(x).sample(generator))

    def prior(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws from N(0, prior_std^2 I), [n, latent_dim], on the model's device."""
        like = self._like
        return self.prior_std * torch.randn(n, self.latent_dim, generator=generator, device=like.device, dtype=like.dtype)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Images of n draws from the prior, [n, *data_shape]; no pixel noise is added."""
        return self.decode(self.prior(n, generator))
