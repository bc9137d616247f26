"""Wasserstein auto-encoders: a reconstruction cost, and a penalty that pulls the codes' distribution to the prior's."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from vaefast import ops
from vaefast.errors import ArgumentError
from vaefast.models.conditional import ConditionalModel
from vaefast.models.doors import takes_images
from vaefast.models.images import gives_logits
from vaefast.models.player import Player, trainable
from vaefast.models.posterior import DiagonalGaussian
from vaefast.models.prior_penalty import PriorPenalty, choice
from vaefast.models.standardiser import Standardiser
from vaefast.nets.own import own_network

Cost = Literal["l2sq", "l2", "l1"]
COST_FACTORS = {"l2sq": 0.05, "l2": 0.2, "l1": 0.02}
"""What each reconstruction cost is multiplied by in Tolstikhin et al.'s code."""


class WAE(ConditionalModel, PriorPenalty):
    """Minimises reconstruction cost + lambda * penalty(q(z), p(z)), where q(z) are the codes and p(z) = N(0, prior_std^2 I).

    A plain `nn.Module`: `model(x)` returns the (auto-encoder's) loss and its terms. WAE-GAN has an adversary beside it, with
    `adversary_loss`; `players()` says so to the engine.

    Args:
        encoder: module x -> mu [B, k], or (mu, raw), or [B, 2k] holding both; with posterior "deterministic" mu alone is used
            (build it with `deterministic=True` to have no more), with "gaussian" `raw` as in `VAE`.
        decoder: module z -> x_hat; its attribute `output` says what that is: "logits" (of the image in [0, 1]), or "image"
            (the image in `image_range`), which is taken if it has none.
        data_shape: shape of one example, such as (3, 64, 64).
        latent_dim: k.
        penalty: "mmd", the maximum mean discrepancy, or "gan", an adversary that tells codes from draws of the prior.
        lambda_: weight of the penalty; a buffer, which a stage's `ramps` can schedule.
        prior_std: standard deviation of the prior.
        kernel: of the MMD: "imq" (seven scales, summed, around 2 k prior_std^2), or "rbf" (bandwidth by medians, through which
            gradients flow).
        reconstruction: "l2sq", 0.05 times the squared error, "l2", 0.2 times its root, or "l1", 0.02 times the absolute error;
            sums over an example's dimensions, means over the batch.
        image_range: in what range the encoder sees images and the cost compares them, (0, 1) or (-1, 1) as in the authors'
            CelebA runs. Images that are given and returned are in [0, 1] (or uint8) either way.
        posterior: "deterministic" (z = mu) or "gaussian".
        prior_trick: add log p(z), which is known, to the adversary's output.
        adversary: module z [n, k] -> logit [n, 1]; `nets.LatentAdversary(latent_dim)` by default.
        standardiser: gives data that are real numbers of any scale the units of networks and costs
            (`vaefast.models.Standardiser`); None takes them as they are.
        classes, condition_dim: what encoder and decoder are conditioned on, as for `vaefast.models.VAE`; the penalty is of the
            codes of all conditions together.

    With the attribute `sync` set, MMD is that of the batch of all processes that train together.

    Raises:
        ArgumentError: a setting has a value that cannot work.

    Source: Tolstikhin et al. 2018, "Wasserstein Auto-Encoders", algorithms 1 and 2, with factors and kernels as in their code.
    """

    lambda_: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, data_shape: tuple[int, ...], latent_dim: int,
                 penalty: str = "mmd", lambda_: float = 100.0, prior_std: float = 1.0, kernel: str = "imq",
                 reconstruction: str = "l2sq", image_range: tuple[float, float] = (0.0, 1.0),
                 posterior: str = "deterministic", prior_trick: bool = True, adversary: nn.Module | None = None,
                 standardiser: Standardiser | None = None, classes: int | None = None,
                 condition_dim: int | None = None) -> None:
        super().__init__()
        self._set_penalty(penalty, latent_dim, prior_std=prior_std, kernel=kernel, prior_trick=prior_trick, adversary=adversary)
        choice("reconstruction", reconstruction, tuple(COST_FACTORS))
        choice("posterior", posterior, ("deterministic", "gaussian"))
        if not 0 <= lambda_ < math.inf:
            raise ArgumentError(f"lambda_ is {lambda_!r}; expected 0 or more.")
        if image_range not in ((0, 1), (-1, 1), [0, 1], [-1, 1]):
            raise ArgumentError(f"image_range is {image_range!r}; expected (0, 1) or (-1, 1).")
        told = classes is not None or condition_dim is not None
        self.encoder, self.decoder = own_network("encoder", encoder, told), own_network("decoder", decoder, told)
        self.data_shape, self.reconstruction, self.posterior = tuple(data_shape), reconstruction, posterior
        self.image_range = (float(image_range[0]), float(image_range[1]))
        self.standardiser = standardiser
        self.register_buffer("lambda_", torch.tensor(float(lambda_)), persistent=False)
        self._set_condition(classes, condition_dim)

    def players(self) -> list[Player]:
        """One player with MMD. Two with the adversary: an update of encoder and decoder, then one of the adversary on the same
        images."""
        if self.adversary is None:
            return [Player("model", trainable(self), self)]
        return [Player("autoencoder", trainable(self.encoder, self.decoder), self.loss),
                Player("adversary", trainable(self.adversary), self.adversary_loss, new_batch=False)]

    @property
    def _like(self) -> Tensor:
        return self.lambda_

    @takes_images
    def encode(self, x: Tensor, condition: Tensor | None = None) -> DiagonalGaussian:
        """q(z|x) of inputs [B, *data_shape], images as uint8 or float in [0, 1]: its `mean`, `std` (0 if deterministic) and
        `sample(generator)` are [B, k]."""
        x = self._seen(x)
        low, high = self.image_range
        return self._posterior(self.encoder(x if (low, high) == (0, 1) else low + (high - low) * x, *self._told(condition)))

    def _decode_raw(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """What the decoder returns: logits, or images in [0, 1]."""
        raw = super()._decode_raw(z, condition)
        low, high = self.image_range
        return raw if gives_logits(self.decoder) or (low, high) == (0, 1) else (raw - low) / (high - low)

    @takes_images
    def loss(self, x: Tensor, condition: Tensor | None = None, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the auto-encoder's loss of a batch [B, *data_shape], images uint8 or in [0, 1]; B of 2 or more with MMD.
        `condition`: classes [B] or vectors [B, d], of a model that is conditioned on such.

        Returns scalars `loss` = `reconstruction` + lambda `penalty`. The penalty is MMD^2 (unbiased, so it can be negative),
        or how well the codes pass for draws of the prior, mean softplus(-T(z)); the adversary T gets no gradient from it.
        """
        codes = self.encode(x, condition).sample(generator)
        reconstruction = self._cost(self._units(x), self._decode_raw(codes, condition))
        penalty = self._penalty(codes, generator)
        return {"loss": torch.addcmul(reconstruction, self.lambda_, penalty), "reconstruction": reconstruction,
                "penalty": penalty}

    forward = loss

    @takes_images
    def adversary_loss(self, x: Tensor, condition: Tensor | None = None,
                       generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the adversary's loss of a batch as for `loss`; encoder and decoder get no gradient from it.

        Returns scalars `loss` = lambda (mean softplus(-T(p)) + mean softplus(T(q))) for draws p of the prior and codes q, and,
        detached, `accuracy`: the share of both that it tells right.
        """
        with torch.no_grad():
            codes = self.encode(x, condition).sample(generator)
        return self._adversary_terms(codes, self.lambda_, generator)

    def _cost(self, x: Tensor, raw: Tensor) -> Tensor:
        """The reconstruction cost, a scalar. Errors are taken in [0, 1] and scaled to the image range."""
        width, from_logits = self.image_range[1] - self.image_range[0], gives_logits(self.decoder)
        if self.reconstruction == "l1":
            cost = width * ops.laplace_nll(x, raw, 0.0, from_logits=from_logits, return_error=True)[1]
        else:
            cost = width**2 * ops.squared_error(x, raw, from_logits=from_logits)
            if self.reconstruction == "l2":
                cost = torch.sqrt(1e-8 + cost)
        return COST_FACTORS[self.reconstruction] * cost.mean()
