"""Discretised mixtures of logistics: what a network's raw output says about a pixel, and how a pixel is drawn from it.

A pixel's values in {0, ..., 255} / 255 are taken as intervals of [-1, 1], of which the outer two reach to infinity; a component
gives channel c the difference of two logistic functions, and the mean of a channel moves with the values of the channels
before it. `vaefast.models.logistic_mixture` has the likelihood.

Source: Salimans et al. 2017, "PixelCNN++", sections 2.1 and 2.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vaefast.errors import ArgumentError

LEAST_LOG_SCALE = -7.0
"""Floor of the log scales, as in the authors' code."""
MOST_LOG_SCALE = 80.0
"""In draws: the values of any larger scale are all at the ends, too, and float32 has no number for it."""
LEVELS = 255


def raw_channels(channels: int, components: int = 10) -> int:
    """Numbers a pixel: for each component a weight, `channels` means and scales, and a slope for each pair of channels.

    100 for colour images and 30 for grey ones with 10 components.
    """
    return components * (1 + 2 * channels + channels * (channels - 1) // 2)


class Parameters(NamedTuple):
    """What the raw output [B, C', *space] says: `weights` (logits) [B, M, *space], the rest [B, M, c, *space] (slopes: pairs)."""

    weights: Tensor
    means: Tensor
    log_scales: Tensor
    slopes: Tensor

    def shifted(self, channel: int, before: Tensor) -> Tensor:
        """Means of a channel [B, M, *space], given the values of those before it [B, M or 1, channel, *space] in [-1, 1]."""
        mean = self.means[:, :, channel]
        first = channel * (channel - 1) // 2
        return mean + (self.slopes[:, :, first:first + channel] * before).sum(2) if channel else mean


def parameters(raw: Tensor, channels: int, components: int) -> Parameters:
    """`raw` [B, raw_channels, *space] taken apart.

    Raises:
        ArgumentError: another number of channels.
    """
    if raw.ndim < 2 or raw.shape[1] != raw_channels(channels, components):
        raise ArgumentError(f"a mixture of {components} logistics for {channels} channel(s) is read from "
                            f"{raw_channels(channels, components)} channels; the decoder returned shape {list(raw.shape)}.")
    m, pairs = components, channels * (channels - 1) // 2
    parts = raw.split([m, m * channels, m * channels, m * pairs], dim=1)
    means, log_scales, slopes = (p.unflatten(1, (m, n)) for p, n in zip(parts[1:], (channels, channels, pairs)))
    return Parameters(parts[0], means, log_scales.clamp_min(LEAST_LOG_SCALE), torch.tanh(slopes))


def from_uniforms(raw: Tensor, channels: int, components: int, uniforms: Tensor) -> Tensor:
    """Pixels [B, channels, *space] in {0, ..., 255} / 255 from uniform numbers in [0, 1), [B, 1 + channels, *space].

    The first chooses the component, the others are the channels' places in their distributions. A value is rounded to its
    level at once: later channels are then drawn given what the likelihood is given.
    """
    p = parameters(raw, channels, components)
    edges = torch.softmax(p.weights, dim=1).cumsum(1)
    chosen = (uniforms[:, :1] >= edges).sum(1, keepdim=True).clamp_max(components - 1)  # [B, 1, *space]

    def of_chosen(t: Tensor) -> Tensor:  # [B, M, n, *space] -> [B, 1, n, *space]
        return t.gather(1, chosen[:, :, None].expand(-1, -1, t.shape[2], *t.shape[3:])) if t.shape[2] else t[:, :1]

    q = Parameters(p.weights, of_chosen(p.means), of_chosen(p.log_scales), of_chosen(p.slopes))
    levels: list[Tensor] = []
    values: list[Tensor] = []
    for c in range(channels):
        before = torch.stack(values, 2) if values else q.means[:, :, :0]
        x = q.shifted(c, before) + q.log_scales[:, :, c].clamp_max(MOST_LOG_SCALE).exp() * torch.logit(uniforms[:, c + 1:c + 2])
        levels.append(((0.5 + 0.5 * x.clamp(-1, 1)) * LEVELS).round())  # whose interval it is in
        values.append(levels[c] * (2 / LEVELS) - 1)
    return torch.cat(levels, 1) / LEVELS
