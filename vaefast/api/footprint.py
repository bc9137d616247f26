"""What a training takes in memory before it takes a step: weights, their gradients and Adam's moments, and the data."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

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
    about = f"{_short(count)} parameters; with gradients and Adam's moments about {_size(need)}"
    if total and need > total:
        raise ArgumentError(f"the model has {about}, and {device} has {_size(total)} of memory; choose a smaller model (fewer "
                            "latent dimensions, narrower networks).")
    if free and need + (held if device.type == "cpu" else 0) > free:
        warnings.warn(f"the model has {about}, and {device} has {_size(free)} of memory free; training may run out of it.",
                      stacklevel=3)
    return f"{about}, and the data {_size(held)}" if held else about


def memory_of(device: torch.device) -> tuple[int, int]:
    """Bytes free and in all, of a GPU or of what this process may have of the machine's; 0 where that is not known."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return free, total
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total = page * os.sysconf("SC_PHYS_PAGES")
        found = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line)
        free = 1024 * int(found["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return 0, 0
    for limit in _LIMITS:
        try:
            most = int(Path(limit).read_text())
        except (OSError, ValueError):  # "max" is none
            continue
        free, total = min(free, most), min(total, most)
    return free, total


def _short(count: int) -> str:
    for unit, size in (("billion", 10**9), ("million", 10**6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:,}"


def _size(count: float) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
