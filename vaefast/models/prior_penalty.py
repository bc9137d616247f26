"""Penalties on how far a batch of codes is from draws of the prior: maximum mean discrepancy, or an adversary's opinion."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from vaefast import ops
from vaefast.errors import ArgumentError
from vaefast.models.images import full_precision
from vaefast.nets import LatentAdversary
from vaefast.nets.global_batch import global_rows, processes
from vaefast.ops.mmd import IMQ_SCALES

Kernel = Literal["imq", "rbf"]


def choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """`ArgumentError` if `value` is none of `choices`."""
    if value not in choices:
        raise ArgumentError(f"{name} is {value!r}; expected one of {', '.join(choices)}.")


class PriorPenalty(nn.Module):
    """Compares codes with the prior N(0, prior_std^2 I). With `sync` set, MMD is that of the batch of all processes.

    Source: Tolstikhin et al. 2018, "Wasserstein Auto-Encoders", algorithms 1 and 2, with kernels as in their code.
    """

    adversary: nn.Module | None
    sync = False

    def _set_penalty(self, penalty: str, latent_dim: int, *, prior_std: float, kernel: str, prior_trick: bool,
                     adversary: nn.Module | None) -> None:
        """Check and set everything; "gan" makes an adversary where none is given."""
        choice("penalty", penalty, ("mmd", "gan"))
        choice("kernel", kernel, ("imq", "rbf"))
        if not 0 < prior_std < math.inf:
            raise ArgumentError(f"prior_std is {prior_std!r}; expected a number above 0.")
        if adversary is not None and penalty == "mmd":
            raise ArgumentError("an adversary was given with penalty 'mmd', which has none; pass penalty='gan', or no adversary.")
        self.penalty, self.latent_dim, self.kernel = penalty, latent_dim, kernel
        self.prior_std, self.prior_trick = float(prior_std), prior_trick
        self.adversary = (adversary or LatentAdversary(latent_dim)) if penalty == "gan" else None

    def _penalty(self, codes: Tensor, generator: torch.Generator | None) -> Tensor:
        """MMD^2 of codes [n, k] (unbiased, so it can be negative), or how well they pass for draws of the prior, mean
        softplus(-T(z)); the adversary T gets no gradient from it. A scalar."""
        return self._mmd(codes, generator) if self.adversary is None else F.softplus(-self._judged(codes)).mean()

    def _prior_beside(self, codes: Tensor, generator: torch.Generator | None, whole: bool = False) -> Tensor:
        """Draws of the prior, one for each code: other ones in each process, or all of them if the codes are `whole`."""
        zeros = torch.zeros_like(codes)
        return ops.reparameterize(zeros, zeros + math.log(self.prior_std), param="logstd", generator=generator,
                                  row_offset=0 if whole else ops.row_offset(len(codes)))

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

    def _adversary_terms(self, codes: Tensor, weight: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        """`loss` = weight (mean softplus(-T(p)) + mean softplus(T(q))) for draws p of the prior and codes q, and, detached,
        `accuracy`: the share of both that the adversary tells right."""
        real, fake = self.adversary_logits(self._prior_beside(codes, generator)), self.adversary_logits(codes)
        loss = weight * (F.softplus(-real).mean() + F.softplus(fake).mean())
        with torch.no_grad():
            accuracy = 0.5 * ((real > 0).to(loss.dtype).mean() + (fake < 0).to(loss.dtype).mean())
        return {"loss": loss, "accuracy": accuracy}

    def adversary_logits(self, z: Tensor) -> Tensor:
        """T(z) of codes [n, k], [n, 1]: above 0 where the adversary takes z for a draw of the prior."""
        if self.adversary is None:
            raise ArgumentError(f"this {type(self).__name__} has penalty {self.penalty!r} and no adversary; build it with "
                                "penalty='gan'.")
        return self._with_log_prior(z, self.adversary(z))

    def _judged(self, z: Tensor) -> Tensor:
        """T(z) with gradients to z alone."""
        assert self.adversary is not None
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
