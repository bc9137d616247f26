"""The arithmetic of features and of distances between them: a distance sees the rounding."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from vaefast.float32 import float32_products


@contextlib.contextmanager
def true_float32(device: torch.device) -> Iterator[None]:
    """No autocast, no TF32 and no bf16 matmuls inside, whatever the caller has set; repeatable cuDNN kernels."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(float32_products(tf32=False))
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            stack.enter_context(flags)
        yield


def float64(x: Tensor) -> Tensor:
    """x in float64 without gradient, where it lies, or on the CPU: Apple GPUs have no float64."""
    return x.detach().to("cpu" if x.device.type == "mps" else x.device).to(torch.float64)
