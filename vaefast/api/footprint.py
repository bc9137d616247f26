"""What a training takes in memory before it takes a step: weights, their gradients and Adam's moments, and the data."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vaefast.data.memory import available_bytes, size_in_words
from vaefast.errors import ArgumentError

BYTES = 16
"""For each parameter in float32: the weight, its gradient and Adam's two moments."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def footprint(model: nn.Module, data: Any, device: torch.device) -> str:
    """One line on a model's parameters and the memory that its training begins with; activations come on top.

    Raises:
        ArgumentError: the device cannot hold as much.
    """
    count = sum(p.numel() for p in model.parameters())
    images = getattr(data, "images", None)
    held = images.nbytes if isinstance(images, torch.Tensor) else 0
    need = BYTES * sum(p.numel() for p in model.parameters() if p.requires_grad)
    free, total = memory_of(device)
    about = f"{count_in_words(count)} parameters; with gradients and Adam's moments about {size_in_words(need)}"
    if total and need > total:
        raise ArgumentError(f"the model has {about}, and {device} has {size_in_words(total)} of memory; choose a smaller model "
                            "(fewer latent dimensions, narrower networks).")
    if free and need + (held if device.type == "cpu" else 0) > free:
        warnings.warn(f"the model has {about}, and {device} has {size_in_words(free)} of memory free; training may run out of "
                      "it.", stacklevel=3)
    return f"{about}, and the data {size_in_words(held)}" if held else about


def memory_of(device: torch.device) -> tuple[int, int]:
    """Bytes free and in all, of a GPU or of what this process may have of the machine's; 0 where that is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)
    totals = []
    with suppress(OSError, ValueError):
        totals.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in _LIMITS:
        with suppress(OSError, ValueError):  # "max" is none
            totals.append(int(Path(limit).read_text()))
    return available_bytes() or 0, min(totals, default=0)


def count_in_words(count: int) -> str:
    """Such as "17.1 million"."""
    for unit, size in (("billion", 10**9), ("million", 10**6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:,}"

