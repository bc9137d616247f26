"""What values stand for black and white in a user's images; their way to uint8 or floats in [0, 1], and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaefast.errors import ArgumentError, DataError
from vaefast.pixel_values import TOLERANCE, as_unit, first_outside, in_parts, out_of_range, wrong_dtype

ValueRange = Literal["auto"] | tuple[float, float]
"""The values of black and white, or "auto" for the rule of `pixel_range`."""
_UINT16 = (torch.uint16,)


def checked_range(value_range: Any) -> ValueRange:
    """`value_range`, if it is "auto" or two finite numbers of which the second is larger; else ArgumentError."""
    if isinstance(value_range, str) and value_range == "auto":
        return "auto"
    if isinstance(value_range, (tuple, list)) and len(value_range) == 2:
        numbers = [float(v) for v in value_range if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if len(numbers) == 2 and all(map(math.isfinite, numbers)) and numbers[0] < numbers[1]:
            return numbers[0], numbers[1]
    raise ArgumentError(f"value_range is {value_range!r}; expected 'auto', or the values of black and white, such as (0, 255).")


@dataclass(frozen=True)
class PixelRange:
    """The values of black and white in images of one dtype.

    Attributes:
        low, high: of black and white.
        dtype: of the images.
        given: whether the user named them.
    """

    low: float
    high: float
    dtype: torch.dtype
    given: bool = False

    @property
    def pair(self) -> tuple[float, float]:
        """(low, high)."""
        return self.low, self.high

    def told(self) -> str:
        """A sentence on what was taken for the range, where that is not obvious; else ""."""
        obvious = self.dtype in (torch.bool, torch.uint8) or self.pair == (0.0, 1.0)
        if self.given or obvious:
            return ""
        return (f"the images are {_name(self.dtype)}, and were taken to go from {self.low:g}, black, to {self.high:g}, white; if "
                "that is wrong, give value_range.")

    def unit(self, images: Tensor, name: Callable[[int], str] = "image {}".format) -> Tensor:
        """Images [N, C, H, W] as uint8, or as float32 in [0, 1]; the same tensor where it is such already.

        Integers of 0..255, or of 0 and 1, become uint8. Values that lie outside by no more than 1e-6 of the range are clamped.

        Args:
            images: of this dtype, on the CPU.
            name: what errors call the n-th of them.

        Raises:
            DataError: another dtype, NaN or infinity, or values outside the range; the first one is named.
        """
        if images.dtype != self.dtype:
            raise DataError(f"{name(0)} has dtype {_name(images.dtype)}, and the first had {_name(self.dtype)}; all must have "
                            "the same dtype.")
        if images.dtype == torch.bool:
            return images.to(torch.uint8).mul_(255).contiguous()
        if images.dtype == torch.uint8 and self.pair == (0.0, 255.0):
            return images.contiguous()
        if images.is_floating_point() and self.pair == (0.0, 1.0):
            return self._clamped(images, name)
        bytes_out = not images.is_floating_point() and self.pair in ((0.0, 255.0), (0.0, 1.0))
        out = torch.empty(images.shape, dtype=torch.uint8 if bytes_out else torch.float32)
        for start, part in _parts(images):
            self._check(part, start, name)
            if bytes_out:
                out[start:start + len(part)] = part * (255 // int(self.high))
            else:
                out[start:start + len(part)] = ((part.float() - self.low) / (self.high - self.low)).clamp_(0.0, 1.0)
        return out

    def _clamped(self, images: Tensor, name: Callable[[int], str]) -> Tensor:
        clamped = False
        for start, part in _parts(images):
            low, high = _extremes(part)
            if not (low >= -TOLERANCE and high <= 1.0 + TOLERANCE):  # also true for NaN
                raise _refused(part, start, name)
            clamped = clamped or low < 0.0 or high > 1.0
        images = images.float().contiguous()
        return images.clamp(0.0, 1.0) if clamped else images

    def _check(self, part: Tensor, start: int, name: Callable[[int], str]) -> None:
        low, high = _extremes(part)
        slack = TOLERANCE * (self.high - self.low)
        if not (low >= self.low - slack and high <= self.high + slack):
            where, _ = first_outside(part, self.low - slack, self.high + slack, lambda n: name(start + n))
            how = "as value_range says" if self.given else "as the first ones do"
            raise DataError(f"{where}; the images were to go from {self.low:g} to {self.high:g}, {how}: repair that image, or "
                            "give another value_range.")


def pixel_range(images: Tensor, value_range: ValueRange = "auto") -> PixelRange:
    """The range of images [N, C, H, W] of any real dtype: the one given, or what their values say.

    uint8 is 0..255, bool black and white. Other integers are 0..255 if the largest is 2 to 255, uint16 0..65535 if it is above
    255. Floats are in [0, 1], or, where there are negative ones, in [-1, 1].

    Raises:
        DataError: the values fit none of these, or more than one; NaN or infinity; complex numbers.
    """
    dtype = images.dtype
    if dtype.is_complex:
        raise wrong_dtype(dtype)
    if value_range != "auto":
        return PixelRange(*value_range, dtype, given=True)
    if dtype == torch.bool:
        return PixelRange(0.0, 1.0, dtype)
    if dtype == torch.uint8:
        return _of_bytes(images)
    extremes = [_extremes(part) for _, part in _parts(images)]
    low, high = min(e[0] for e in extremes), max(e[1] for e in extremes)
    if dtype.is_floating_point:
        if all(-1.0 - TOLERANCE <= a and b <= 1.0 + TOLERANCE for a, b in extremes):  # false for NaN
            return PixelRange(0.0 if low >= -TOLERANCE else -1.0, 1.0, dtype)
        most = torch.finfo(torch.float32).max
        for start, part in _parts(images):  # what is not finite says nothing of the range, so that it is named first
            if not math.isfinite(sum(_extremes(part))):
                first_outside(part, -most, most, lambda n: f"image {start + n}")  # noqa: B023  # called at once
        for start, part in _parts(images):
            a, b = _extremes(part)
            if a < -TOLERANCE or b > 1.0 + TOLERANCE:
                raise _refused(part, start, "image {}".format, (low, high))
    what = f"the images are {_name(dtype)}"
    if low < 0 or high > (65535 if dtype in _UINT16 else 255):
        raise DataError(f"{what} with values from {low:.0f} to {high:.0f}; integers of 0 to 255 were expected: give value_range, "
                        "the values of black and white.")
    if dtype in _UINT16 and high <= 255:
        raise DataError(f"{what} with values up to {high:.0f}, which may be of 0 to 255 or of 0 to 65535; give "
                        "value_range=(0, 255) or value_range=(0, 65535).")
    if high <= 1:
        raise _zeros_and_ones(what)
    return PixelRange(0.0, 65535.0 if high > 255 else 255.0, dtype)


def _of_bytes(images: Tensor) -> PixelRange:
    """uint8 is 0..255, unless there are zeros and ones alone: as 0..255 they would all be black."""
    high = 0.0
    for _, part in _parts(images):  # as a rule the first part is enough
        high = max(high, float(part.amax()))
        if high > 1:
            break
    if high == 1:
        raise _zeros_and_ones("the images are uint8")
    return PixelRange(0.0, 255.0, images.dtype)


def _zeros_and_ones(what: str) -> DataError:
    return DataError(f"{what} and all 0 or 1; give value_range=(0, 1) if 1 is white, or value_range=(0, 255) if 255 is.")


def _refused(part: Tensor, start: int, name: Callable[[int], str], extremes: tuple[float, float] | None = None) -> DataError:
    """The error of floats outside [0, 1], with the range that they may have."""
    error = out_of_range(part, name=lambda n: name(start + n))
    low, high = extremes or _extremes(part)
    if not math.isfinite(low + high):
        return error
    fits = "(-1, 1)" if low < 0 and -1 - TOLERANCE <= low and high <= 1 + TOLERANCE else \
        "(0, 255)" if low >= 0 and 2 < high <= 255 else "(lo, hi), the values of black and white"
    return DataError(f"{error} Or give value_range={fits}.")


def _parts(images: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The images a part at a time, each with the number of its first; unsigned integers that torch has no arithmetic for are
    signed ones."""
    wide = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}.get(images.dtype, images.dtype)
    for start, part in in_parts(images):
        yield start, part.to(wide)


