"""GAMIX-VAE: the posteriors' mixture is matched to the prior, not each posterior, and each one's variance is held by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from vaefast import ops
from vaefast.errors import ArgumentError
from vaefast.models.adversarial import as_adversary
from vaefast.models.diagnostics import collapse_terms
from vaefast.models.doors import takes_codes, takes_images
from vaefast.models.draws import Draws
from vaefast.models.global_moments import GlobalMoments
from vaefast.models.images import clipped, full_precision, gives_logits, in_dtype, wrong_output
from vaefast.models.player import Parts, Player, trainable
from vaefast.models.posterior import DiagonalGaussian
from vaefast.models.weighted_term import TermWeight, whole_where_adaptive
from vaefast.nets.own import own_network
from vaefast.nets.recompute import without_traces

Reconstruction = Literal["l1", "l2"]
RECONSTRUCTIONS: tuple[Reconstruction, ...] = get_args(Reconstruction)


class GAMIXVAE(Draws, nn.Module):
    """Minimises w_r REC + w_g GLOB + w_i IND + w_k KL + w_a ADV over encoder and decoder.

    REC is the mean absolute error of a pixel on the [-1, 1] scale (of the reconstruction from a *drawn* code); GLOB the KL of
    the Gaussian with the aggregate posterior's mean and variance to N(0, I); IND = mean_B sum_k 0.5 (s^2 - log s^2 - 1), which
    keeps each posterior's variance from going to 0; KL the ordinary mean_B KL(q(z|x) || N(0, I)), with weight 0 (give
    it 1 and the others 0 for a plain VAE); ADV how well reconstructions pass the discriminator, which is trained beside on
    100 (BCE(1, D(x)) + BCE(0, D(x_hat))) of the same reconstructions. Both players step from one forward pass.

    A plain `nn.Module`: `model(x)` returns the autoencoder's loss and its terms; `players()` tells the engine of both.

    Args:
        encoder: module x -> (mu, raw), or x -> [B, 2k] holding both, as in `VAE`; it sees images in `image_range`.
        decoder: module z -> x_hat; its attribute `output` says what that is: "logits" (of the image in [0, 1]), or "image"
            (in `image_range`), which is taken if it has none.
        data_shape: shape of one example, such as (3, 64, 64).
        latent_dim: k.
        var: of GLOB: "means", the variance of the means alone (the release: log-variances get no gradient from it), or
            "mixture", the exact variance of the mixture (see `vaefast.ops.mixture_kl`).
        reconstruction: "l1", or "l2" for the mean squared error.
        reconstruction_weight, global_weight, individual_weight, kl_weight: buffers, which a stage's `ramps` can schedule.
            In the release the factor 0.1 before exp(v) - v - 1 is an individual_weight of 0.2.
        adversary: a discriminator of images in [-1, 1], such as `vaefast.nets.PatchGAN(channels)`, or an `ImageAdversary`;
            None for none.
        adversarial_weight: of ADV, where a discriminator is given.
        memory: batches before the present one whose moments count in GLOB; see `GlobalMoments`.
        image_range: in what range the encoder sees images and the decoder returns them, (-1, 1) or (0, 1). Images that are
            given and returned are in [0, 1] (or uint8) either way.

    With the attribute `sync` set, GLOB is that of the batch of all processes that train together; of an accumulated batch it is
    that of the whole.

    Raises:
        ArgumentError: a setting has a value that cannot work.

    Source: Rivera 2023, "How to train your VAE", and its released code.
    """

    reconstruction_weight: Tensor
    global_weight: Tensor
    individual_weight: Tensor
    kl_weight: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, data_shape: tuple[int, ...], latent_dim: int,
                 var: str = "means", reconstruction: str = "l1", reconstruction_weight: float = 5000.0,
                 global_weight: float = 1.0, individual_weight: float = 0.2, kl_weight: float = 0.0, adversary: Any = None,
                 adversarial_weight: TermWeight = 100.0, memory: int = 0,
                 image_range: tuple[float, float] = (-1.0, 1.0)) -> None:
        super().__init__()
        if reconstruction not in RECONSTRUCTIONS:
            raise ArgumentError(f"reconstruction is {reconstruction!r}; expected one of {', '.join(RECONSTRUCTIONS)}.")
        if image_range not in ((0, 1), (-1, 1), [0, 1], [-1, 1]):
            raise ArgumentError(f"image_range is {image_range!r}; expected (-1, 1) or (0, 1).")
        weights = {"reconstruction_weight": reconstruction_weight, "global_weight": global_weight,
                   "individual_weight": individual_weight, "kl_weight": kl_weight}
        for name, value in weights.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise ArgumentError(f"{name} is {value!r}; expected 0 or more.")
            self.register_buffer(name, torch.tensor(float(value)), persistent=False)
        self.encoder, self.decoder = own_network("encoder", encoder), own_network("decoder", decoder)
        self.data_shape, self.latent_dim, self.sync = tuple(data_shape), latent_dim, False
        self.reconstruction, self.image_range = reconstruction, (float(image_range[0]), float(image_range[1]))
        self.moments = GlobalMoments(latent_dim, var, memory)
        self.adversary = as_adversary(adversary, adversarial_weight)

    def players(self) -> list[Player]:
        """"autoencoder", and "discriminator" where there is one, in this order."""
        autoencoder = Player("autoencoder", trainable(self.encoder, self.decoder), self.loss, around=self._around,
                             compiled=whole_where_adaptive(self.loss, self.adversary))
        return [autoencoder] if self.adversary is None else self.adversary.players(autoencoder, self.discriminator_loss)

    # Codes and images.

    @takes_images
    def encode(self, x: Tensor) -> DiagonalGaussian:
        """q(z|x) of images [B, *data_shape], uint8 or float in [0, 1]: `mean`, `std` and `sample(generator)` are [B, k]."""
        return self._posterior(self.encoder(self._ranged(x)))

    def _ranged(self, x: Tensor) -> Tensor:
        x = in_dtype(x, self.kl_weight)
        low, high = self.image_range
        return x if (low, high) == (0, 1) else low + (high - low) * x

    def _posterior(self, out: Tensor | tuple[Tensor, Tensor]) -> DiagonalGaussian:
        mean, raw = out if isinstance(out, tuple) else out.chunk(2, dim=1)
        return DiagonalGaussian(full_precision(mean), full_precision(raw), getattr(self.encoder, "scale_param", "logvar"))

    def _decode_raw(self, z: Tensor) -> Tensor:
        """What the decoder returns: logits, or images on the scale [0, 1]."""
        raw = self.decoder(in_dtype(z, self.kl_weight))
        if not isinstance(raw, Tensor):
            raise wrong_output(raw, self.decoder, self.data_shape)
        raw = full_precision(raw)
        low, high = self.image_range
        return raw if gives_logits(self.decoder) or (low, high) == (0, 1) else (raw - low) / (high - low)

    def _activate(self, raw: Tensor) -> Tensor:
        return torch.sigmoid(raw) if gives_logits(self.decoder) else raw

    @takes_codes
    def decode(self, z: Tensor) -> Tensor:
        """Images [B, *data_shape] of codes [B, k], clipped to [0, 1]."""
        return clipped(self._activate(self._decode_raw(z)), self.decoder)

    @takes_images
    def reconstruct(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images decoded from a *drawn* code of each image, [B, *data_shape] in [0, 1]."""
        return self.decode(self.encode(x).sample(generator))

    def prior(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws from N(0, I), [n, latent_dim], on the model's device."""
        like = self.kl_weight
        return torch.randn(n, self.latent_dim, generator=generator, device=like.device, dtype=like.dtype)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Images of n draws from the prior, [n, *data_shape] in [0, 1]."""
        return self.decode(self.prior(n, generator))

    # Losses.

    @takes_images
    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the autoencoder's loss of a batch [B, *data_shape], images uint8 or in [0, 1]; B of 2 or more.

        Returns:
            Scalars: `loss`, and its terms before their weights: `reconstruction`, `global_kl`, `individual`, `kl` (these three in
            nats an image) and `adversarial`; and those of `collapse_terms`, detached.
        """
        posterior = self.encode(x)
        z, kl = posterior.sample_and_kl(generator)
        raw = self._decode_raw(z)
        terms = {"reconstruction": self._error(x, raw), "global_kl": self.moments.kl(posterior),
                 "individual": (0.5 * (posterior.std.square() - 1) - posterior.log_std).sum(1).mean(), "kl": kl.mean()}
        loss = (self.reconstruction_weight * terms["reconstruction"] + self.global_weight * terms["global_kl"]
                + self.individual_weight * terms["individual"] + self.kl_weight * terms["kl"])
        if self.adversary is not None:
            terms["adversarial"] = self.adversary.term(self._activate(raw))
            loss = self.adversary.added(loss, terms["adversarial"], self.decoder)
        return {"loss": loss, **terms, **collapse_terms(posterior, self.sync)}

    forward = loss

    @takes_images
    def discriminator_loss(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the discriminator's loss of the same batch; the autoencoder gets no gradient (see `ImageAdversary.loss`)."""
        if self.adversary is None:
            raise ArgumentError("this model has no adversary; build it with adversary=vaefast.nets.PatchGAN(channels).")
        return self.adversary.loss(x, lambda: self._activate(self._decode_raw(self.encode(x).sample(generator))))

    def _error(self, x: Tensor, raw: Tensor) -> Tensor:
        """Mean error of a pixel on the [-1, 1] scale, which is twice as wide as the scale of x and raw."""
        from_logits, dims = gives_logits(self.decoder), math.prod(self.data_shape)
        if self.reconstruction == "l1":
            return 2 / dims * ops.laplace_nll(x, raw, 0.0, from_logits=from_logits, return_error=True)[1].mean()
        return 4 / dims * ops.squared_error(x, raw, from_logits=from_logits).mean()

    @contextmanager
    def _around(self, parts: Parts) -> Iterator[None]:
        """The moments of an accumulated batch need all its codes: a pass through the encoder, which leaves no trace in it."""
        if len(parts) == 1:
            yield
            return
        with torch.no_grad():
            posteriors = [self._posterior(without_traces(self.encoder, self._ranged(x))) for x, *_ in parts]
        with self.moments.over(posteriors):
            yield
