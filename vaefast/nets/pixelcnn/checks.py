"""Checks of what autoregressive decoders are given."""

from __future__ import annotations

import torch
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.pixel_values import as_unit


def checked_codes(z: Tensor, latent_dim: int) -> Tensor:
    """`z`, if it is [B, latent_dim]; `ArgumentError` otherwise."""
    if z.ndim != 2 or z.shape[1] != latent_dim:
        raise ArgumentError(f"z has shape {list(z.shape)}; expected [B, {latent_dim}], a code for each image.")
    return z


def checked_image(x: Tensor, z: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    """`x` as numbers in [0, 1], if it is an image of the shape for each code; `ArgumentError` otherwise."""
    if x.shape != (len(z), *image_shape):
        raise ArgumentError(f"x has shape {list(x.shape)}; expected {[len(z), *image_shape]}, an image for each of the "
                            f"{len(z)} codes.")
    return as_unit(x, z.dtype) if x.dtype == torch.uint8 else x


def checked_uniforms(uniforms: Tensor | None, z: Tensor, shape: tuple[int, int, int],
                     generator: torch.Generator | None) -> Tensor:
    """`uniforms`, if they are [B, *shape] of z's dtype and device; drawn from `generator` where they are None.

    Raises:
        ArgumentError: another shape, or uniforms together with a generator.
    """
    if uniforms is None:
        return torch.rand(len(z), *shape, generator=generator, dtype=z.dtype, device=z.device)
    if generator is not None:
        raise ArgumentError("uniforms and generator are given together; expected one of the two.")
    if uniforms.shape != (len(z), *shape):
        raise ArgumentError(f"uniforms has shape {list(uniforms.shape)}; expected {[len(z), *shape]}: numbers in [0, 1) for "
                            "each image, draw, row and column.")
    return uniforms.to(z)
