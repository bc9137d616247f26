"""Points on manifolds of known dimension: what a model that finds the dimension of its data is tried on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaefast.errors import ArgumentError

KINDS = ("linear", "curved", "sphere")


def manifold(r: int, d: int, kind: str = "linear", *, n: int = 10_000, seed: int = 0, noise: float = 0.0) -> Tensor:
    """n points on an r-dimensional manifold in d dimensions, float32 [n, d], on the CPU.

    The manifold is a function of (r, d, kind, seed): for a held-out set, draw more points and cut them in two.

    Args:
        r: dimension of the manifold, 1 or more.
        d: dimension of the space: at least r (linear), r + 1 (curved, sphere).
        kind: with t ~ N(0, I_r) and a random orthonormal frame of the space,
            - "linear": t along r axes of the frame; variance 1 on each of these, 0 across.
            - "curved": t along r axes and sin(W t + b) along m = min(r, d - r) others, W of entries N(0, 1 / r):
              the graph of a smooth function, so its Jacobian has rank r everywhere and it never meets itself, while
              the points span r + m dimensions. Variance 1 along the first, about 1/2 along the others.
            - "sphere": t of r + 1 dimensions divided by its length: the unit sphere S^r, which no r coordinates cover,
              so that a VAE needs r + 1 of them.
        n: points.
        seed: of the manifold and the points.
        noise: standard deviation of Gaussian noise added to every coordinate.

    Raises:
        ArgumentError: an unknown kind, or numbers that cannot be.
    """
    if kind not in KINDS:
        raise ArgumentError(f"kind {kind!r} is unknown; choose one of {', '.join(KINDS)}.")
    for name, value in (("r", r), ("d", d), ("n", n)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(f"{name} must be a whole number above 0, not {value!r}.")
    if d < (least := r if kind == "linear" else r + 1):
        raise ArgumentError(f"d is {d}; a {kind} manifold of {r} dimensions needs {least} or more.")
    if not 0 <= noise < math.inf:
        raise ArgumentError(f"noise must be 0 or more, not {noise!r}.")
    shape, points, dust = (torch.Generator().manual_seed(3 * seed + i) for i in range(3))  # so that n changes the points alone
    frame = torch.linalg.qr(torch.randn(d, d, generator=shape, dtype=torch.float64)).Q
    t = torch.randn(n, r + 1 if kind == "sphere" else r, generator=points, dtype=torch.float64)
    x = _coordinates(t, kind, d, shape)
    x = x @ frame[:, : x.shape[1]].T
    if noise:
        x = x + noise * torch.randn(n, d, generator=dust, dtype=torch.float64)
    return x.float()


def _coordinates(t: Tensor, kind: str, d: int, shape: torch.Generator) -> Tensor:
    """The points in the axes of the frame that the manifold takes up."""
    if kind == "linear":
        return t
    if kind == "sphere":
        return t / t.norm(dim=1, keepdim=True)
    r = t.shape[1]
    m = min(r, d - r)
    weight = torch.randn(r, m, generator=shape, dtype=torch.float64) / math.sqrt(r)
    phase = 2 * math.pi * torch.rand(m, generator=shape, dtype=torch.float64)
    return torch.cat([t, torch.sin(t @ weight + phase)], dim=1)
