"""A variational autoencoder with a Gaussian decoder of one noise level gamma, or a cross-entropy decoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models.adversarial import as_adversary
from vaefast.models.conditional import ConditionalModel
from vaefast.models.diagnostics import collapse_terms
from vaefast.models.doors import as_codes, takes_codes, takes_images
from vaefast.models.images import gives_logits
from vaefast.models.likelihood import HALF_LOG_2PI, bernoulli_nll, squared_error
from vaefast.models.mode import evaluating
from vaefast.models.noise_level import NoiseLevel
from vaefast.models.perceptual import PerceptualLoss
from vaefast.models.player import Player, trainable
from vaefast.models.posterior import DiagonalGaussian, FlowPosterior
from vaefast.models.standardiser import Standardiser
from vaefast.models.weighted_term import TermWeight, whole_where_adaptive
from vaefast.nets.own import own_network

Likelihood = Literal["gaussian", "bernoulli", "squared"]
LIKELIHOODS: tuple[Likelihood, ...] = get_args(Likelihood)
_FAR_ABOVE = 2.0
"""Times its optimum from which a trained gamma is called far above it."""


class VAE(ConditionalModel, NoiseLevel):
    """q(z|x) = N(mu, diag s^2), p(x|z) = N(x_hat(z), gamma^2 I), p(z) = N(0, I).

    A plain `nn.Module`: `model(x)` returns the loss and its terms, so that any training loop can train it.

    Args:
        encoder: module x -> (mu, raw), or x -> [B, 2k] holding both; its attribute `scale_param` says how `raw`
            gives s ("logvar" if it has none; see `vaefast.nets`).
        decoder: module z -> x_hat; its attribute `output` says what that is ("image" if it has none).
        data_shape: shape of one example, such as (1, 28, 28) or (64,).
        latent_dim: k.
        gamma: "learned" (a trained scalar, starting at `gamma_init`), "optimal" (the closed form gamma^2 = mean
            squared error of each batch; Rybkin et al. 2021), or a number (fixed).
        likelihood: "gaussian", "bernoulli" (cross-entropy), or "squared": the reconstruction term is the squared error, summed
            over dimensions, and nothing else, as in Hinrichsen 2023. Gamma is unused in the latter two.
        image_range: the range of pixels in which "squared" takes its errors: (0, 1), or (-1, 1), which makes them 4 times as
            large. Images that are given and returned are in [0, 1] (or uint8) either way.
        gamma_init: first value of a learned gamma.
        beta: weight of the KL (beta-VAE, Higgins et al. 2017); a buffer, which a stage's `ramps` can schedule.
        flow: module z0 [B, k] -> (z [B, k], log|det| [B]) that the draws z0 ~ N(mu, diag s^2) pass on their way to the decoder,
            such as `vaefast.nets.Flow("planar", 10, latent_dim)`. The KL is then a one-sample estimate (`FlowPosterior`).
        adversary: a discriminator of images in [-1, 1], such as `vaefast.nets.PatchGAN(channels)`, that reconstructions have to
            pass (`vaefast.models.ImageAdversary`): a second player beside the VAE. None for none.
        adversarial_weight: of its term, a number or "adaptive" (`vaefast.models.WeightedTerm`).
        perceptual: a network of features, or a `vaefast.models.PerceptualLoss`, in which reconstructions have to be near their
            images, too. None for none.
        perceptual_weight: of its term, a number or "adaptive".
        standardiser: gives data that are real numbers of any scale the units of networks, losses and gamma
            (`vaefast.models.Standardiser`); None takes them as they are.
        classes: number of classes, if p(x|z, c) and q(z|x, c) are conditioned on one. Networks are then called with the classes
            [B] after their input, and so are losses, encode, decode and what else takes examples or codes, as `condition`.
        condition_dim: d, instead of it, if they are conditioned on vectors [B, d] of real numbers.

    With the attribute `sync` set, the closed-form gamma is that of the batch of all processes that train together.

    Raises:
        ArgumentError: a setting has a value that cannot work.

    Source: Dai & Wipf 2019, sections 2 and 4; gamma is the standard deviation as in their code.
    """

    beta: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, data_shape: tuple[int, ...], latent_dim: int,
                 gamma: str | float = "learned", likelihood: str = "gaussian", gamma_init: float = 1.0,
                 beta: float = 1.0, flow: nn.Module | None = None, image_range: tuple[float, float] = (0, 1),
                 adversary: Any = None, adversarial_weight: TermWeight = 100.0, perceptual: Any = None,
                 perceptual_weight: TermWeight = "adaptive", standardiser: Standardiser | None = None,
                 classes: int | None = None, condition_dim: int | None = None) -> None:
        super().__init__()
        if likelihood not in LIKELIHOODS:
            raise ArgumentError(f"likelihood is {likelihood!r}; expected one of {', '.join(LIKELIHOODS)}.")
        if tuple(image_range) not in ((0, 1), (-1, 1)):
            raise ArgumentError(f"image_range is {image_range!r}; expected (0, 1) or (-1, 1).")
        if likelihood == "bernoulli" and not gives_logits(decoder):
            raise ArgumentError("likelihood 'bernoulli' needs a decoder that returns logits (attribute output = 'logits').")
        if flow is not None and getattr(flow, "latent_dim", latent_dim) != latent_dim:
            raise ArgumentError(f"flow is built for {flow.latent_dim} dimensions; latent_dim is {latent_dim}.")
        told = classes is not None or condition_dim is not None
        self.encoder, self.decoder = own_network("encoder", encoder, told), own_network("decoder", decoder, told)
        self.flow = flow
        self.adversary = as_adversary(adversary, adversarial_weight)
        kept = perceptual is None or isinstance(perceptual, PerceptualLoss)
        self.perceptual: PerceptualLoss | None = perceptual if kept else PerceptualLoss(perceptual, perceptual_weight)
        self.data_shape, self.latent_dim = tuple(data_shape), latent_dim
        self.likelihood, self.sync, self.standardiser = likelihood, False, standardiser
        self.image_range = (float(image_range[0]), float(image_range[1]))
        if not 0 <= beta < math.inf:
            raise ArgumentError(f"beta is {beta!r}; expected 0 or more.")
        self.register_buffer("beta", torch.tensor(float(beta)), persistent=False)
        self._set_gamma(gamma, gamma_init, learns=likelihood == "gaussian")
        self._set_condition(classes, condition_dim)

    def players(self) -> list[Player]:
        """One player, or two with an adversary: the VAE, then the discriminator on the same images and reconstructions."""
        compiled = whole_where_adaptive(self.loss, self.adversary, self.perceptual)
        if self.adversary is None:
            return [Player("model", trainable(self), self, compiled=compiled)]
        judged = {name for name, _ in self.named_parameters() if name.startswith("adversary.")}
        autoencoder = {name: p for name, p in trainable(self).items() if name not in judged}
        return self.adversary.players(Player("autoencoder", autoencoder, self.loss, compiled=compiled), self.discriminator_loss)

    @property
    def _like(self) -> Tensor:
        return self.log_gamma

    @takes_images
    def encode(self, x: Tensor, condition: Tensor | None = None) -> DiagonalGaussian | FlowPosterior:
        """Posterior q(z|x) of inputs [B, *data_shape]; images as uint8, or float in [0, 1]. Draws of it are codes z."""
        base = self._posterior(self.encoder(self._seen(x), *self._told(condition)))
        return base if self.flow is None else FlowPosterior(base, self.flow)

    @takes_codes
    def draw(self, z: Tensor, generator: torch.Generator | None = None, condition: Tensor | None = None) -> Tensor:
        """x ~ p(x|z) of codes [B, k], [B, *data_shape]: Gaussian noise gamma on every value, or pixels of 0 and 1.

        Likelihood "squared" is an error and no distribution: it raises ArgumentError.
        """
        if self.likelihood == "squared":
            raise ArgumentError("likelihood 'squared' is an error, and no distribution p(x|z) to draw pixels from; decode codes "
                                "instead, or choose 'gaussian'.")
        mean = self._activate(self._decode_raw(z, condition))
        if self.likelihood == "bernoulli":
            return torch.bernoulli(mean, generator=generator)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        return self._own(mean + self.gamma * noise)

    @takes_images
    def loss(self, x: Tensor, condition: Tensor | None = None, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the negative ELBO of a batch [B, *data_shape] (images uint8 or in [0, 1]), in nats per example (batch means).
        `condition`: classes [B] or vectors [B, d], of a model that is conditioned on such.

        With likelihood "squared" the reconstruction is a squared error instead. With a standardiser all of it is of standardised
        data; `log_likelihood` is of the data in their own units.

        Returns scalars `loss` = `reconstruction` + beta `kl` (+ weight `perceptual` + weight `adversarial`), with gradient, and,
        detached, `gamma` and those of `collapse_terms`, such as `active_dimensions`.
        """
        posterior = self.encode(x, condition)
        return self.terms(x, *posterior.sample_and_kl(generator), condition) | collapse_terms(posterior, self.sync)

    forward = loss

    def terms(self, x: Tensor, z: Tensor, kl: Tensor, condition: Tensor | None = None) -> dict[str, Tensor]:
        """Those of `loss` that are of codes z [B, k] drawn of q(z|x), and of its KL to the prior of codes in nats [B]."""
        raw = self._decode_raw(z, condition)
        reconstruction, kl = self._nll(self._units(x), raw).mean(), kl.mean()
        terms = {"loss": torch.addcmul(reconstruction, self.beta, kl), "reconstruction": reconstruction, "kl": kl}
        images = None if self.perceptual is None and self.adversary is None else self._activate(raw)
        if self.perceptual is not None and images is not None:
            terms["perceptual"] = self.perceptual.term(images, x)
            terms["loss"] = self.perceptual.added(terms["loss"], terms["perceptual"], self.decoder)
        if self.adversary is not None and images is not None:
            terms["adversarial"] = self.adversary.term(images)
            terms["loss"] = self.adversary.added(terms["loss"], terms["adversarial"], self.decoder)
        if self.likelihood == "gaussian":
            terms["gamma"] = self.gamma
        return terms

    def doubt(self, terms: Mapping[str, float]) -> str | None:
        """What is doubtful about a training that ends with these means of `loss`: a trained gamma that is far above the errors.

        An optimal gamma is their root mean square, which follows from the likelihood and gamma.
        """
        if self.likelihood != "gaussian" or self.gamma_mode != "learned" or not {"reconstruction", "gamma"} <= terms.keys():
            return None
        gamma, per_value = terms["gamma"], terms["reconstruction"] / math.prod(self.data_shape)
        error = gamma * math.sqrt(max(0.0, 2 * (per_value - math.log(gamma) - HALF_LOG_2PI)))
        if gamma <= _FAR_ABOVE * error:
            return None
        return (f"gamma is still {gamma:.3g} where the root mean square error is {error:.3g}, so this was trained as if data "
                "were that noisy. Adam moves a learned gamma e-fold in 1 / lr steps: train longer, "
                "raise gamma_lr_factor, or take gamma 'optimal'")

    def _nll(self, x: Tensor, raw: Tensor) -> Tensor:
        """The reconstruction term of each example [B], of what the decoder returned."""
        logits = gives_logits(self.decoder)
        if self.likelihood == "bernoulli":
            return bernoulli_nll(x, raw)
        if self.likelihood == "squared":
            width = self.image_range[1] - self.image_range[0]
            return width**2 * squared_error(x, raw, from_logits=logits)
        return self._scaled_nll(x, raw, from_logits=logits)

    @takes_images
    def log_likelihood(self, x: Tensor, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """log p(x|z) in nats of examples [B, *data_shape] given codes [B, k], [B]: of data in their own units.

        Likelihood "squared" is an error and no distribution: it raises ArgumentError.
        """
        if self.likelihood == "squared":
            raise ArgumentError("likelihood 'squared' is an error, and no distribution p(x|z); choose 'gaussian'.")
        with evaluating(self):  # gamma in closed form is that of the training, and no batch's own
            return self._log_density(self._nll(self._units(x), self._decode_raw(as_codes(self, z), condition)))

    @takes_images
    def discriminator_loss(self, x: Tensor, condition: Tensor | None = None,
                           generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the discriminator's loss of the same batch; the VAE gets no gradient (see `ImageAdversary.loss`)."""
        if self.adversary is None:
            raise ArgumentError("this VAE has no adversary; build it with adversary=vaefast.nets.PatchGAN(channels).")
        return self.adversary.loss(x, lambda: self.reconstruct(x, generator, condition))
