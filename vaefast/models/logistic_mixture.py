"""Discretised mixtures of logistics: the likelihood of 8-bit pixels whose channels depend on each other.

`vaefast.nets.logistic_mixture` says what a network's raw output holds. The 256 probabilities of a level add up to 1.

Source: Salimans et al. 2017, "PixelCNN++", sections 2.1 and 2.2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.models.images import as_float, full_precision
from vaefast.nets.logistic_mixture import LEVELS, from_uniforms, parameters, raw_channels

_WIDE = 5.0
"""Log scale from which on a logistic is wide beside [-1, 1]."""

__all__ = ["from_uniforms", "log_probability", "mean", "nll", "raw_channels", "sample"]


def log_probability(x: Tensor, raw: Tensor, components: int) -> Tensor:
    """log p of pixels x [B, c, *space] in {0, ..., 255} / 255, [B, *space], in nats."""
    channels = x.shape[1]
    p = parameters(raw, channels, components)
    values = (2 * x.to(raw.dtype) - 1)[:, None]
    total = torch.log_softmax(p.weights, dim=1)
    for c in range(channels):
        inverse = torch.exp(-p.log_scales[:, :, c])
        centred = values[:, :, c] - p.shifted(c, values[:, :, :c])
        upper, lower = inverse * (centred + 1 / LEVELS), inverse * (centred - 1 / LEVELS)
        # log of sigmoid(upper) - sigmoid(lower), which is sigmoid(upper) sigmoid(-lower) (1 - exp(lower - upper)): exact at
        # every scale, so that small probabilities need no replacement
        inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + _log_of_rest(math.log(2 / LEVELS) - p.log_scales[:, :, c])
        level = values[:, :, c]
        lowest, highest = level < -1 + 1 / LEVELS, level > 1 - 1 / LEVELS  # their intervals reach to infinity
        total = total + torch.where(lowest, F.logsigmoid(upper), torch.where(highest, F.logsigmoid(-lower), inside))
    return total.logsumexp(1)


def _log_of_rest(log_width: Tensor) -> Tensor:
    """log(1 - exp(-t)) of t = exp(log_width), whose slope is 1 where t is too small for its logarithm."""
    width = torch.exp(log_width)
    small = width < 1e-3
    series = log_width - width / 2 + width.square() / 24
    return torch.where(small, series, torch.log(-torch.expm1(-torch.where(small, 1.0, width))))


def _clipped_mean(centre: Tensor, log_scale: Tensor) -> Tensor:
    """Mean of a logistic with the mass beyond -1 and 1 put there."""
    scale = log_scale.clamp_max(_WIDE).exp()
    direct = scale * (F.softplus((centre + 1) / scale) - F.softplus((centre - 1) / scale)) - 1
    inverse = torch.exp(-log_scale.clamp_min(_WIDE))  # of wide ones the difference would be rounding alone
    s = torch.sigmoid(centre * inverse)
    return torch.where(log_scale <= _WIDE, direct, 2 * s - 1 + s * (1 - s) * (1 - 2 * s) * inverse.square() / 3)


def _components(raw: Tensor, channels: int) -> int:
    """M, from the channels of raw."""
    unit = raw_channels(channels, 1)
    if raw.ndim < 2 or not raw.shape[1] or raw.shape[1] % unit:
        raise ArgumentError(f"raw has shape {list(raw.shape)}; expected [B, R, ...] with R a multiple of {unit}: the parameters "
                            f"of a logistic for {channels} channel(s).")
    return raw.shape[1] // unit


def nll(x: Tensor, raw: Tensor) -> Tensor:
    """-log p(x) in nats, summed over pixels and channels, [B].

    Args:
        x: [B, c, *space] uint8, or levels / 255 in [0, 1].
        raw: [B, R, *space], R a multiple of 1 + 2 c + c (c - 1) / 2.

    Raises:
        ArgumentError: shapes that do not fit.
    """
    if x.ndim < 2 or x.shape[0] != raw.shape[0] or x.shape[2:] != raw.shape[2:]:
        raise ArgumentError(f"x has shape {list(x.shape)} and raw {list(raw.shape)}; expected the same examples and pixels.")
    raw = full_precision(raw)
    return -log_probability(as_float(x, raw.dtype), raw, _components(raw, x.shape[1])).flatten(1).sum(1)


def sample(raw: Tensor, uniforms: Tensor) -> Tensor:
    """`from_uniforms` of raw [B, R, *space] and uniforms [B, 1 + c, *space], whose shapes say the rest."""
    channels = uniforms.shape[1] - 1
    return from_uniforms(raw, channels, _components(raw, channels), uniforms)


def mean(raw: Tensor, channels: int, components: int | None = None) -> Tensor:
    """Mean image [B, c, *space] in [0, 1] of raw [B, R, *space].

    Of the mixture before it is discretised, with the logistics' tails at the ends of the range, where the outer levels
    take them; a channel's mean within a component is taken at the means of the channels before it.
    """
    raw = full_precision(raw)
    p = parameters(raw, channels, _components(raw, channels) if components is None else components)
    weights = torch.softmax(p.weights, dim=1)
    means: list[Tensor] = []
    for c in range(channels):
        centre = p.shifted(c, torch.stack(means, 2) if means else p.means[:, :, :0])
        means.append(_clipped_mean(centre, p.log_scales[:, :, c]))
    return (0.5 + 0.5 * torch.stack([(weights * m).sum(1) for m in means], 1)).clamp(0, 1)
