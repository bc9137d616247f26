"""The kernels of maximum mean discrepancy and its sums over pairs, in plain PyTorch: the meaning of `vaefast::mmd2`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vaefast.float32 import widest

KERNELS = ("imq", "rbf", "laplacian", "energy", "polynomial")
SUMS = ("biased", "unbiased", "paired")
_PAIRS = 2**20  # at a time


class Spec(NamedTuple):
    """A kernel and how its sums are normalised: the constants of `vaefast::mmd2`, in its order."""

    kernel: str
    scales: tuple[float, ...]  # imq: multiples of 2 k; rbf, laplacian: of the bandwidth
    sums: str  # "paired": unbiased, and x_i is not compared with y_i
    degree: int  # the last three: polynomial
    gamma: float
    coef0: float


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """[P, i, j], from differences, so that nothing cancels (and no TF32)."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()


def numbers(spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    """What the kernel is a function of, [P, i, j]: a . b for polynomials, else the squared distance."""
    return a @ b.mT if spec.kernel == "polynomial" else squared_distances(a, b)


def profile(spec: Spec, t: Tensor, k: int, bandwidth: Tensor | None, slope: bool = True) -> tuple[Tensor, Tensor | None]:
    """The kernel, summed over scales, and its derivative, at the `numbers` t; bandwidth [P] or None for 1."""
    if spec.kernel == "polynomial":
        base = spec.gamma * t + spec.coef0
        return base**spec.degree, spec.degree * spec.gamma * base ** (spec.degree - 1) if slope else None
    f, g = torch.zeros_like(t), torch.zeros_like(t) if slope else None
    if spec.kernel == "imq":
        for c in (2 * k * s for s in spec.scales):
            part = c / (c + t)
            f = f + part
            if g is not None:
                g = g - part * part / c
        return f, g
    apart = t != 0  # so is NaN
    d = torch.where(apart, torch.where(apart, t, 1).sqrt(), 0)  # the derivative at distance 0 is 0
    half = torch.where(apart, 0.5 / torch.where(apart, d, 1), 0) if slope else None
    if spec.kernel == "energy":
        return -d, None if half is None else -half
    for s in spec.scales:
        width = s if bandwidth is None else (s * bandwidth).view(-1, *[1] * (t.dim() - 1))
        if spec.kernel == "rbf":
            part = torch.exp(-0.5 * t / (width * width))
            if g is not None:
                g = g - 0.5 * part / (width * width)
        else:
            part = torch.exp(-d / width)
            if g is not None and half is not None:
                g = g - part * half / width
        f = f + part
    return f, g


def weights_or_ones(weights: Tensor | None, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Weights [P, n] of the rows of x [P, n, k]."""
    return x.new_ones(x.shape[:2], dtype=dtype) if weights is None else weights.to(dtype)


def factors(spec: Spec, wx: Tensor, wy: Tensor) -> Tensor:
    """What makes means of weighted sums over pairs, [P, 3]: x with x, y with y, x with y."""
    sx, sy = wx.sum(1), wy.sum(1)
    xx, yy, xy = sx * sx, sy * sy, sx * sy
    if spec.sums != "biased":
        xx, yy = xx - (wx * wx).sum(1), yy - (wy * wy).sum(1)
    if spec.sums == "paired":
        xy = xy - (wx * wy).sum(1)
    return 1 / torch.stack((xx, yy, xy), 1)


def forward(
    x: Tensor, y: Tensor, weights_x: Tensor | None, weights_y: Tensor | None, bandwidth: Tensor | None, spec: Spec,
    grad_x: bool, grad_y: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    """MMD^2 [P] and, where wished, its gradients to x and y, all in the wide dtype, some rows of x at a time."""
    dtype, k = widest(x.device), x.shape[2]
    x, y = x.to(dtype), y.to(dtype)
    if spec.kernel != "polynomial":
        center = (x.sum(1, keepdim=True) + y.sum(1, keepdim=True)) / (x.shape[1] + y.shape[1])
        x, y = x - center, y - center
    wx, wy = weights_or_ones(weights_x, x, dtype), weights_or_ones(weights_y, y, dtype)
    xx, yy, xy = factors(spec, wx, wy).unbind(1)
    bandwidth = None if bandwidth is None else bandwidth.to(dtype)
    value = x.new_zeros(x.shape[:1])
    to_x, to_y = torch.zeros_like(x) if grad_x else None, torch.zeros_like(y) if grad_y else None
    for a, b, wa, wb, factor, to_a, to_b, skip in (
        (x, x, wx, wx, xx, to_x, to_x, spec.sums != "biased"),
        (y, y, wy, wy, yy, to_y, to_y, spec.sums != "biased"),
        (x, y, wx, wy, -2 * xy, to_x, to_y, spec.sums == "paired"),
    ):
        wanted = to_a is not None or to_b is not None
        step = max(1, _PAIRS // max(1, b.shape[0] * b.shape[1]))
        for i in range(0, a.shape[1], step):
            rows = slice(i, i + step)
            f, g = profile(spec, numbers(spec, a[:, rows], b), k, bandwidth, wanted)
            w = factor[:, None, None] * wa[:, rows, None] * wb[:, None, :]
            if skip:
                w.diagonal(i, 1, 2).zero_()
            value += (w * f).sum((1, 2))
            if g is not None:
                _add_gradients(spec, w * g, a[:, rows], b, None if to_a is None else to_a[:, rows], to_b)
    return value, to_x, to_y


def _add_gradients(spec: Spec, g: Tensor, a: Tensor, b: Tensor, to_a: Tensor | None, to_b: Tensor | None) -> None:
    if spec.kernel == "polynomial":
        if to_a is not None:
            to_a += g @ b
        if to_b is not None:
            to_b += g.mT @ a
        return
    if to_a is not None:
        to_a += 2 * (g.sum(2)[..., None] * a - g @ b)
    if to_b is not None:
        to_b += 2 * (g.sum(1)[..., None] * b - g.mT @ a)
