"""The likelihood of grey images whose levels have a probability each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.models.images import full_precision
from vaefast.pixel_values import as_unit


def _levels(x: Tensor, raw: Tensor) -> Tensor:
    if x.ndim < 2 or x.shape[1] != 1 or x.shape[0] != raw.shape[0] or x.shape[2:] != raw.shape[2:]:
        raise ArgumentError(f"x has shape {list(x.shape)} and raw {list(raw.shape)}; expected [B, 1, ...] and "
                            "[B, levels, ...], of the same examples and pixels.")
    values = as_unit(x)
    return (values * (raw.shape[1] - 1)).round().long()[:, 0]


def nll(x: Tensor, raw: Tensor) -> Tensor:
    """-log p(x) in nats, summed over pixels, [B].

    Args:
        x: [B, 1, ...] uint8, or in [0, 1]; rounded to the nearest of the levels.
        raw: logits of the levels, [B, levels, ...]; level n stands for n / (levels - 1).

    Raises:
        ArgumentError: shapes that do not fit.
    """
    return F.cross_entropy(full_precision(raw), _levels(x, raw), reduction="none").flatten(1).sum(1)


def mean(raw: Tensor) -> Tensor:
    """Mean image, [B, 1, ...] in [0, 1]."""
    weights = torch.softmax(full_precision(raw), 1)
    values = torch.linspace(0, 1, raw.shape[1], dtype=weights.dtype, device=raw.device)
    return torch.tensordot(weights, values, ([1], [0])).unsqueeze(1)
