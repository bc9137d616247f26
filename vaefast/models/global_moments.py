"""The Gaussian of the aggregate posterior's moments, over more than what goes through the networks at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vaefast import ops
from vaefast.errors import ArgumentError
from vaefast.models.posterior import DiagonalGaussian
from vaefast.nets.global_batch import processes
from vaefast.ops.moments import VARS

EPS = 1e-8
"""Least variance in the logarithm: with one row and var="means" there is none."""


class GlobalMoments(nn.Module):
    """KL(N(mean, var) || N(0, I)) of the mixture (1/N) sum_i q(z|x_i), its Gaussian of the same mean and variance.

    The N posteriors are those of the batch; with `sync` set, of the batch of all processes that train together; with
    accumulation, of the whole batch and not of its parts; and with `memory`, of the last batches besides. Whatever they are, the
    moments have the *value* of all of them and the *gradient* of the part at hand, as of the moments of a set of which it is
    a fair sample. For the parts of an accumulated batch, the mean of these gradients is exactly that of the whole batch.

    Args:
        latent_dim: k.
        var: "means", the variance of the means alone, as released; or "mixture", the mixture's exact variance, to which the
            posterior variances belong.
        memory: batches before this one whose moments count as much as its own (they are of networks that were up to so many
            steps younger); 0 for none. They are buffers, and so in checkpoints.

    Raises:
        ArgumentError: a setting that cannot work.

    Source: Rivera 2023, "How to train your VAE", and its released code (`var="means"`, no memory).
    """

    past: Tensor  # these two with a memory alone
    count: Tensor

    def __init__(self, latent_dim: int, var: str = "means", memory: int = 0) -> None:
        super().__init__()
        if var not in VARS:
            raise ArgumentError(f"var is {var!r}; expected one of {', '.join(VARS)}.")
        if isinstance(memory, bool) or not isinstance(memory, int) or memory < 0:
            raise ArgumentError(f"memory is {memory!r}; expected how many batches before the present one count, 0 or more.")
        self.var, self.memory, self.sync = var, memory, False
        self._whole: Tensor | None = None
        if memory:
            self.register_buffer("past", torch.zeros(memory, 2, latent_dim))
            self.register_buffer("count", torch.zeros(1, dtype=torch.long))

    @contextmanager
    def over(self, parts: list[DiagonalGaussian]) -> Iterator[None]:
        """Inside, what comes through `kl` is one part after the other of this whole batch."""
        with torch.no_grad():
            whole = pooled(torch.stack([self._of(part) for part in parts]))
            self._whole = self._with_past(whole)
            self._remember(whole)
        try:
            yield
        finally:
            self._whole = None

    def kl(self, posterior: DiagonalGaussian) -> Tensor:
        """The divergence in nats, a scalar: 0.5 sum_k (mean^2 + var - log max(var, 1e-8) - 1)."""
        if self._whole is None and not self.memory:
            return ops.mixture_kl(posterior.mean, posterior.raw, param=posterior.param, var=self.var, eps=EPS,
                                  group=self._group())
        batch_moments = self._of(posterior)
        whole = self._whole
        if whole is None:
            whole = self._with_past(batch_moments.detach())
            self._remember(batch_moments.detach())
        mean, variance = with_gradient_of(whole, batch_moments)
        return 0.5 * (mean * mean + variance - variance.clamp_min(EPS).log() - 1).sum()

    def _group(self) -> dist.ProcessGroup | None:
        return dist.group.WORLD if self.sync and processes() > 1 else None

    def _of(self, posterior: DiagonalGaussian) -> Tensor:
        """Mean and variance of these rows (of all processes, with `sync`), [2, k]."""
        return torch.stack(ops.mixture_moments(posterior.mean, posterior.raw, param=posterior.param, var=self.var,
                                               group=self._group()))

    def _with_past(self, batch_moments: Tensor) -> Tensor:
        """Moments of the remembered batches and this one."""
        if not self.memory:
            return batch_moments
        all_ = torch.cat([batch_moments[None], self.past.to(batch_moments.dtype)])
        known = torch.arange(self.memory + 1, device=batch_moments.device) <= self.count
        return pooled(all_, known.to(batch_moments.dtype))

    @torch.no_grad()
    def _remember(self, batch_moments: Tensor) -> None:
        if not (self.memory and self.training):
            return
        self.past.index_copy_(0, self.count % self.memory, batch_moments[None].to(self.past.dtype))
        self.count.add_(1)


def pooled(moments: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean and variance [2, k] of n sets of rows together, from theirs, [n, 2, k]; each weighs 1, or as `weight` [n] says."""
    share = moments.new_ones(len(moments)) if weight is None else weight
    share = (share / share.sum()).view(-1, 1)
    mean = (share * moments[:, 0]).sum(0)
    variance = (share * (moments[:, 1] + (moments[:, 0] - mean).square())).sum(0)
    return torch.stack([mean, variance])


def with_gradient_of(whole: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of `whole` [2, k], with the derivatives that a change of the part's first two moments would make.

    The variance is E z^2 - mean^2, so it moves by d(v + m^2) - 2 M dm = dv + 2 (m - M) dm for the part's own m and v.
    """
    (mean, variance), (m, v) = whole.detach(), part
    dm, dv = m - m.detach(), v - v.detach()
    return mean + dm, variance + dv + 2 * (m.detach() - mean) * dm