def _extremes(part: Tensor) -> tuple[float, float]:
    """Smallest and largest value; NaN where there is one."""
    low, high = part.aminmax()
    return float(low), float(high)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def to_range(images: Tensor, form: Literal["uint8", "pil"] | Sequence[float]) -> Any:
    """Images as a model gives them, in the form that you work with.

    >>> vaefast.data.to_range(model.sample(64), (-1, 1))

    Args:
        images: [..., C, H, W], float in [0, 1] or uint8, on any device.
        form: "uint8", "pil" or (lo, hi), the values of black and white.

    Returns:
        "uint8": a uint8 tensor of 0..255, rounded; (lo, hi): a float tensor; both of the same shape and device. "pil": a list of
        PIL images, of [C, H, W] or [N, C, H, W] with 1, 3 or 4 channels.

    Raises:
        ArgumentError: another form, images of another dtype, or of shapes that PIL has no images of.
    """
    if not isinstance(images, Tensor) or not (images.dtype == torch.uint8 or images.is_floating_point()):
        what = f"dtype {_name(images.dtype)}" if isinstance(images, Tensor) else f"type {type(images).__name__}"
        raise ArgumentError(f"images are of {what}; expected a tensor of floats in [0, 1] or of uint8, as models give them.")
    if not isinstance(form, str):
        pair = checked_range(form)
        assert pair != "auto"
        return as_unit(images) * (pair[1] - pair[0]) + pair[0]
    if form not in ("uint8", "pil"):
        raise ArgumentError(f"form is {form!r}; expected 'uint8', 'pil' or the values of black and white, such as (-1, 1).")
    if images.is_floating_point():
        images = images.detach().float().clamp(0.0, 1.0).mul(255).round_().to(torch.uint8)
    if form == "uint8":
        return images
    batch = images[None] if images.ndim == 3 else images
    if batch.ndim != 4 or batch.shape[1] not in (1, 3, 4):
        raise ArgumentError(f"images have shape {list(images.shape)}; PIL has images of [C, H, W] or [N, C, H, W] with 1, 3 or 4 "
                            "channels.")
    arrays = np.moveaxis(batch.detach().cpu().numpy(), 1, -1)
    return [Image.fromarray(np.ascontiguousarray(a[..., 0] if a.shape[-1] == 1 else a)) for a in arrays]
