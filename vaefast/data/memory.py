"""Whether images fit into memory, asked before they are put there."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vaefast.errors import DataError

_SMALL = 1 << 28  # bytes that are not worth the question


def available_bytes() -> int | None:
    """Memory that this process can still have: the machine's, or what its control group leaves; None where nothing says."""
    available = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available += [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        pass
    for limit, used in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        try:
            group = Path("/sys/fs/cgroup")
            available.append(int((group / limit).read_text()) - int((group / used).read_text()) + _reclaimable(group / limit))
        except (OSError, ValueError):
            continue
    if not available and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        available.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(available, default=None)


def _reclaimable(limit: Path) -> int:
    """File cache that counts as used by a control group but makes room when asked."""
    try:
        lines = (limit.parent / "memory.stat").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("inactive_file ", "active_file ")))
    except (OSError, ValueError, IndexError):
        return 0


def require(shape: Sequence[int], item_bytes: int, what: str, things: str = "images") -> None:
    """Raise DataError where an array of this shape does not fit into memory; `what` needs it.

    Raises:
        DataError: it does not fit.
    """
    need = math.prod(shape) * item_bytes
    if need > _SMALL and (room := available_bytes()) is not None and need > room:
        each = "x".join(map(str, shape[1:]))
        raise DataError(f"{what} {size_in_words(need)} of memory for {shape[0]:,} {things} of {each}, and {size_in_words(room)} "
                        f"are free; take smaller {things} or a part of them (torch.utils.data.Subset).")


def in_memory(shape: tuple[int, ...]) -> np.ndarray:
    """A uint8 array [N, C, H, W] for decoded images.

    Raises:
        DataError: memory has no room for it.
    """
    require(shape, 1, "the set needs")
    return np.empty(shape, np.uint8)


def size_in_words(count: float) -> str:
    """So many bytes in MB or GB, with three digits."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
