"""The diagonal Gaussian q(z|x) that an encoder's two outputs describe."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vaefast import ops
from vaefast.ops._scale import SOFTPLUS_FLOOR


class DiagonalGaussian:
    """N(mean, diag(std^2)) for each row.

    Args:
        mean: [B, k].
        raw: [B, k], read by `param`: "logvar", "logstd", or "softplus" (std = 1e-6 + softplus(raw)).
    """

    def __init__(self, mean: Tensor, raw: Tensor, param: str) -> None:
        self.mean, self.raw, self.param = mean, raw, param

    @property
    def std(self) -> Tensor:
        """Standard deviation, [B, k]."""
        if self.param == "softplus":
            return SOFTPLUS_FLOOR + F.softplus(self.raw)
        return torch.exp(self.raw if self.param == "logstd" else 0.5 * self.raw)

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
        std = self.std
        return 0.5 * (self.mean.square() + std.square() - 1) - std.log()
