"""Image tensors to PNG files that a person can look at."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.files import write_atomically

# A grey that neither a dark nor a light image melts into.
_BACKGROUND = 128


def image_grid(
    images: Tensor | np.ndarray,
    rows: int | None = None,
    cols: int | None = None,
    pad: int = 2,
    scale: int | None = None,
) -> np.ndarray:
    """Lay images out on a grid, row by row.

    Args:
        images: [N, C, H, W] with C = 1 or 3, uint8 or float in [0, 1] (clipped).
        rows: rows of the grid; by default as many as the images need. Images that do not fit are left out.
        cols: columns; by default about as many as rows.
        pad: pixels between images and around them; not enlarged.
        scale: whole-number enlargement by nearest neighbour; by default what brings an image to 48 pixels or more.

    Returns:
        uint8 [height, width, C]: grey or RGB.

    Raises:
        ArgumentError: no images, another shape or dtype, values that are not finite, rows, cols, pad or scale out
            of range.
    """
    pixels = _pixels(images)
    n, height, width, channels = pixels.shape
    if cols is None:
        cols = -(-n // rows) if rows else max(1, round(n**0.5))
    rows = -(-n // cols) if rows is None and cols > 0 else rows
    if scale is None:
        scale = max(1, -(-48 // min(height, width)))
    if rows is None or min(rows, cols, scale) < 1 or pad < 0:
        raise ArgumentError(f"A grid needs rows, cols and scale >= 1 and pad >= 0, got {rows}, {cols}, {scale}, {pad}.")
    pixels = pixels[: rows * cols].repeat(scale, axis=1).repeat(scale, axis=2)
    high, wide = height * scale + pad, width * scale + pad
    grid = np.full((rows * high + pad, cols * wide + pad, channels), _BACKGROUND, np.uint8)
    for i, image in enumerate(pixels):
        top, left = pad + (i // cols) * high, pad + (i % cols) * wide
        grid[top : top + height * scale, left : left + width * scale] = image
    return grid


def reconstruction_grid(
    originals: Tensor | np.ndarray,
    reconstructions: Tensor | np.ndarray,
    cols: int = 8,
    pad: int = 2,
    scale: int | None = None,
    legend: bool = False,
) -> np.ndarray:
    """Originals, each with its reconstruction to the right of it.

    Args:
        originals: [N, C, H, W], uint8 or float in [0, 1].
        reconstructions: same shape.
        cols: pairs a row.
        pad: pixels between the two of a pair; pairs are three times as far apart.
        scale: as for `image_grid`.
        legend: write "original | reconstruction" above the grid.

    Returns:
        uint8 [height, width, C].

    Raises:
        ArgumentError: shapes differ, or as for `image_grid`.
    """
    left, right = _pixels(originals), _pixels(reconstructions)
    if left.shape != right.shape:
        raise ArgumentError(
            f"Originals {tuple(originals.shape)} and reconstructions {tuple(reconstructions.shape)} differ in shape."
        )
    n, height, width, channels = left.shape
    if scale is None:
        scale = max(1, -(-48 // min(height, width)))
    if min(cols, scale) < 1 or pad < 0:
        raise ArgumentError(f"A grid needs cols and scale >= 1 and pad >= 0, got {cols}, {scale}, {pad}.")
    left, right = (x.repeat(scale, axis=1).repeat(scale, axis=2) for x in (left, right))
    gap = np.full((n, height * scale, pad, channels), _BACKGROUND, np.uint8)
    pairs = np.concatenate([left, gap, right], axis=2).transpose(0, 3, 1, 2)
    grid = image_grid(pairs, cols=min(cols, n), pad=3 * pad, scale=1)
    return _with_legend(grid, "each pair: original | reconstruction") if legend else grid


def in_colour(picture: np.ndarray) -> np.ndarray:
    """A picture [height, width, 1 or 3] with three channels, as `side_by_side` wants it."""
    return picture if picture.shape[2] == 3 else picture.repeat(3, axis=2)


def side_by_side(pictures: Sequence[np.ndarray], titles: Sequence[str], cols: int = 3, gap: int = 24) -> np.ndarray:
    """Pictures with a title above each, `cols` in a row.

    Args:
        pictures: uint8 [height, width, 3], all of one height and width.
        titles: one each.
        gap: pixels between them.

    Returns:
        uint8 [height, width, 3], on white.

    Raises:
        ArgumentError: no pictures, or not as many titles.
    """
    if not pictures or len(pictures) != len(titles):
        raise ArgumentError(f"There are {len(pictures)} pictures and {len(titles)} titles; expected as many, at least one.")
    titled = [_with_legend(picture, title) for picture, title in zip(pictures, titles)]
    high, wide = titled[0].shape[:2]
    cols = min(cols, len(titled))
    rows = -(-len(titled) // cols)
    canvas = np.full((rows * (high + gap) - gap, cols * (wide + gap) - gap, 3), 255, np.uint8)
    for i, picture in enumerate(titled):
        top, left = (i // cols) * (high + gap), (i % cols) * (wide + gap)
        canvas[top : top + high, left : left + wide] = picture
    return canvas


def save_png(path: str | os.PathLike[str], array: np.ndarray) -> Path:
    """Write uint8 [height, width, 1 or 3] or [height, width] as PNG, whole or not at all; returns the path.

    Raises:
        ArgumentError: another shape or dtype. RunFolderError: the folder cannot be written.
    """
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise ArgumentError(f"A PNG needs uint8 [height, width, 1 or 3], got {array.dtype} {array.shape}.")
    buffer = io.BytesIO()
    _pil_image(array).save(buffer, "PNG")
    return write_atomically(path, buffer.getvalue())


def read_png(path: str | os.PathLike[str]) -> np.ndarray:
    """A PNG as uint8 [height, width, 3]."""
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _pil_image(array: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def _with_legend(grid: np.ndarray, text: str) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    size, room = max(14, grid.shape[1] // 25), grid.shape[1] - 12
    font: Any = ImageFont.load_default(size)
    if (length := font.getlength(text)) > room:  # smaller letters in a strip as high as the others
        font = ImageFont.load_default(max(8, size * room / length))
    strip = Image.new("L", (grid.shape[1], size + 10), 255)
    ImageDraw.Draw(strip).text((6, 3), text, fill=0, font=font)
    return np.concatenate([np.asarray(strip)[..., None].repeat(grid.shape[2], axis=2), grid])


def _pixels(images: Tensor | np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, C]."""
    array = images.detach().cpu().float().numpy() if _is_float_tensor(images) else np.asarray(_on_cpu(images))
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise ArgumentError(f"Pictures need images [N, 1 or 3, H, W], at least one, got {array.shape}.")
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise ArgumentError("The images hold NaN or infinity.")
        array = np.rint(array.clip(0, 1) * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ArgumentError(f"Pictures need uint8 images, or floats in [0, 1], got {array.dtype}.")
    return array.transpose(0, 2, 3, 1)


def _is_float_tensor(images: Any) -> TypeGuard[Tensor]:
    return isinstance(images, Tensor) and images.is_floating_point()


def _on_cpu(images: Any) -> Any:
    return images.detach().cpu() if isinstance(images, Tensor) else images
