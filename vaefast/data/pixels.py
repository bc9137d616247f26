"""One PIL image in any mode -> uint8 pixels, the same way everywhere."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import ExifTags, Image

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_GREY = ("1", "L", "LA", "La", *_SIXTEEN_BIT)
_FEW_BITS = {"L;2": 85, "L;4": 17}  # Pillow's name of a PNG's grey values -> what it multiplies them by
_PHOTOMETRIC, _BITS = 262, 258  # tags of a TIFF
_WHITE = 255
_TURNS: dict[int | None, Image.Transpose] = dict(zip(range(2, 9), (
    Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90), strict=True))  # by EXIF's orientation


def is_grey(image: Image.Image) -> bool:
    """Whether the image is stored with grey values only."""
    return image.mode in _GREY or _raw_mode(image) == "LA;16B"  # which Pillow reads as RGBA


def to_mode(image: Image.Image, channels: int | None) -> Image.Image:
    """The image in mode "L" (1 channel) or "RGB" (3); None keeps grey images grey.

    Turned upright where EXIF or XMP say so; transparency is laid over white; 16-bit grey is reduced to 8 bits; of an
    animation the first frame is taken. How many bits a PNG's transparent level counts is known only before it is loaded.

    Raises:
        ValueError: an image of floating-point values or of integers beyond 16 bits, which have no known range.
    """
    if image.mode == "F":
        raise ValueError("it holds floating-point values of unknown range")
    mode = "L" if channels == 1 or (channels is None and is_grey(image)) else "RGB"
    factor, low = _FEW_BITS.get(_raw_mode(image), 1), _low_bytes(image)
    tags = getattr(image, "tag_v2", {})
    image = _upright(image)
    clear = image.info.get("transparency")
    if image.mode in _SIXTEEN_BIT:
        image = _eight_bit(image, clear, tags)
    elif isinstance(clear, int) and image.mode in ("1", "L"):
        grey = np.array(image.convert("L"))
        grey[grey == (clear * factor & 255)] = _WHITE
        image = Image.fromarray(grey)
    elif isinstance(clear, tuple) and image.mode == "RGB":
        colour = np.array(image)
        level = np.asarray(clear) & 0xFFFF
        hidden = (colour == (level & 255 if low is None else level >> 8)).all(2)
        if low is not None:
            hidden &= (np.asarray(_upright(low)) == level & 255).all(2)
        colour[hidden] = _WHITE
        image = Image.fromarray(colour)
    elif clear is not None or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (_WHITE,) * 4)
        image = Image.alpha_composite(ground, image)
    return image if image.mode == mode else image.convert(mode)


def to_uint8(image: Image.Image, channels: int | None) -> np.ndarray:
    """The image's pixels as a writable uint8 array [H, W, C], C being 1 or 3; conversions as in `to_mode`."""
    array = np.array(to_mode(image, channels), np.uint8)
    return array[:, :, None] if array.ndim == 2 else array


def _upright(image: Image.Image) -> Image.Image:
    """The image loaded and turned as `ImageOps.exif_transpose` does, which copies every image and rewrites its EXIF."""
    image.load()
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # EXIF that cannot be read tells no orientation; the pixels are sound
        turn = None
    return image if turn is None else image.transpose(turn)


def _eight_bit(image: Image.Image, clear: Any, tags: Any) -> Image.Image:
    """16-bit grey as 8-bit grey. (Pillow's own conversion cuts off at 255 instead of scaling.)"""
    deep = np.asarray(image).astype(np.int64)
    low, high = int(deep.min()), int(deep.max())
    if low < 0 or high > 65535:
        raise ValueError(f"it holds integers from {low:,} to {high:,}, where grey has 0 to 65,535")
    hidden = deep == clear if isinstance(clear, int) else None
    if tags.get(_BITS) == (12,):
        deep = (deep * 65535 + 2047) // 4095
    if tags.get(_PHOTOMETRIC) == 0:  # 0 is white, which Pillow minds in 8 bits alone
        deep = 65535 - deep
    grey = ((deep + 128) // 257).astype(np.uint8)
    if hidden is not None:
        grey[hidden] = _WHITE
    return Image.fromarray(grey)


def _raw_mode(image: Image.Image) -> str:
    """How values stand in the file of a PNG that is not loaded yet; "" for others."""
    tiles = getattr(image, "tile", None) or [()]
    return tiles[0][-1] if image.format == "PNG" and tiles[0] and isinstance(tiles[0][-1], str) else ""


def _low_bytes(image: Image.Image) -> Image.Image | None:
    """Of a 16-bit colour PNG with a transparent colour, its low bytes, which Pillow drops; None for others."""
    if _raw_mode(image) != "RGB;16B" or "transparency" not in image.info:
        return None
    file: Any = getattr(image, "fp", None)
    at = file.tell()
    file.seek(0)
    low: Any = Image.open(io.BytesIO(file.read()), formats=("PNG",))
    file.seek(at)
    low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]  # as if the other byte came first
    low.load()
    return low
