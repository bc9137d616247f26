"""gaussian_nll of uint8 images under a decoder's logits, forward and backward, against the formula every VAE writes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import vaefast.ops as ops
from benchmarks.case import Case

IMAGE = (3, 64, 64)
TARGETS = {64: 3.0}  # images: speed-up wished for


def formula(x: Tensor, logits: Tensor, log_gamma: Tensor) -> Tensor:
    d = x / 255 - torch.sigmoid(logits)
    dims = d[0].numel()
    return 0.5 * d.square().flatten(1).sum(1) * torch.exp(-2 * log_gamma) + dims * (log_gamma + ops.HALF_LOG_2PI)


def fused(x: Tensor, logits: Tensor, log_gamma: Tensor) -> Tensor:
    return ops.gaussian_nll(x, logits, log_gamma, from_logits=True)


def case(images: int, device: str = "cpu") -> Case:
    """The op on images [B, 3, 64, 64] with one learned gamma and float32 logits."""
    shape = (images, *IMAGE)
    generator = torch.Generator(device).manual_seed(0)
    x = torch.randint(0, 256, shape, generator=generator, device=device, dtype=torch.uint8)
    logits = torch.randn(shape, generator=generator, device=device).requires_grad_()
    log_gamma = torch.tensor(-1.0, device=device, requires_grad=True)
    grad = torch.ones(images, device=device)

    def step(f: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(f(x, logits, log_gamma), (logits, log_gamma), grad)

    steps = {
        "eager": step(formula),
        "compiled": step(torch.compile(formula, fullgraph=True, dynamic=False)),
        "vaefast": step(fused),
    }
    # Data and logits are read twice and one gradient is written, which is all the memory there is besides.
    return Case(
        "gaussian_nll", f"{images:,}x3x64x64", "float32", TARGETS.get(images, 1.0), steps,
        peak_target=4 * x.numel() + 2**20, traffic=14 * x.numel(), small=images <= 64,
    )  # fmt: skip


CASES = {f"{images:,}x3x64x64": partial(case, images) for images in TARGETS}
GPU_CASES = {f"{images:,}x3x64x64": partial(case, images) for images in (64, 1024, 8192)}
