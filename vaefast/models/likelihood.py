"""Negative log-likelihoods of a batch, in nats per example: sums over dimensions, one number an example."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
"""0.918939 a dimension. Dai & Wipf's code truncates it to 0.91893."""


def squared_error(x: Tensor, mean: Tensor) -> Tensor:
    """Sum over dimensions of (x - mean)^2, [B]."""
    return (x - mean).square().flatten(1).sum(1)


def gaussian_nll(x: Tensor, mean: Tensor, log_gamma: Tensor, *, constant: float = HALF_LOG_2PI) -> Tensor:
    """-log N(x | mean, gamma^2 I), [B], with the standard deviation gamma = exp(log_gamma), a scalar.

    Equals sum_d [0.5 ((x - mean) / gamma)^2 + log gamma + constant]; negative once gamma is small.
    Source: Dai & Wipf's code, `__build_loss` (the paper's own gamma is the variance).
    """
    dims = x[0].numel()
    return 0.5 * squared_error(x, mean) * torch.exp(-2 * log_gamma) + dims * (log_gamma + constant)


def optimal_log_gamma(x: Tensor, mean: Tensor, *, floor: float = -10.0) -> Tensor:
    """log of the standard deviation that minimises the batch's Gaussian NLL: gamma^2 = mean squared error.

    A scalar with gradient. `floor` only keeps a perfect reconstruction finite.
    Source: Rybkin et al. 2021, "Simple and Effective VAE Training with Calibrated Decoders", section 3.2.
    """
    return 0.5 * torch.log((x - mean).square().mean().clamp_min(math.exp(2 * floor)))


def bernoulli_nll(x: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of x in [0, 1] under Bernoulli(sigmoid(logits)), [B]; not a proper likelihood of grey values.

    Source: Dai & Wipf's code, the cross-entropy variant of stage 1.
    """
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
