"""How models of images read what they are given and what their networks return."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.pixel_values import TOLERANCE, as_unit


def full_precision(x: Tensor) -> Tensor:
    """float32 for half precisions: losses, gamma and draws stay in it under autocast."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def wrong_output(out: object, network: nn.Module, shape: tuple[int, ...]) -> ArgumentError:
    """The error of a network that returned no tensor [B, *shape]."""
    return ArgumentError(f"{type(network).__name__} returned a {type(out).__name__}; expected a tensor "
                         f"[B, {', '.join(map(str, shape))}].")


def as_float(x: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 to [0, 1] in `dtype`; anything else as it is."""
    return as_unit(x, dtype) if x.dtype == torch.uint8 else x


def in_dtype(x: Tensor, like: Tensor) -> Tensor:
    """What networks take whose weights are of the dtype of `like`: uint8 scaled to [0, 1], floats rounded to it."""
    x = as_float(x, like.dtype)
    return x.to(like.dtype) if x.is_floating_point() else x


def clipped(images: Tensor, network: nn.Module | None) -> Tensor:
    """Images clipped to [0, 1]. It is said once of a network, such as a decoder, that is not the package's and leaves the range
    without saying what it returns."""
    if (network is not None and not torch.compiler.is_compiling() and not type(network).__module__.startswith("vaefast.")
            and not hasattr(network, "output") and not network.__dict__.get("_told_of_range")):
        low, high = (float(value) for value in images.detach().aminmax()) if images.numel() else (0.0, 1.0)
        if low < -TOLERANCE or high > 1 + TOLERANCE:
            network.__dict__["_told_of_range"] = True
            warnings.warn(f"{type(network).__name__} returned pixels from {low:.3g} to {high:.3g}, which are clipped to [0, 1]. "
                          "Give it the attribute output = \"logits\" if the image is their sigmoid, or output = \"image\" if "
                          "they are meant as they are.", stacklevel=4)
    return images.clamp(0, 1)


def gives_logits(decoder: nn.Module) -> bool:
    """Whether the image is the sigmoid of what the decoder returns."""
    return getattr(decoder, "output", "image") == "logits"
