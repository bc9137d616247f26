"""Labels in any form -> int64; and vectors in their place."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vaefast.errors import DataError

LABEL_KEYS = ("label", "labels", "fine_label", "cls")
"""What a mapping's entry, or a frame's column, of labels is called."""


def as_labels(labels: Any, count: int) -> torch.Tensor:
    """Labels as int64 [count], from integers in a tensor, array or sequence of shape [count] or [count, 1].

    Raises:
        DataError: another number, shape or dtype, or a negative label.
    """
    try:
        tensor = labels.detach().cpu() if isinstance(labels, torch.Tensor) else torch.from_numpy(_plain(labels))
    except (TypeError, ValueError):
        raise DataError("labels must be integers, one an image.") from None
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise DataError(f"labels must be integers, not {tensor.dtype}.")
    if tensor.ndim == 2 and tensor.shape[1] == 1:
        tensor = tensor[:, 0]
    if tensor.ndim != 1 or len(tensor) != count:
        raise DataError(f"labels have shape {list(tensor.shape)}; [{count}] was expected, one label an image.")
    tensor = tensor.long()
    if int(tensor.min()) < 0:
        first = int((tensor < 0).nonzero()[0])
        raise DataError(f"label {first} is {int(tensor[first])}; labels must be 0 or more.")
    return tensor


def require_vectors(condition: torch.Tensor | None, count: int) -> None:
    """Raise for vectors of a set that are not float [count, d], finite.

    Raises:
        DataError: they are not.
    """
    if condition is None:
        return
    if not condition.is_floating_point() or condition.ndim != 2 or len(condition) != count:
        raise DataError(f"condition is {condition.dtype} {list(condition.shape)}; expected floats [{count}, d], a vector an "
                        "example.")
    if not condition.isfinite().all():
        raise DataError("condition holds NaN or infinity; every number must be finite: leave such examples out.")


def _plain(labels: Any) -> np.ndarray:
    """An array torch can take: native byte order, signed where torch has no such unsigned type."""
    array = np.asarray(labels)
    return array.astype(np.int64) if array.dtype.kind in "ui" else array
