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


def ran_out(error: BaseException) -> bool:
    """Whether `error` says that there was not enough memory."""
    text = str(error)
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in text for words in ("can't allocate memory", "not enough memory", "Cannot allocate memory"))


def explain_too_much_data(error: BaseException, device: torch.device) -> str | None:
    """What to do, if `error` says that the data did not fit into memory; None for other errors."""
    if not ran_out(error):
        return None
    return (f"its data do not fit into memory on {device}; train on fewer examples (--limit, or a subset) or smaller images, or "
            "give uint8 images, which take a quarter of float32 ones (a memory-mapped .npy file is read as it is needed).")


def explain_out_of_memory(error: BaseException, batch_size: int, accumulate: int, device: torch.device) -> str | None:
    """What ran out and what to lower, if `error` says that memory did; None for other errors."""
    if not ran_out(error):
        return None
    return (f"memory ran out on {device} with batch_size {batch_size}; lower batch_size, or raise accumulate "
            f"(now {accumulate}) to send each batch through in more parts.")
