"""Times several ways to do the same work in turns, so that a busy machine is unfair to none of them."""

from __future__ import annotations

import ctypes
import gc
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

SAMPLE_SECONDS = 0.003  # a sample repeats a quick step until it lasts about this long

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def keep_memory() -> bool:
    """Make malloc keep what is freed, from here to the end of the process; False where it is not glibc.

    By default glibc gives large blocks back to the system at once, and each new one costs a page fault per
    4 KiB. Allocators that keep memory, and those of GPUs, do not pay this.
    """
    try:
        libc = _libc()
        return bool(libc.mallopt(_M_MMAP_MAX, 0)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
    except (AttributeError, OSError):
        return False


def _seconds(step: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats


def _faults(step: Callable[[], object]) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def peak_bytes(step: Callable[[], object]) -> int | None:
    """How far the resident memory rises above its level during one step; None where Linux does not tell."""
    try:
        gc.collect()
        _libc().malloc_trim(0)
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        step()
        return max(0, _status("VmHWM") - before)
    except (AttributeError, OSError, StopIteration):
        return None


def measure(steps: dict[str, Callable[[], object]], seconds: float, rounds: tuple[int, int] = (5, 300)) -> dict:
    """Median and minimum time, page faults and peak memory of every step, measured in turns for about `seconds`."""
    first = {}
    for name, step in steps.items():
        step()  # compiles
        first[name] = _seconds(step, 1)
        if first[name] < 1:  # warms caches
            first[name] = _seconds(step, 2)
    repeats = {name: max(1, round(SAMPLE_SECONDS / t)) for name, t in first.items()}
    one_round = sum(first[name] * repeats[name] for name in steps)
    fewest = rounds[0] if one_round < 10 else 3
    count = max(fewest, min(rounds[1], int(seconds / one_round)))
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(count):
        for name, step in steps.items():
            samples[name].append(_seconds(step, repeats[name]))
    return {
        name: {
            "median_us": round(statistics.median(times) * 1e6, 2),
            "min_us": round(min(times) * 1e6, 2),
            "samples": count,
            "calls_per_sample": repeats[name],
            "page_faults": _faults(steps[name]),
        }
        for name, times in samples.items()
    }
