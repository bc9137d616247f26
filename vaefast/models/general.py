"""The family of objectives E_q[log p(x|z)] - R(q): any distribution of the data given a code, with any regulariser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models.diagnostics import collapse_terms
from vaefast.models.doors import as_codes, takes_codes, takes_images
from vaefast.models.families import Family, make_family
from vaefast.models.images import full_precision, in_dtype
from vaefast.models.latent_model import LatentModel
from vaefast.models.mode import evaluating
from vaefast.models.player import Player, trainable
from vaefast.models.prior_penalty import choice
from vaefast.models.regularizers import AggregatePrior, Regularizer, make_regularizer
from vaefast.models.standardiser import Standardiser
from vaefast.nets.own import own_network
from vaefast.nets.weight_norm import initialise_from_data, normed_layers


class GeneralVAE(LatentModel):
    """Maximises E_{q(z|x)}[log p(x|z)] - R(q), with q(z|x) = N(mu, diag s^2) and the prior N(0, I).

    A plain `nn.Module`: `model(x)` returns the loss and its terms. With the "adversarial" regulariser there is an adversary
    beside it, with `adversary_loss`; `players()` says so to the engine.

    Args:
        encoder: module x -> (mu, raw), or x -> [B, 2k] holding both, as for `VAE`; mu alone if the posterior is deterministic.
        decoder: module z -> raw, what `family` reads p(x|z) from. An autoregressive one (attribute `autoregressive = True`) is
            called as decoder(z, x) and draws images with `decoder.generate(z, generator)`.
        data_shape: shape of one example, such as (1, 28, 28); channels first.
        latent_dim: k.
        family: "bernoulli", "gaussian", "laplace", "logistic-mixture", "categorical", or a `vaefast.models.families.Family`;
            None for what the decoder says in its attribute `family`, and "bernoulli" if it says nothing.
        regularizer: "elbo", "none", "l2norm", "center", "mmd", "adversarial", "tc" or "info" (see
            `vaefast.models.regularizers`), a `Regularizer`, or a function of (mu, scale, z), [B, k] each, scale the posterior's
            standard deviation, that returns R of each example [B] or of the batch [].
        gamma, gamma_init: scale of the noise of "gaussian" and "laplace": "learned", "optimal" or a number.
        posterior: "gaussian", or "deterministic" (z = mu) for regularisers that stay finite there.
        reduction: "sum": the true objective, in nats per example. "mean": mean over the dimensions of an example and, of a
            regulariser that is a sum over them, the mean over latent dimensions, as Zhao et al.'s PixelCNN code has it; R then
            weighs (dimensions of the data) / k times what it should, 78.4 for 784 pixels and 10 latent dimensions.
        standardiser: gives data that are real numbers of any scale the units of networks, losses and gamma
            (`vaefast.models.Standardiser`); None takes them as they are.
        options: of the regulariser named: `beta`, `lambda_`, `alpha`, `kernel`, `adversary`, ...; its weights are buffers that a
            stage's `ramps` can schedule ("regularizer.beta").

    Raises:
        ArgumentError: a setting has a value that cannot work.

    Source: Zhao, Song & Ermon 2017, "Towards Deeper Understanding of Variational Autoencoding Models".
    """

    _zero: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, data_shape: tuple[int, ...], latent_dim: int,
                 family: str | Family | None = None, regularizer: str | Regularizer | Callable[..., Tensor] = "elbo",
                 gamma: str | float = "learned", gamma_init: float = 1.0, posterior: str = "gaussian", reduction: str = "sum",
                 standardiser: Standardiser | None = None, **options: Any) -> None:
        super().__init__()
        choice("posterior", posterior, ("gaussian", "deterministic"))
        choice("reduction", reduction, ("sum", "mean"))
        self.encoder, self.decoder = own_network("encoder", encoder), own_network("decoder", decoder)
        self.data_shape, self.latent_dim, self.posterior, self.reduction = tuple(data_shape), latent_dim, posterior, reduction
        self.autoregressive = bool(getattr(decoder, "autoregressive", False))
        if family is None:
            family = getattr(decoder, "family", "bernoulli")
        self.family = family if isinstance(family, Family) else make_family(
            family, self.data_shape[0], decoder, gamma=gamma, gamma_init=gamma_init, levels=getattr(decoder, "levels", 256))
        self.regularizer = make_regularizer(regularizer, latent_dim, **options)
        if posterior == "deterministic" and self.regularizer.needs_spread:
            raise ArgumentError(f"regularizer {regularizer!r} is infinite for a deterministic posterior; use posterior="
                                "'gaussian', or none, l2norm, mmd or adversarial.")
        self.prior_std = getattr(self.regularizer, "prior_std", 1.0)
        self.sync, self.standardiser = False, standardiser
        self.register_buffer("_zero", torch.zeros(()), persistent=False)

    @property
    def _like(self) -> Tensor:
        return self._zero

    @property
    def likelihood(self) -> str:
        """Name of the family."""
        return self.family.name

    @property
    def gamma(self) -> Tensor:
        """Scale of the decoder's noise, of a family that has one; a scalar."""
        return cast(Tensor, self.family.gamma)

    def players(self) -> list[Player]:
        """One player; with an adversary a second, which takes its turn on the same images."""
        regularizer = self.regularizer
        if not (isinstance(regularizer, AggregatePrior) and regularizer.adversary is not None):
            return [Player("model", trainable(self), self)]
        return [Player("autoencoder", trainable(self.encoder, self.decoder, self.family), self.loss),
                Player("adversary", trainable(regularizer.adversary), self.adversary_loss, new_batch=False)]

    @takes_images
    @torch.no_grad()
    def initialise_from_data(self, x: Tensor) -> None:
        """Set the lengths and biases of weight-normed layers, where there are such, by these examples [B, *data_shape] and a code
        of each (`vaefast.nets.initialise_from_data`)."""
        if normed_layers(self.encoder):
            initialise_from_data(self.encoder, self._seen(x))
        if normed_layers(self.decoder):
            z = in_dtype(self.encode(x).sample(), self._like)
            initialise_from_data(self.decoder, *((z, self._seen(x)) if self.autoregressive else (z,)))

    def _raw(self, z: Tensor, x: Tensor) -> Tensor:
        """What the decoder says of p(x|z) at the data x."""
        if not self.autoregressive:
            return self._decode_raw(z)
        return full_precision(self.decoder(in_dtype(z, self._like), self._seen(x)))

    @takes_codes
    def decode(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images [B, *data_shape] of codes [B, k]: the mean of p(x|z); a draw of it, where the decoder is autoregressive."""
        if self.autoregressive:
            generate: Any = self.decoder.generate
            return self._own(full_precision(generate(in_dtype(z, self._like), generator=generator)))
        return self._own(self.family.mean(self._decode_raw(z)))

    @takes_codes
    def draw(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """x ~ p(x|z) of codes [B, k], [B, *data_shape]: with the noise that `decode` leaves out, and not clipped."""
        if self.autoregressive:
            return self.decode(z, generator)
        return self._own(self.family.sample(self._decode_raw(z), generator))

    @takes_images
    def reconstruct(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images decoded from a *drawn* code of each image, [B, *data_shape]."""
        return self.decode(self.encode(x).sample(generator), generator)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Images of n draws from the prior, [n, *data_shape]."""
        return self.decode(self.prior(n, generator), generator)

    @takes_images
    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) in nats of examples [B, *data_shape] given codes [B, k], [B]: of data in their own units."""
        with evaluating(self.family):  # gamma in closed form is that of the training, and no batch's own
            return self._log_density(self.family.nll(self._units(x), self._raw(as_codes(self, z), x)))

    @takes_images
    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the negative objective of a batch [B, *data_shape] (images uint8 or in [0, 1]), in nats (batch means).

        Returns scalars `loss` = `reconstruction` + `regularizer` (with gradient), what R is made of (`kl`, `penalty`,
        `total_correlation`) and, detached, `gamma` and, of posteriors with spread, those of `collapse_terms`.
        """
        posterior = self.encode(x)
        z, value, parts = self.regularizer(posterior, generator)
        reconstruction, value = self.family.nll(self._units(x), self._raw(z, x)).mean(), value.mean()
        if self.reduction == "mean":
            reconstruction = reconstruction / x[0].numel()
            value = value / self.latent_dim if self.regularizer.extensive else value
        terms = {"loss": reconstruction + value, "reconstruction": reconstruction, "regularizer": value}
        terms |= {name: part.mean() for name, part in parts.items()}
        if hasattr(self.family, "log_gamma"):
            terms["gamma"] = self.family.gamma
        if self.posterior == "gaussian":
            terms |= collapse_terms(posterior, self.sync)
        return terms

    forward = loss

    @takes_images
    def adversary_loss(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the adversary's loss of a batch as for `loss`: `loss`, and its `accuracy`; the rest gets no gradient."""
        if not isinstance(self.regularizer, AggregatePrior):
            raise ArgumentError("this model has no adversary; build it with regularizer='adversarial'.")
        with torch.no_grad():
            codes = self.encode(x).sample(generator)
        return self.regularizer.adversary_loss(codes, generator)
