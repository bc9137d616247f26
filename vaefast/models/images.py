"""How models of images read what they are given and what their networks return."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def full_precision(x: Tensor) -> Tensor:
    """float32 for half precisions: losses, gamma and draws stay in it under autocast."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def as_float(x: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 to [0, 1] in `dtype`; anything else as it is."""
    return x.to(dtype).div_(255) if x.dtype == torch.uint8 else x


def in_dtype(x: Tensor, like: Tensor) -> Tensor:
    """What networks take whose weights are of the dtype of `like`: uint8 scaled to [0, 1], floats rounded to it."""
    x = as_float(x, like.dtype)
    return x.to(like.dtype) if x.is_floating_point() else x


def gives_logits(decoder: nn.Module) -> bool:
    """Whether the image is the sigmoid of what the decoder returns."""
    return getattr(decoder, "output", "image") == "logits"
