"""Convolutions whose gradient torch gets wrong in 16 bits on a CPU, in float32 instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_PLAIN = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def right_convolutions(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """What makes the gradients of all convolutions right inside it, under this precision's autocast."""
    return SmallInFloat32() if device.type == "cpu" and precision in ("bf16", "fp16") else nullcontext()


class SmallInFloat32(TorchFunctionMode):
    """Inside, under autocast on a CPU, a padded convolution over a side that is shorter than its kernel runs in float32.

    The gradient of such a weight in bfloat16 is read from memory that nothing has written (oneDNN in torch 2.14, on CPUs that
    multiply in bfloat16: 3 cells over a depth of 2, or over a single one with a stride of 2), or corrupts memory (7 over 4).
    """

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if (func in _PLAIN or func in _TRANSPOSED) and torch.is_autocast_enabled("cpu") and _is_small(func, *args, **kwargs):
            with torch.autocast("cpu", enabled=False):
                return func(*(_wide(x) for x in args), **{name: _wide(x) for name, x in kwargs.items()})
        return func(*args, **kwargs)


def _wide(x: Any) -> Any:
    return x.float() if isinstance(x, Tensor) else x


def _is_small(func: Callable[..., Any], input: Tensor, weight: Tensor, bias: Tensor | None = None,
              stride: int | Sequence[int] = 1, padding: int | str | Sequence[int] = 0, *rest: Any,
              dilation: int | Sequence[int] | None = None, output_padding: int | Sequence[int] = 0, groups: int = 1) -> bool:
    """Whether a side of the image (of what goes in, or comes out of a transposed one) is padded and shorter than the kernel."""
    if input.device.type != "cpu" or padding in (0, "valid"):
        return False
    rank = weight.ndim - 2
    # torch's order after padding: dilation, groups; of transposed ones: output_padding, groups, dilation
    place = 2 if func in _TRANSPOSED else 0
    dilations = _sides(dilation if dilation is not None else rest[place] if len(rest) > place else 1, rank)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, weight.shape[2:])]
    pads = [(span - 1) // 2 for span in spans] if isinstance(padding, str) else _sides(padding, rank)
    sizes: Sequence[int] = input.shape[-rank:]
    if func in _TRANSPOSED:
        more = _sides(rest[0] if rest else output_padding, rank)
        sizes = [(n - 1) * step - 2 * pad + span + extra
                 for n, step, pad, span, extra in zip(sizes, _sides(stride, rank), pads, spans, more)]
    return any(pad > 0 and n < span for n, span, pad in zip(sizes, spans, pads))


def _sides(value: int | Sequence[int], rank: int) -> Sequence[int]:
    return (value,) * rank if isinstance(value, int) else tuple(value) * (rank if len(value) == 1 else 1)
