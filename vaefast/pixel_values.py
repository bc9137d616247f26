"""The one rule of which pixels images may have - uint8, or floating point in [0, 1] - and the sentences of its errors."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vaefast.errors import DataError

TOLERANCE = 1e-6
"""So far outside [0, 1] a pixel may lie; it is clamped."""


def as_unit(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Pixels as `dtype`, uint8 divided by 255 (in float32 without one); floats without one are returned as they are."""
    if x.dtype != torch.uint8:
        return x if dtype is None else x.to(dtype)
    return x.to(dtype or torch.float32).div_(255)


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


def out_of_range(part: Tensor, start: int = 0) -> DataError:
    """The error of images [B, C, H, W] that hold NaN, or values outside [0, 1]."""
    bad = ~((part >= -TOLERANCE) & (part <= 1.0 + TOLERANCE))
    n, c, h, w = bad.nonzero()[0].tolist()
    value = float(part[n, c, h, w])
    where = f"image {start + n} holds {value:.6g} at channel {c}, row {h}, column {w}"
    if not math.isfinite(value):
        return DataError(f"{where}; every value must be finite: remove or repair that image.")
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
