"""What a VAE's KL term is made of: mutual information, total correlation and dimension-wise KL, by one sample an image.

With q(z) = (1/N) sum_j q(z | x_j), the aggregate posterior, the mean KL divergence of q(z | x_i) to the prior p is

    KL = mutual information + KL(q(z) || p(z))                                     Hoffman and Johnson 2016
       = mutual information + total correlation + dimension-wise KL                Chen et al. 2018

All are estimates from z_i ~ q(z | x_i), differentiable to z, mu and scale, and made of mixture_log_density, so that no
array of N x N elements is ever made.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vaefast.ops import _check
from vaefast.ops._precision import compute_dtype
from vaefast.ops._scale import PARAMS, scale_of
from vaefast.ops.mixture_density import LOG_TWO_PI, mixture_log_density


class ElboSurgery(NamedTuple):
    """The terms of `elbo_surgery`, in nats, float32 (float64 for float64). Each but the last is a scalar."""

    kl: Tensor  # mean log q(z_i | x_i) - log p(z_i), the sum of the next three
    mutual_information: Tensor  # of the images and z
    total_correlation: Tensor  # KL of q(z) to the product of its marginals
    dimension_wise_kl: Tensor  # sum over d of KL(q(z_d) || p(z_d))
    marginal_kl: Tensor  # KL(q(z) || p(z)) = total_correlation + dimension_wise_kl
    per_dimension_kl: Tensor  # the terms of dimension_wise_kl, [k]


def elbo_surgery(
    z: Tensor, mu: Tensor, scale: Tensor, *, param: str = "logvar", exclude_self: bool = False,
    dataset_size: int | None = None, stratified: bool = False,
) -> ElboSurgery:  # fmt: skip
    """All terms of the KL divergence of posteriors to N(0, I), from one sample of each.

    Args:
        z: samples, z_i from q(z | x_i) = N(mu_i, diag(s_i^2)), [N, k], float32, bfloat16, float16 or float64.
        mu: posterior means, [N, k].
        scale: what `param` says of the standard deviations s, [N, k].
        param: "logvar": s = exp(scale / 2); "logstd": s = exp(scale); "softplus": s = 1e-6 + softplus(scale).
        exclude_self: leave posterior i out of q(z_i), and average over the other N - 1.
        dataset_size: where the N images are a batch of so many, weigh as beta-TCVAE's minibatch-weighted sampling does:
            q(z_i) is taken as 1 / (N dataset_size) sum_j q(z_i | x_j), and each marginal likewise. This shifts the terms
            by constants and leaves their gradients as they are. None: the plain mean over the N posteriors.
        stratified: weigh as minibatch stratified sampling does instead, with the posteriors that are not i's own taken
            for all dataset_size - 1 others: q(z_i) = q(z_i | x_i) / dataset_size + (1 - 1 / dataset_size) times the mean
            of q(z_i | x_j) over the other N - 1. Over random batches that is right on average; needs 2 <= N <=
            dataset_size.

    Returns:
        The terms. kl = mutual_information + total_correlation + dimension_wise_kl for these samples, not only in
        expectation. The estimate of the mutual information cannot exceed log N (with neither option): a value near it
        means "at least that", and values around -1e-5 are noise.

    For a loss, weigh the terms: beta-TCVAE minimises mutual_information + beta * total_correlation + dimension_wise_kl.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not fit, a bad option.

    Sources: Hoffman and Johnson, "ELBO surgery" (2016); Chen et al., "Isolating sources of disentanglement in VAEs"
    (2018), the ELBO TC-decomposition; minibatch-weighted and stratified sampling, appendix C. The stratified
    weights are those of the paper averaged over which of the others comes last, so that no order matters.
    """
    conditional = _log_conditional(z, mu, scale, param).sum(1).mean()
    batch = _Batch(exclude_self, dataset_size, stratified)
    joint = batch.log_density(z, mu, scale, param, False).mean()
    marginals = batch.log_density(z, mu, scale, param, True).mean(0)
    prior = _log_prior(z, marginals.dtype).mean(0)
    per_dimension_kl = marginals - prior
    return ElboSurgery(
        kl=conditional - prior.sum(),
        mutual_information=conditional - joint,
        total_correlation=joint - marginals.sum(),
        dimension_wise_kl=per_dimension_kl.sum(),
        marginal_kl=joint - prior.sum(),
        per_dimension_kl=per_dimension_kl,
    )


def mutual_information(
    z: Tensor, mu: Tensor, scale: Tensor, *, param: str = "logvar", exclude_self: bool = False,
    dataset_size: int | None = None, stratified: bool = False,
) -> Tensor:  # fmt: skip
    """mean_i [log q(z_i | x_i) - log q(z_i)] in nats: what the samples tell about the images, a scalar. Arguments of
    `elbo_surgery`. At most log N with neither option, so a value near log N means "at least that"."""
    conditional = _log_conditional(z, mu, scale, param).sum(1)
    batch = _Batch(exclude_self, dataset_size, stratified)
    return (conditional - batch.log_density(z, mu, scale, param, False)).mean()


def marginal_kl(
    z: Tensor, mu: Tensor, scale: Tensor, *, param: str = "logvar", exclude_self: bool = False,
    dataset_size: int | None = None, stratified: bool = False,
) -> Tensor:  # fmt: skip
    """mean_i [log q(z_i) - log p(z_i)] in nats: KL(q(z) || N(0, I)). Arguments of `elbo_surgery`; z may be any [M, k]
    drawn from q(z)."""
    joint = _Batch(exclude_self, dataset_size, stratified).log_density(z, mu, scale, param, False)
    return (joint - _log_prior(z, joint.dtype).sum(1)).mean()


def total_correlation(
    z: Tensor, mu: Tensor, scale: Tensor, *, param: str = "logvar", exclude_self: bool = False,
    dataset_size: int | None = None, stratified: bool = False,
) -> Tensor:  # fmt: skip
    """mean_i [log q(z_i) - sum_d log q(z_id)] in nats: how dependent the dimensions of q(z) are. Arguments of
    `elbo_surgery`; z may be any [M, k] drawn from q(z). The weight of beta-TCVAE goes on this term."""
    batch = _Batch(exclude_self, dataset_size, stratified)
    marginals = batch.log_density(z, mu, scale, param, True)
    return (batch.log_density(z, mu, scale, param, False) - marginals.sum(1)).mean()


def dimension_wise_kl(
    z: Tensor, mu: Tensor, scale: Tensor, *, param: str = "logvar", exclude_self: bool = False,
    dataset_size: int | None = None, stratified: bool = False,
) -> Tensor:  # fmt: skip
    """sum_d mean_i [log q(z_id) - log p(z_id)] in nats: sum_d KL(q(z_d) || N(0, 1)). Arguments of `elbo_surgery`; z may
    be any [M, k] drawn from q(z)."""
    marginals = _Batch(exclude_self, dataset_size, stratified).log_density(z, mu, scale, param, True)
    return (marginals - _log_prior(z, marginals.dtype)).sum(1).mean()


def _log_conditional(z: Tensor, mu: Tensor, scale: Tensor, param: str) -> Tensor:
    """log q(z_id | x_i), [N, k]."""
    _check.float_tensor("z", z, min_dim=2)
    _check.float_tensor("mu", mu, min_dim=2)
    _check.float_tensor("scale", scale, min_dim=2)
    _check.same_shape_and_device("z", z, "mu", mu)
    _check.same_shape_and_device("scale", scale, "mu", mu)
    _check.choice("param", param, PARAMS)
    dtype = compute_dtype(torch.promote_types(torch.promote_types(z.dtype, mu.dtype), scale.dtype))
    s, two_log_s, _ = scale_of(scale.to(dtype), param)
    return -0.5 * (((z.to(dtype) - mu.to(dtype)) / s).square() + two_log_s + LOG_TWO_PI)


def _log_prior(z: Tensor, dtype: torch.dtype) -> Tensor:
    """log p(z_id), [M, k]."""
    return -0.5 * (z.to(dtype).square() + LOG_TWO_PI)


class _Batch(NamedTuple):
    """How q(z_i) is made of the posteriors of a batch."""

    exclude_self: bool
    dataset_size: int | None
    stratified: bool

    def _checked(self, n: int) -> None:
        size = self.dataset_size
        if not isinstance(self.stratified, bool):
            _check.fail("stratified", repr(self.stratified), "True or False")
        if size is None:
            if self.stratified:
                _check.fail("stratified", True, "False where dataset_size is None")
            return
        _check.whole_number("dataset_size", size)
        least = max(2, n) if self.stratified else 1
        if size < least:
            _check.fail("dataset_size", size, f"an int >= {least} or None")
        if self.exclude_self:
            _check.fail("dataset_size", size, "None where exclude_self is True")

    def log_density(self, z: Tensor, mu: Tensor, scale: Tensor, param: str, per_dimension: bool) -> Tensor:
        """log q(z_i), [M], or log q(z_id), [M, k]."""
        self._checked(mu.shape[0] if isinstance(mu, Tensor) and mu.dim() else 0)
        exclude = self.exclude_self
        if self.stratified:
            log_conditional, exclude = _log_conditional(z, mu, scale, param), True
        log_q = mixture_log_density(z, mu, scale, param=param, per_dimension=per_dimension, exclude_self=exclude)
        if self.dataset_size is None:
            return log_q
        if not self.stratified:
            return log_q - math.log(self.dataset_size)
        log_conditional = log_conditional if per_dimension else log_conditional.sum(1)
        return torch.logaddexp(log_conditional - math.log(self.dataset_size), log_q + math.log1p(-1 / self.dataset_size))
