"""How much memory training takes, and what to say when there is not enough."""

from __future__ import annotations

import os
from pathlib import Path

import torch


def used_megabytes(device: torch.device) -> float:
    """Memory in use in MB: torch's peak on a GPU, the process's resident set elsewhere (0 where that is not known)."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    try:
        return round(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
    except (OSError, ValueError, IndexError):
        return 0.0


def explain_out_of_memory(error: BaseException, batch_size: int, accumulate: int, device: torch.device) -> str | None:
    """What ran out and what to lower, if `error` says that memory did; None for other errors."""
    text = str(error)
    gpu = isinstance(error, torch.OutOfMemoryError)
    if not (gpu or isinstance(error, MemoryError) or "can't allocate memory" in text or "not enough memory" in text):
        return None
    return (f"memory ran out on {device} with batch_size {batch_size}; lower batch_size, or raise accumulate "
            f"(now {accumulate}) to send each batch through in more parts.")
