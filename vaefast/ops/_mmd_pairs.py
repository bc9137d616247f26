"""What the compiled backends of `vaefast::mmd2` share: rows made ready for the kernels, and gradients from their sums."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaefast.ops import _mmd_reference as reference
from vaefast.ops import _native, _rounds
from vaefast.ops._precision import compute_dtype

_BLOCKS = 512  # of threads that keep a large GPU busy
_AT_A_TIME = 396  # blocks that it runs together: three of 132 multiprocessors


def tiles(rows: int, dtype: torch.dtype) -> int:
    """Tiles of rows, each a block of threads on a GPU (kTile of csrc/cuda/mmd.cu, and kernels/mmd.py)."""
    return -(-rows // (32 if dtype == torch.float64 else 64))


def splits(problems: int, tiles: int, on_gpu: bool) -> int:
    """Into how many parts a GPU cuts the sum over a row's partners, where there are few rows. The shape alone decides."""
    blocks = max(1, problems * tiles)
    if not on_gpu:
        return max(1, min(tiles, -(-_BLOCKS // blocks)))
    most = max(1, min(tiles, 8 if blocks >= _BLOCKS // 8 else -(-_BLOCKS // blocks)))
    return _rounds.parts(blocks, most, _AT_A_TIME)


class Prepared:
    """The rows of x and y [P, n + m, stride], centred and scaled, and what goes with them.

    scale: [P]. For kernels of the distance they make u = |z_i - z_j|^2 the number that csrc/core/mmd_kernel.h takes.
    For polynomials gamma a . b + coef0 = offset + e_i + e_j + z_i . z_j, where offset holds the mean's part. Then
    (offset + t)^degree - offset^degree is summed, whose mean differences are those of the kernel itself: a power of
    the offset would bury them in fp32.
    """

    def __init__(
        self, x: Tensor, y: Tensor, weights_x: Tensor | None, weights_y: Tensor | None, bandwidth: Tensor | None,
        spec: reference.Spec,
    ) -> None:  # fmt: skip
        self.spec, self.dtype = spec, compute_dtype(x.dtype)
        self.problems, self.n, self.k = x.shape
        self.m = y.shape[1]
        self.dot = spec.kernel == "polynomial"
        plain = weights_x is None and weights_y is None
        if not plain or self.dot or spec.sums == "biased":
            self.wx = reference.weights_or_ones(weights_x, x, torch.float64)
            self.wy = reference.weights_or_ones(weights_y, y, torch.float64)
        # Small samples take less time than the sums over ones would.
        self.factors = self._plain_factors(x) if plain else reference.factors(spec, self.wx, self.wy)
        unit = {"imq": 1 / math.sqrt(2 * self.k), "rbf": math.sqrt(0.5), "polynomial": math.sqrt(abs(spec.gamma))}
        self.scale = x.new_full((self.problems,), unit.get(spec.kernel, 1.0), dtype=torch.float64)
        if bandwidth is not None:
            self.scale = self.scale / bandwidth
        # Rows a page apart would share few sets of the cache.
        self.stride = -(-self.k // 16) * 16 + (16 if self.k % 512 == 0 else 0)
        rows = self.n + self.m
        self.z = x.new_empty((self.problems, rows, self.stride), dtype=self.dtype)
        self.e = x.new_empty((self.problems, rows), dtype=self.dtype)
        if x.is_cuda or _native.why_missing():
            self._center(x, y)
        else:
            self.mean = x.new_empty((self.problems, self.k), dtype=torch.float64)
            x, y = (a if a.stride(2) == 1 or a.shape[2] <= 1 else a.contiguous() for a in (x, y))
            fields = (
                x, y, self.scale, self.z, self.e, self.mean, self.problems, self.n, self.m, self.k, x.stride(0), x.stride(1),
                y.stride(0), y.stride(1), self.stride, x.dtype, int(self.dot),
            )  # fmt: skip
            _native.core().mmd_center_cpu(*_native.values(fields), torch.get_num_threads())
        if plain:
            self.w = x.new_ones((self.problems, rows), dtype=self.dtype)
        else:
            self.w = torch.cat((self.wx, self.wy), 1).to(self.dtype)
        if self.dot:
            self.middle = self.mean * self.scale[:, None]
            self.offset = (self.middle * self.middle).sum(1) + spec.coef0

    def _plain_factors(self, x: Tensor) -> Tensor:
        """`reference.factors` of weights 1."""
        without_self, paired = self.spec.sums != "biased", self.spec.sums == "paired"
        n, m = self.n, self.m
        factors = x.new_empty((self.problems, 3), dtype=torch.float64)
        for i, pairs in enumerate((n * n - without_self * n, m * m - without_self * m, n * m - paired * n)):
            factors[:, i] = 1 / pairs if pairs else math.inf
        return factors

    def _center(self, x: Tensor, y: Tensor) -> None:
        n, k = self.n, self.k
        total = x.sum(1, dtype=torch.float64) + y.sum(1, dtype=torch.float64)
        self.mean = total / (self.n + self.m)
        for rows, to in ((x, self.z[:, :n]), (y, self.z[:, n:])):
            to[:, :, :k] = (rows.double() - self.mean[:, None]) * self.scale[:, None, None]
            to[:, :, k:] = 0
        z = self.z[:, :, :k]
        if self.dot:
            self.e.copy_(torch.bmm(z.double(), (self.mean * self.scale[:, None])[:, :, None])[:, :, 0])
        else:
            self.e.copy_(z.double().square().sum(2))

    def finish(
        self, value: Tensor, rows: Tensor, out: Tensor | None, grad_x: bool, grad_y: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """MMD^2 [P] and the gradients, from the kernels' `value` [parts, P], rows [splits, P, N], out [splits, P, N, k]."""
        spec, n = self.spec, self.n
        value = value.sum(0)
        biased = spec.sums == "biased"
        if self.dot:
            first = spec.degree * self.offset ** (spec.degree - 1)  # of t, which the sums leave out
            share = self._share()
            value = value + 2 * first * (self.e.double() * share).sum(1)
            if biased:  # a row with itself
                squared_norms = (self.z.double() ** 2).sum(2)
                f, g = self._polynomial(2 * self.e.double() + squared_norms, squared_norms)
                own_weight = torch.cat((self.factors[:, :1] * self.wx**2, self.factors[:, 1:2] * self.wy**2), 1)
                value = value + (own_weight * f).sum(1)
        elif biased and spec.kernel != "energy":
            ww = torch.stack(((self.wx**2).sum(1), (self.wy**2).sum(1)), 1)
            value = value + len(spec.scales) * (self.factors[:, :2] * ww).sum(1)
        if out is None:
            return value, None, None
        out = out[0] if out.shape[0] == 1 else out.sum(0, dtype=torch.float64)
        wanted = slice(0 if grad_x else n, n + self.m if grad_y else n)
        if not self.dot:
            out = out[:, wanted].mul_((-4 * self.scale).to(out.dtype)[:, None, None])
        else:
            z, middle = self.z[:, :, : self.k].double(), self.middle[:, None]
            out = out + (rows.sum(0) + first[:, None] * share)[..., None] * middle
            out = out + first[:, None, None] * self._linear(z)
            if biased:
                out = out + (own_weight * g)[..., None] * (z + middle)
            out = out[:, wanted] * (2 * self.scale)[:, None, None]
        out = out.to(self.dtype)
        to_x = out[:, :n].contiguous() if grad_x else None
        return value, to_x, out[:, n if grad_x else 0 :].contiguous() if grad_y else None

    def _polynomial(self, t: Tensor, dot: Tensor) -> tuple[Tensor, Tensor]:
        f, g = torch.zeros_like(t), torch.zeros_like(t)
        d = self.spec.degree
        for i in range(1, d + 1):
            a = math.comb(d, i) * self.offset[:, None] ** (d - i)
            f = f + a * (dot if i == 1 else t**i)
            g = g + (i * a * t ** (i - 1) if i > 1 else 0)
        return f, g

    def _share(self) -> Tensor:
        """Sum over a row's partners of the weights of their pairs, [P, N]."""
        xx, yy, xy = (f[:, None] for f in self.factors.unbind(1))
        without_self = self.spec.sums != "biased"
        pair = (self.wy, self.wx) if self.spec.sums == "paired" else (0, 0)
        sx, sy = self.wx.sum(1, keepdim=True), self.wy.sum(1, keepdim=True)
        of_x = self.wx * (xx * (sx - without_self * self.wx) - xy * (sy - pair[0]))
        of_y = self.wy * (yy * (sy - without_self * self.wy) - xy * (sx - pair[1]))
        return torch.cat((of_x, of_y), 1)

    def _linear(self, z: Tensor) -> Tensor:
        """The same sum of z_j, [P, N, k]."""
        xx, yy, xy = (f[:, None, None] for f in self.factors.unbind(1))
        wx, wy = self.wx[..., None], self.wy[..., None]
        x, y = wx * z[:, : self.n], wy * z[:, self.n :]
        without_self = self.spec.sums != "biased"
        pair = (y, x) if self.spec.sums == "paired" else (0, 0)
        sx, sy = x.sum(1, keepdim=True), y.sum(1, keepdim=True)
        return torch.cat((wx * (xx * (sx - without_self * x) - xy * (sy - pair[0])),
                          wy * (yy * (sy - without_self * y) - xy * (sx - pair[1]))), 1)  # fmt: skip
