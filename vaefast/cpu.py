"""What is known of the CPU that this runs on."""

from __future__ import annotations

import functools
from pathlib import Path

import torch


@functools.cache
def cpu_info() -> str:
    """What Linux says of the CPUs; "" elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def multiplies_in_bf16() -> bool:
    """Whether this CPU has instructions that multiply bfloat16: AVX512-BF16 (AMD from Zen 4, some of Intel's) or AMX."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpu_info().split())


def mkl_is_slow() -> bool:
    """Whether this is an AMD CPU with AVX-512; on one (Zen 5) MKL's products of float32 were measured to take twice as long as
    oneDNN's."""
    return ("AuthenticAMD" in cpu_info() and torch.backends.cpu.get_cpu_capability() == "AVX512"
            and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available())
