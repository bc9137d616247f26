"""Posteriors q(z|x): the diagonal Gaussian that an encoder's two outputs describe, alone, after a flow, or without spread."""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast import ops
from vaefast.ops import HALF_LOG_2PI
from vaefast.ops._scale import SOFTPLUS_FLOOR


class Posterior(Protocol):
    """What every model's `encode` returns: q(z|x) of a batch."""

    @property
    def mean(self) -> Tensor:
        """[B, k]."""

    @property
    def std(self) -> Tensor:
        """[B, k]."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw of each row, [B, k]."""


class DiagonalGaussian:
    """N(mean, diag(std^2)) for each row.

    Args:
        mean: [B, k].
        raw: [B, k], read by `param`: "logvar", "logstd", or "softplus" (std = 1e-6 + softplus(raw)).
    """

    def __init__(self, mean: Tensor, raw: Tensor, param: str) -> None:
        self.mean, self.raw, self.param = mean, raw, param

    def __repr__(self) -> str:
        return f"{type(self).__name__}({' x '.join(map(str, self.mean.shape))}, {self.mean.dtype}, {self.mean.device})"

    @property
    def std(self) -> Tensor:
        """Standard deviation, [B, k]."""
        if self.param == "softplus":
            return SOFTPLUS_FLOOR + F.softplus(self.raw)
        return torch.exp(self.raw if self.param == "logstd" else 0.5 * self.raw)

    @property
    def log_std(self) -> Tensor:
        """Log of the standard deviation, [B, k]."""
        if self.param == "softplus":
            return self.std.log()
        return self.raw if self.param == "logstd" else 0.5 * self.raw

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z|x) in nats of a code of each row, [B]."""
        return -(0.5 * ((z - self.mean) / self.std).square() + self.log_std + HALF_LOG_2PI).sum(1)

    def entropy(self) -> Tensor:
        """Entropy in nats of each row, [B]: E_q[-log q(z|x)]."""
        return (self.log_std + 0.5 + HALF_LOG_2PI).sum(1)

    def sample_and_kl(self, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """A draw z [B, k] and KL(q(z|x) || N(0, I)) in nats [B], in one pass.

        Processes that train together draw the rows of one global batch: with the same seed, other noise for each.
        """
        return ops.reparam_kl(self.mean, self.raw, param=self.param, generator=generator,
                              row_offset=ops.row_offset(len(self.mean)))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw z = mean + std * eps, [B, k], differentiable."""
        return ops.reparameterize(self.mean, self.raw, param=self.param, generator=generator,
                                  row_offset=ops.row_offset(len(self.mean)))

    def kl(self) -> Tensor:
        """KL(q(z|x) || N(0, I)) of each row and dimension in nats, [B, k]."""
        return 0.5 * (self.mean.square() + self.std.square() - 1) - self.log_std


class PointMass(DiagonalGaussian):
    """A deterministic encoder's q(z|x): all mass at the mean, std 0, and an infinite KL.

    Args:
        mean: [B, k].
    """

    def __init__(self, mean: Tensor) -> None:
        super().__init__(mean, mean.new_full((), -math.inf).expand_as(mean), "logstd")

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """The mean, [B, k]."""
        return self.mean

    def sample_and_kl(self, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """The mean [B, k], and infinity [B]."""
        return self.mean, self.kl().sum(1)


class FlowPosterior:
    """q(z|x) of z = flow(z0) with z0 ~ `base`.

    Args:
        base: a diagonal Gaussian.
        flow: module z0 [B, k] -> (z [B, k], log|det| [B]); it runs in full precision under autocast.

    Source: Rezende & Mohamed 2015, "Variational Inference with Normalizing Flows", equation 15.
    """

    def __init__(self, base: DiagonalGaussian, flow: nn.Module) -> None:
        self.base, self.flow = base, flow

    def __repr__(self) -> str:
        return f"FlowPosterior({self.base!r}, {type(self.flow).__name__})"

    def _flow(self, z0: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(z0.device.type, enabled=False):
            return self.flow(z0)

    @property
    def mean(self) -> Tensor:
        """Where the flow takes the mean of z0, [B, k]: a code for x, not the mean of z."""
        return self._flow(self.base.mean)[0]

    @property
    def std(self) -> Tensor:
        """Standard deviation of z0, *before* the flow, [B, k]."""
        return self.base.std

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw z, [B, k], differentiable."""
        return self._flow(self.base.sample(generator))[0]

    def sample_and_kl(self, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """A draw z [B, k], and from that draw an unbiased estimate of KL(q(z|x) || N(0, I)) in nats [B], which can be negative:
        log q0(z0) - log|det| - log p(z)."""
        z0 = self.base.sample(generator)
        z, log_det = self._flow(z0)
        log_p = -(0.5 * z.square() + HALF_LOG_2PI).sum(1)
        return z, self.base.log_prob(z0) - log_det - log_p
