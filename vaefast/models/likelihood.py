"""Negative log-likelihoods of a batch, in nats per example, and the closed-form gamma: thin over `vaefast.ops`."""

from __future__ import annotations

import math

from torch import Tensor

from vaefast import ops
from vaefast.nets.global_batch import global_mean
from vaefast.ops import HALF_LOG_2PI, gaussian_nll, laplace_nll, squared_error

__all__ = ["HALF_LOG_2PI", "bernoulli_nll", "gaussian_nll", "laplace_nll", "optimal_log_gamma", "optimally_scaled_nll",
           "squared_error"]


def _log_gamma_of(error: Tensor, dims: int, floor: float) -> Tensor:
    """log of the root mean squared error, from the sums of squared errors [B] of examples of `dims` dimensions."""
    return 0.5 * (error.mean() / dims).clamp_min(math.exp(2 * floor)).log()


def optimal_log_gamma(x: Tensor, mean: Tensor, *, from_logits: bool = False, floor: float = -10.0) -> Tensor:
    """log of the standard deviation that minimises the batch's Gaussian NLL: gamma^2 = mean squared error.

    A scalar with gradient. `floor` only keeps a perfect reconstruction finite. x may be uint8, and with `from_logits`
    the mean is sigmoid(mean), as in `ops.gaussian_nll`.
    Source: Rybkin et al. 2021, "Simple and Effective VAE Training with Calibrated Decoders", section 3.2.
    """
    return _log_gamma_of(squared_error(x, mean, from_logits=from_logits), x[0].numel(), floor)


def optimally_scaled_nll(
    x: Tensor, mean: Tensor, *, from_logits: bool = False, floor: float = -10.0, sync: bool = False, kind: str = "gaussian"
) -> tuple[Tensor, Tensor]:
    """`gaussian_nll` [B] at `optimal_log_gamma`, and that log gamma: one pass over the pixels for both.

    With kind "laplace" it is `laplace_nll`, at the gamma that is best there: the mean absolute error. With `sync` gamma is that
    of the batch of all processes that train together.
    """
    dims = x[0].numel()
    if kind == "laplace":
        error = laplace_nll(x, mean, 0.0, from_logits=from_logits, return_error=True)[1]
        average = global_mean(error.mean()) if sync else error.mean()
        log_gamma = (average / dims).clamp_min(math.exp(floor)).log()
        return error * (-log_gamma).exp() + dims * (log_gamma + math.log(2)), log_gamma
    error = squared_error(x, mean, from_logits=from_logits)
    log_gamma = _log_gamma_of(global_mean(error.mean()) if sync else error, dims, floor)
    return 0.5 * error * (-2 * log_gamma).exp() + dims * (log_gamma + HALF_LOG_2PI), log_gamma


def bernoulli_nll(x: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of x in [0, 1] (or uint8) under Bernoulli(sigmoid(logits)), [B]; see `ops.bernoulli_nll`.

    Source: Dai & Wipf's code, the cross-entropy variant of stage 1.
    """
    return ops.bernoulli_nll(x, logits, from_logits=True)
