"""Gates and nonlinearities of the PixelCNN family; channels lie along dimension 1."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def tanh_gate(h: Tensor) -> Tensor:
    """tanh of the first half of the channels times the sigmoid of the second (van den Oord et al. 2016, equation 2)."""
    a, b = h.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


def linear_gate(h: Tensor) -> Tensor:
    """The first half of the channels times the sigmoid of the second."""
    a, b = h.chunk(2, dim=1)
    return a * torch.sigmoid(b)


def both_elu(h: Tensor) -> Tensor:
    """elu(h) and elu(-h), twice the channels ("concatenated ELU")."""
    return F.elu(torch.cat([h, -h], 1))
