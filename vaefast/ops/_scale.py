"""The ways in which a tensor gives standard deviations."""

from __future__ import annotations

import torch
from torch import Tensor

PARAMS = ("logvar", "logstd", "softplus")
SOFTPLUS_FLOOR = 1e-6


def scale_of(a: Tensor, param: str) -> tuple[Tensor, Tensor, Tensor]:
    """Standard deviation s, 2 log s, and ds/da."""
    if param == "logvar":
        s = torch.exp(0.5 * a)
        return s, a, 0.5 * s
    if param == "logstd":
        s = torch.exp(a)
        return s, 2 * a, s
    s = SOFTPLUS_FLOOR + torch.clamp(a, min=0) + torch.log1p(torch.exp(-a.abs()))
    return s, 2 * torch.log(s), torch.sigmoid(a)
