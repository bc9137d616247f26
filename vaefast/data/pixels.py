"""One PIL image in any mode -> uint8 pixels, the same way everywhere."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

_GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N", "I")
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def is_grey(image: Image.Image) -> bool:
    """Whether the image is stored with grey values only."""
    return image.mode in _GREY


def to_mode(image: Image.Image, channels: int | None) -> Image.Image:
    """The image in mode "L" (1 channel) or "RGB" (3); None keeps grey images grey.

    Turned upright where EXIF says so; transparency is laid over white; 16-bit grey is reduced to 8 bits; of an
    animation the first frame is taken.

    Raises:
        ValueError: an image of floating-point values, which have no known range.
    """
    if image.mode == "F":
        raise ValueError("it holds floating-point values of unknown range")
    mode = "L" if channels == 1 or (channels is None and is_grey(image)) else "RGB"
    if "exif" in image.info:
        image = ImageOps.exif_transpose(image)
    if image.mode in _SIXTEEN_BIT:
        # Pillow's own conversion cuts off at 255 instead of scaling.
        deep = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((deep + 128) // 257).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(ground, image)
    return image if image.mode == mode else image.convert(mode)


def to_uint8(image: Image.Image, channels: int | None) -> np.ndarray:
    """The image's pixels as a writable uint8 array [H, W, C], C being 1 or 3; conversions as in `to_mode`."""
    array = np.array(to_mode(image, channels), np.uint8)
    return array[:, :, None] if array.ndim == 2 else array
