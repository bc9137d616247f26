"""How products of float32 factors are computed, in full or from factors rounded to TF32, and what is summed in wider floats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch


def widest(device: torch.device) -> torch.dtype:
    """The floats to sum in: float64, or float32 on Apple GPUs, which have no wider."""
    return torch.float32 if device.type == "mps" else torch.float64


def _switches() -> tuple:
    """Every setting of PyTorch's that an operation on float32 reads; each stands behind those that it falls back on."""
    b: Any = torch.backends  # torch's types know some of these alone
    return b, b.cudnn, b.mkldnn, b.cuda.matmul, b.cudnn.conv, b.cudnn.rnn, b.mkldnn.matmul, b.mkldnn.conv, b.mkldnn.rnn


@contextmanager
def float32_products(*, tf32: bool) -> Iterator[None]:
    """Products in TF32 inside (on a GPU), or in full float32; the caller's settings again afterwards.

    PyTorch has two sets of switches for this, and reading the older ones (`allow_tf32`, `get_float32_matmul_precision`) raises
    where they contradict the newer (`fp32_precision`). Inside, both say the same; callers may have used either or both.
    """
    switches, cudnn = _switches(), torch.backends.cudnn
    older: list[tuple] = []
    with suppress(RuntimeError):  # a caller who mixes the two sets has no older setting to go back to
        older.append((torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()))
    with suppress(RuntimeError):
        older.append((lambda value: setattr(cudnn, "allow_tf32", value), cudnn.allow_tf32))
    before = []
    for s in switches:  # a switch says its own setting once those before it have none; then the older ones alone decide
        before.append(s.fp32_precision)
        s.fp32_precision = "none"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        for put_back, value in older:
            put_back(value)
        for s, precision in zip(reversed(switches), reversed(before)):
            s.fp32_precision = precision
