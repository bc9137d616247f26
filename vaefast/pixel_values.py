"""The one rule of which pixels images may have - uint8, or floating point in [0, 1] - and the sentences of its errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from vaefast.errors import DataError

TOLERANCE = 1e-6
"""So far outside [0, 1] a pixel may lie; it is clamped."""
_VALUES_A_PART = 1 << 24


def in_parts(x: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Examples [N, ...] some at a time, each part with the number of its first: all at once would take as much memory again."""
    step = max(1, _VALUES_A_PART // max(1, x[0].numel()))
    for start in range(0, len(x), step):
        yield start, x[start : start + step]


def with_single_axes(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Examples [N, ...] that lack axes of one value which `shape` has, with these; others as they are."""
    if x.ndim <= len(shape) and [n for n in x.shape[1:] if n != 1] == [n for n in shape if n != 1]:
        return x.reshape(len(x), *shape)
    return x


def as_unit(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Pixels as `dtype`, uint8 divided by 255 (in float32 without one); floats without one are returned as they are."""
    if x.dtype != torch.uint8:
        return x if dtype is None else x.to(dtype)
    return x.to(dtype or torch.float32).div_(255)


def as_levels(x: Tensor) -> Tensor:
    """Floats in [0, 1] as the nearest of 256 levels, uint8; uint8 as it is."""
    return x if x.dtype == torch.uint8 else x.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def outside(part: Tensor, start: int = 0) -> bool:
    """Whether floating-point images [B, C, H, W] hold pixels to be clamped. Waits for the device.

    Raises:
        DataError: NaN, infinity, or a pixel further outside [0, 1] than the tolerance; the first is named, images being
            counted from `start`.
    """
    low, high = (float(value) for value in part.detach().aminmax())
    if not (low >= -TOLERANCE and high <= 1.0 + TOLERANCE):  # also true for NaN
        raise out_of_range(part, start)
    return low < 0.0 or high > 1.0


def first_outside(part: Tensor, low: float, high: float, name: Callable[[int], str]) -> tuple[str, float]:
    """In words where images [B, C, H, W] first hold a value that is not within [low, high], and that value; `name` gives the
    name of the n-th of them.

    Raises:
        DataError: the value is NaN or infinite.
    """
    n, c, h, w = (~((part >= low) & (part <= high))).nonzero()[0].tolist()
    value = float(part[n, c, h, w])
    where = f"{name(n)} holds {value:.6g} at channel {c}, row {h}, column {w}"
    if not math.isfinite(value):
        raise DataError(f"{where}; every value must be finite: remove or repair that image.")
    return where, value


def out_of_range(part: Tensor, start: int = 0, name: Callable[[int], str] | None = None) -> DataError:
    """The error of images [B, C, H, W] that hold NaN, or values outside [0, 1]; they are counted from `start`, or named."""
    try:
        where, value = first_outside(part, -TOLERANCE, 1.0 + TOLERANCE, name or (lambda n: f"image {start + n}"))
    except DataError as error:
        return error
    high = float(part.detach().amax())
    hint = ("divide by 255 or pass uint8" if high > 2.0 else
            "images of -1 to 1 become x / 2 + 0.5" if value < 0 and high <= 1.0 + TOLERANCE else "rescale the images")
    return DataError(f"{where}; floating-point images must lie in [0, 1]: {hint}.")


def wrong_dtype(dtype: Any, what: str = "images") -> DataError:
    """The error of images of another dtype."""
    verb = "have" if what == "images" else "has"
    return DataError(
        f"{what} {verb} dtype {str(dtype).removeprefix('torch.')}; uint8 in 0..255 or floats in [0, 1] were expected: "
        "convert first."
    )


def require_finite(x: Tensor, start: int = 0) -> None:
    """Raise for examples [B, ...] of real numbers, counted from `start`, that hold NaN or infinity. Waits for the device.

    Raises:
        DataError: there is one; the first is named.
    """
    finite = torch.isfinite(x.detach())
    if not bool(finite.all()):
        row = int((~finite.flatten(1).all(1)).nonzero()[0])
        what = "NaN" if bool(x.detach()[row].isnan().any()) else "infinity"
        raise DataError(f"row {start + row} holds {what}, and every value must be a number; leave such examples out, or fill "
                        "them in.")
