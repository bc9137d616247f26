"""Bilinear upsampling of maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def bilinear(x: Tensor, side: int) -> Tensor:
    """Maps [B, C, S, S] at another side, corners aligned: [B, C, side, side].

    Where deterministic algorithms are asked for, as two products with the matrix of the weights: the gradient of the usual way
    adds in any order on a GPU.
    """
    if not torch.are_deterministic_algorithms_enabled():
        return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=True)
    weights = _weights(x.shape[-1], side, x.device).to(x.dtype)
    return weights @ x @ weights.T


def _weights(of: int, to: int, device: torch.device) -> Tensor:
    """[to, of]: how much of each old position a new one has, 1 less their distance."""
    at = torch.linspace(0, of - 1, to, device=device)
    return (1 - (at[:, None] - torch.arange(of, device=device)).abs()).clamp_min(0)
