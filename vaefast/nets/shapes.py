"""Checks of the shapes and sizes that networks are built for."""

from __future__ import annotations

from typing import Any

from vaefast.errors import ArgumentError

CodeShape = int | tuple[int, int, int]
"""Dimensions k of a code, or (c, h, w) of codes that are maps."""


def checked_image_shape(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """`image_shape` as (channels, height, width), each 1 or more; `ArgumentError` otherwise."""
    try:
        channels, height, width = (int(n) for n in image_shape)
    except (TypeError, ValueError):
        raise ArgumentError(f"image_shape is {image_shape!r}; expected (channels, height, width).") from None
    if min(channels, height, width) < 1:
        raise ArgumentError(f"image_shape is {(channels, height, width)}; expected (channels, height, width), each 1 or more.")
    if width in (1, 3, 4) and min(channels, height) > 4:  # as arrays of pictures have it
        raise ArgumentError(f"image_shape is {(channels, height, width)}, which reads as {channels} channels of {height}x{width} "
                            f"pixels; the order is (channels, height, width): {(width, channels, height)}.")
    return channels, height, width


def whole_number(name: str, value: Any) -> int:
    """`value`, if it is a whole number above 0; `ArgumentError` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(f"{name} is {value!r}; expected a whole number above 0.")
    return value


def checked_latents(latent_dim: Any) -> tuple[int, tuple[int, int, int] | None]:
    """k, and the shape of codes that have places: k alone of a whole number, c h w and (c, h, w) of three of them.

    Raises:
        ArgumentError: anything else.
    """
    if not isinstance(latent_dim, (tuple, list)):
        return whole_number("latent_dim", latent_dim), None
    if len(latent_dim) != 3:
        raise ArgumentError(f"latent_dim is {latent_dim!r}; expected a whole number, or (channels, height, width).")
    c, h, w = (whole_number("each of latent_dim", n) for n in latent_dim)
    return c * h * w, (c, h, w)
