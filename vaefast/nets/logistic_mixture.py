"""Mixtures of discretised logistics: what a network's raw output means, and how a pixel is drawn from it.

Layout of raw [B, R, ...] for images of C channels and M components, R = M (1 + 2 C + C (C - 1) / 2): the M logits of the
components; then C M means; C M log scales; and, for colours, C (C - 1) / 2 times M couplings, of channel c with each channel
before it. Means and scales are in units of [-1, 1]. Within a component, channel c is a logistic around its mean plus tanh of
the couplings times the values of the channels before; a level 0, ..., 255 is the interval of width 2/255 around its place in
[-1, 1], and the outer levels take the tails.

Source: Salimans et al. 2017, "PixelCNN++", sections 2.1 and 2.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vaefast.errors import ArgumentError

MIN_LOG_SCALE = -7.0
LEVELS = 256


def raw_channels(channels: int, mixtures: int = 10) -> int:
    """R for C = `channels` and M = `mixtures`: 100 for colour images and 30 for grey ones with 10 components."""
    return mixtures * (1 + 2 * channels + channels * (channels - 1) // 2)


class LogisticMixture(NamedTuple):
    """logits [B, M, ...]; means and log_scales [B, C, M, ...]; couplings [B, C (C - 1) / 2, M, ...] in (-1, 1)."""

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    couplings: Tensor

    def means_given(self, x: Tensor) -> Tensor:
        """Means of every channel given those before, [B, C, M, ...], for x [B, C, ...] in [-1, 1]."""
        return torch.stack([self.mean_given(c, list(x.unbind(1))) for c in range(self.means.shape[1])], 1)

    def mean_given(self, channel: int, before: list[Tensor]) -> Tensor:
        """Mean of `channel`, [B, M, ...], given the channels before it, [B, ...] (or [B, M, ...]) each in [-1, 1]."""
        mean, first = self.means[:, channel], channel * (channel - 1) // 2
        for n in range(channel):
            value = before[n] if before[n].ndim == mean.ndim else before[n].unsqueeze(1)
            mean = mean + self.couplings[:, first + n] * value
        return mean


def unpack(raw: Tensor, channels: int) -> LogisticMixture:
    """raw [B, R, ...] as the parameters of a mixture.

    Raises:
        ArgumentError: R that no number of components gives.
    """
    unit = raw_channels(channels, 1)
    if raw.ndim < 2 or raw.shape[1] % unit or not raw.shape[1]:
        raise ArgumentError(f"raw has shape {list(raw.shape)}; expected [B, R, ...] with R a multiple of {unit}, the "
                            f"parameters of a logistic mixture of {channels} channels for each component.")
    mixtures = raw.shape[1] // unit
    logits, means, scales, couplings = raw.split([mixtures * n for n in (1, channels, channels, unit - 1 - 2 * channels)], 1)
    grid = (-1, mixtures)
    couplings = couplings.unflatten(1, (channels * (channels - 1) // 2, mixtures))
    return LogisticMixture(logits, means.unflatten(1, grid), scales.unflatten(1, grid).clamp_min(MIN_LOG_SCALE),
                           torch.tanh(couplings))


def sample(raw: Tensor, uniforms: Tensor) -> Tensor:
    """Draw pixels from raw [B, R, ...] by inversion: [B, C, ...], levels / 255 in [0, 1].

    Args:
        raw: parameters, as laid out above.
        uniforms: [B, 1 + C, ...] in [0, 1): one for the component, one for each channel.

    Source: Salimans et al. 2017, section 2.1; drawn values are rounded to levels at once, so that later channels and
    pixels are conditioned on what the likelihood conditions on.
    """
    channels = uniforms.shape[1] - 1
    mixture = unpack(raw, channels)
    edges = torch.softmax(mixture.logits, 1).cumsum(1)
    component = (uniforms[:, :1] >= edges).sum(1, keepdim=True).clamp_max(edges.shape[1] - 1)
    drawn: list[Tensor] = []
    levels: list[Tensor] = []
    for c in range(channels):
        mean = mixture.mean_given(c, drawn).gather(1, component)[:, 0]
        scale = mixture.log_scales[:, c].gather(1, component)[:, 0].exp()
        value = mean + scale * torch.logit(uniforms[:, 1 + c])
        levels.append(((value.clamp(-1, 1) + 1) * ((LEVELS - 1) / 2)).round())
        drawn.append(levels[c] * (2 / (LEVELS - 1)) - 1)
    return torch.stack(levels, 1) / (LEVELS - 1)
