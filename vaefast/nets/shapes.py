"""Checks of the shapes and sizes that networks are built for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vaefast.errors import ArgumentError

CodeShape = int | tuple[int, int, int]
"""Dimensions k of a code, or (c, h, w) of codes that are maps."""


def checked_image_shape(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """`image_shape` as (channels, height, width), each 1 or more; `ArgumentError` otherwise."""
    try:
        channels, height, width = (int(n) for n in image_shape)
    except (TypeError, ValueError):
        hint = " (other shapes are given as data_shape)" if isinstance(image_shape, (tuple, list)) else ""
        raise ArgumentError(f"image_shape is {image_shape!r}; expected (channels, height, width){hint}.") from None
    if min(channels, height, width) < 1:
        raise ArgumentError(f"image_shape is {(channels, height, width)}; expected (channels, height, width), each 1 or more.")
    if width in (1, 3, 4) and min(channels, height) > 4:  # as arrays of pictures have it
        raise ArgumentError(f"image_shape is {(channels, height, width)}, which reads as {channels} channels of {height}x{width} "
                            f"pixels; the order is (channels, height, width): {(width, channels, height)}.")
    return channels, height, width


def checked_data_shape(data_shape: Any, sizes: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """`data_shape`, the shape of one example, as a tuple of whole numbers above 0; of so many as `sizes` says, if it does.

    Raises:
        ArgumentError: anything else.
    """
    try:
        shape = tuple(int(n) for n in data_shape)
    except (TypeError, ValueError):
        hint = f" (a vector's is ({data_shape},))" if isinstance(data_shape, int) else ""
        raise ArgumentError(f"data_shape is {data_shape!r}; expected the sizes of one example, such as (30,){hint}.") from None
    counts = (sizes,) if isinstance(sizes, int) else sizes
    if not shape or min(shape) < 1 or shape != tuple(data_shape) or counts and len(shape) not in counts:
        which = f"{' or '.join(map(str, counts))} of them, each" if counts else "each"
        raise ArgumentError(f"data_shape is {tuple(data_shape)!r}; expected the sizes of one example, {which} a whole number "
                            "above 0.")
    return shape


def shape_of_data(image_shape: Any, data_shape: Any) -> tuple[int, ...]:
    """The shape of one example of a model that is told `image_shape`, of images, or `data_shape`, of anything else.

    Raises:
        ArgumentError: both or neither of them, a `data_shape` that is an image's, or a shape that cannot be.
    """
    if (image_shape is None) == (data_shape is None):
        raise ArgumentError(f"image_shape and data_shape are {'both' if data_shape is not None else 'not'} given; give one: "
                            "image_shape=(C, H, W) for images, data_shape for vectors (D,), sequences (C, L) or volumes "
                            "(C, D, H, W).")
    if data_shape is None:
        return checked_image_shape(image_shape)
    shape = checked_data_shape(data_shape)
    if len(shape) == 3:
        raise ArgumentError(f"data_shape is {shape}, which is that of images; give it as image_shape={shape}, or, of a field of "
                            f"real numbers, data_shape={(shape[0], 1, *shape[1:])}.")
    return shape


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
