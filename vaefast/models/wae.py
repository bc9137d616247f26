"""Wasserstein auto-encoders: a reconstruction cost, and a penalty that pulls the codes' distribution to the prior's."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from vaefast import ops
from vaefast.errors import ArgumentError
from vaefast.models.images import as_float, full_precision, gives_logits
from vaefast.models.player import Player, trainable
from vaefast.models.posterior import DiagonalGaussian, PointMass
from vaefast.nets import LatentAdversary
from vaefast.nets.global_batch import global_rows, processes
from vaefast.ops.mmd import IMQ_SCALES

COST_FACTORS = {"l2sq": 0.05, "l2": 0.2, "l1": 0.02}
"""What each reconstruction cost is multiplied by in Tolstikhin et al.'s code."""


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ArgumentError(f"{name} is {value!r}; expected one of {', '.join(choices)}.")


class WAE(nn.Module):
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

    With the attribute `sync` set, MMD is that of the batch of all processes that train together.

    Raises:
        ArgumentError: a setting has a value that cannot work.

    Source: Tolstikhin et al. 2018, "Wasserstein Auto-Encoders", algorithms 1 and 2, with factors and kernels as in their code.
    """

    lambda_: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, data_shape: tuple[int, ...], latent_dim: int,
                 penalty: str = "mmd", lambda_: float = 100.0, prior_std: float = 1.0, kernel: str = "imq",
                 reconstruction: str = "l2sq", image_range: tuple[float, float] = (0.0, 1.0),
                 posterior: str = "deterministic", prior_trick: bool = True, adversary: nn.Module | None = None) -> None:
        super().__init__()
        _choice("penalty", penalty, ("mmd", "gan"))
        _choice("kernel", kernel, ("imq", "rbf"))
        _choice("reconstruction", reconstruction, tuple(COST_FACTORS))
        _choice("posterior", posterior, ("deterministic", "gaussian"))
        if not 0 <= lambda_ < math.inf:
            raise ArgumentError(f"lambda_ is {lambda_!r}; expected 0 or more.")
        if not 0 < prior_std < math.inf:
            raise ArgumentError(f"prior_std is {prior_std!r}; expected a number above 0.")
        if image_range not in ((0, 1), (-1, 1), [0, 1], [-1, 1]):
            raise ArgumentError(f"image_range is {image_range!r}; expected (0, 1) or (-1, 1).")
        if adversary is not None and penalty == "mmd":
            raise ArgumentError("an adversary was given with penalty 'mmd', which has none; pass penalty='gan', or no adversary.")
        self.encoder, self.decoder = encoder, decoder
        self.data_shape, self.latent_dim = tuple(data_shape), latent_dim
        self.penalty, self.kernel, self.reconstruction, self.posterior = penalty, kernel, reconstruction, posterior
        self.prior_std, self.prior_trick, self.sync = float(prior_std), prior_trick, False
        self.image_range = (float(image_range[0]), float(image_range[1]))
        self.register_buffer("lambda_", torch.tensor(float(lambda_)), persistent=False)
        self.adversary = (adversary or LatentAdversary(latent_dim)) if penalty == "gan" else None

    def players(self) -> list[Player]:
        """One player with MMD. Two with the adversary: an update of encoder and decoder, then one of the adversary on the same
        images."""
        if self.adversary is None:
            return [Player("model", trainable(self), self)]
        return [Player("autoencoder", trainable(self.encoder, self.decoder), self.loss),
                Player("adversary", trainable(self.adversary), self.adversary_loss, new_batch=False)]

    # Codes and images.

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """q(z|x) of inputs [B, *data_shape], images as uint8 or float in [0, 1]: its `mean`, `std` (0 if deterministic) and
        `sample(generator)` are [B, k]."""
        x = as_float(x, self.lambda_.dtype)
        low, high = self.image_range
        out = self.encoder(x if (low, high) == (0, 1) else low + (high - low) * x)
        if not isinstance(out, tuple):
            out = out.split(self.latent_dim, dim=1)
        if self.posterior == "deterministic":
            return PointMass(full_precision(out[0]))
        if len(out) != 2:
            raise ArgumentError(f"posterior 'gaussian' needs an encoder that returns (mu, raw); this one returns {len(out)} "
                                f"tensor(s) of {self.latent_dim} dimensions. Build it with deterministic=False.")
        return DiagonalGaussian(full_precision(out[0]), full_precision(out[1]), getattr(self.encoder, "scale_param", "logvar"))

    def _decode_raw(self, z: Tensor) -> Tensor:
        """What the decoder returns: logits, or images in [0, 1]."""
        raw = full_precision(self.decoder(z))
        low, high = self.image_range
        return raw if gives_logits(self.decoder) or (low, high) == (0, 1) else (raw - low) / (high - low)

    def decode(self, z: Tensor) -> Tensor:
        """Images [B, *data_shape] of codes [B, k], in [0, 1] (as far as the decoder keeps to its range)."""
        raw = self._decode_raw(z)
        return torch.sigmoid(raw) if gives_logits(self.decoder) else raw

    def reconstruct(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images decoded from a code of each image (a drawn one, if the posterior is Gaussian), [B, *data_shape] in [0, 1]."""
        return self.decode(self.encode(x).sample(generator))

    def prior(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws from N(0, prior_std^2 I), [n, latent_dim], on the model's device."""
        like = self.lambda_
        return self.prior_std * torch.randn(n, self.latent_dim, generator=generator, device=like.device, dtype=like.dtype)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Images of n draws from the prior, [n, *data_shape] in [0, 1]."""
        return self.decode(self.prior(n, generator))

    def _prior_beside(self, codes: Tensor, generator: torch.Generator | None, whole: bool = False) -> Tensor:
        """Draws of the prior, one for each code: other ones in each process, or all of them if the codes are `whole`."""
        zeros = torch.zeros_like(codes)
        return ops.reparameterize(zeros, zeros + math.log(self.prior_std), param="logstd", generator=generator,
                                  row_offset=0 if whole else ops.row_offset(len(codes)))

    # Losses.

    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the auto-encoder's loss of a batch [B, *data_shape], images uint8 or in [0, 1]; B of 2 or more with MMD.

        Returns scalars `loss` = `reconstruction` + lambda `penalty`. The penalty is MMD^2 (unbiased, so it can be negative),
        or how well the codes pass for draws of the prior, mean softplus(-T(z)); the adversary T gets no gradient from it.
        """
        codes = self.encode(x).sample(generator)
        reconstruction = self._cost(x, self._decode_raw(codes))
        penalty = self._mmd(codes, generator) if self.adversary is None else F.softplus(-self._judged(codes)).mean()
        return {"loss": torch.addcmul(reconstruction, self.lambda_, penalty), "reconstruction": reconstruction,
                "penalty": penalty}

    forward = loss

    def adversary_loss(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the adversary's loss of a batch as for `loss`; encoder and decoder get no gradient from it.

        Returns scalars `loss` = lambda (mean softplus(-T(p)) + mean softplus(T(q))) for draws p of the prior and codes q, and,
        detached, `accuracy`: the share of both that it tells right.
        """
        with torch.no_grad():
            codes = self.encode(x).sample(generator)
        real, fake = self.adversary_logits(self._prior_beside(codes, generator)), self.adversary_logits(codes)
        loss = self.lambda_ * (F.softplus(-real).mean() + F.softplus(fake).mean())
        with torch.no_grad():
            accuracy = 0.5 * ((real > 0).to(loss.dtype).mean() + (fake < 0).to(loss.dtype).mean())
        return {"loss": loss, "accuracy": accuracy}

    def adversary_logits(self, z: Tensor) -> Tensor:
        """T(z) of codes [n, k], [n, 1]: above 0 where the adversary takes z for a draw of the prior."""
        if self.adversary is None:
            raise ArgumentError(f"this WAE has penalty {self.penalty!r} and no adversary; build it with penalty='gan'.")
        return self._with_log_prior(z, self.adversary(z))

    def _judged(self, z: Tensor) -> Tensor:
        """T(z) with gradients to z alone."""
        frozen = {name: p.detach() for name, p in self.adversary.named_parameters()}
        return self._with_log_prior(z, functional_call(self.adversary, frozen, (z,)))

    def _with_log_prior(self, z: Tensor, logits: Tensor) -> Tensor:
        logits = full_precision(logits)
        if logits.shape != (len(z), 1):  # [n] would broadcast to [n, n] below
            raise ArgumentError(f"the adversary returned shape {list(logits.shape)} for {len(z)} codes; expected {[len(z), 1]}.")
        if not self.prior_trick:
            return logits
        variance = self.prior_std**2
        # the authors' constant: 0.5 log 2 pi once, not k times; the adversary's bias makes up for it
        constant = 0.5 * math.log(2 * math.pi) + 0.5 * self.latent_dim * math.log(variance)
        return logits - z.square().sum(1, keepdim=True) / (2 * variance) - constant

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

    def _mmd(self, codes: Tensor, generator: torch.Generator | None) -> Tensor:
        """Unbiased MMD^2 of the codes and as many draws of the prior, a scalar."""
        whole = self.sync and processes() > 1
        if whole:
            codes = global_rows(codes)
        prior = self._prior_beside(codes, generator, whole)
        if self.kernel == "imq":
            return ops.mmd2(codes, prior, scales=[s * self.prior_std**2 for s in IMQ_SCALES])
        # dividing the samples, not the distances, by the bandwidth lets its gradient through
        bandwidth = rbf_bandwidth(codes, prior)
        return ops.mmd2(codes / bandwidth, prior / bandwidth, kernel="rbf", scales=1.0)


def rbf_bandwidth(codes: Tensor, prior: Tensor) -> Tensor:
    """s of the kernel exp(-d^2 / (2 s^2)): s^2 = median squared distance between codes and draws of the prior + that between
    different codes. A scalar with gradient.

    Source: Tolstikhin et al.'s code, `mmd_penalty`.
    """
    exact = "donot_use_mm_for_euclid_dist"
    within, between = (torch.cdist(codes, other, compute_mode=exact).flatten() for other in (codes, prior))
    n = len(codes)
    same = within.kthvalue(n + (n * n - n + 1) // 2).values  # the n distances of codes to themselves are 0 and come first
    return (same.square() + between.median().square()).sqrt()
