"""mmd2_subsets: the MMD of many pairs of sub-samples of two sets, as the kernel inception distance takes it.

For polynomial kernels the work is matrix products of rows, and BLAS does them best. Where the sub-samples together hold
more pairs than the sets do, every pair of the sets is visited once, and all sub-samples take their sums from it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vaefast.cpu import mkl_is_slow
from vaefast.float32 import float32_products, widest
from vaefast.ops import _check, mmd
from vaefast.ops import _mmd_reference as reference
from vaefast.ops._precision import compute_dtype
from vaefast.torch_private import onednn_linear

_TILE = 1024
_SAFE_BITS = {torch.float32: 100, torch.float64: 900}  # a power of two that sums of kernel values may safely be as large as
_GATHERED = 2**24  # elements of sub-samples that lie in memory at a time


@torch.no_grad()
def mmd2_subsets(
    x: Tensor,
    y: Tensor,
    rows_x: Tensor,
    rows_y: Tensor,
    *,
    kernel: str = "polynomial",
    scales: float | list[float] | str | None = None,
    degree: int = 3,
    gamma: float | None = None,
    coef0: float = 1.0,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Unbiased MMD^2 of S sub-samples of x against S of y: `mmd2(x[rows_x], y[rows_y])` without the copies.

    Args:
        x, y: [N, k] and [M, k], dtypes as for `mmd2`.
        rows_x, rows_y: int64 [S, n] and [S, m], n, m >= 2: which rows; none twice in a sub-sample (not checked).
        kernel, scales, degree, gamma, coef0: as for `mmd2`.
        dtype: of the result; None: float32 (float64 for float64). Values of large float32 rows may need float64.

    Returns:
        MMD^2, [S]. No gradient. Memory is O((N + M) k), or less where the sets are large.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not fit, and as `mmd2`.
    """
    x, y, single = mmd.samples(x, y)
    if not single:
        _check.fail("x", f"of shape {list(x.shape)}", "[N, k]")
    x, y = x[0], y[0]
    spec = mmd.checked_spec(kernel, scales, degree, gamma, coef0, x.shape[1])
    for name, rows, z in (("rows_x", rows_x, x), ("rows_y", rows_y, y)):
        if not isinstance(rows, Tensor) or rows.dtype != torch.int64 or rows.dim() != 2 or rows.shape[1] < 2:
            given = f"{rows.dtype} {list(rows.shape)}" if isinstance(rows, Tensor) else f"a {type(rows).__name__}"
            _check.fail(name, given, "int64 [S, n] with n >= 2")
        if rows.device != z.device:
            _check.fail(name, f"on device {rows.device}", f"the device of x, {z.device}")
    if rows_x.shape[0] != rows_y.shape[0]:
        _check.fail("rows_y", f"{rows_y.shape[0]} sub-samples", f"{rows_x.shape[0]}, as rows_x has")
    dtype = compute_dtype(x.dtype) if dtype is None else dtype
    count, n, m = *rows_x.shape, rows_y.shape[1]
    if kernel != "polynomial":
        step = max(1, _GATHERED // ((n + m) * x.shape[1]))
        chunks = zip(rows_x.split(step), rows_y.split(step), strict=True)
        return torch.cat([mmd.mmd2(x[a], y[b], kernel=kernel, scales=scales) for a, b in chunks]).to(dtype)
    x, y, spec, power = _in_range(x, y, spec)
    polynomial = _Polynomial.of(x, y, spec)
    with float32_products(tf32=False), torch.autocast(x.device.type, enabled=False):  # whatever the user allows elsewhere
        if _pairs(len(x), len(y)) * (x.shape[1] + 2 * count) < count * _pairs(n, m) * x.shape[1]:
            value = _together(polynomial, x, y, rows_x, rows_y)
        else:
            value = _each(polynomial, x, y, rows_x, rows_y)
    return (torch.ldexp(value, torch.tensor(power, device=value.device)) if power else value).to(dtype)


def _in_range(x: Tensor, y: Tensor, spec: reference.Spec) -> tuple[Tensor, Tensor, reference.Spec, int]:
    """Rows and kernel whose values dtypes can hold, and the power of two that its MMD^2 is to be multiplied by.

    (gamma a . b + c)^d is s^d (gamma (a / sqrt(s)) . (b / sqrt(s)) + c / s)^d; a power of four as s rounds nothing. Where values
    are in range anyway, s is 1.
    """
    dtype = compute_dtype(x.dtype)
    largest = max(float(x.abs().max()), float(y.abs().max()))
    if not 0 < largest < math.inf:
        return x, y, spec, 0
    # log2 of what gamma |a|^2 and |c| can reach
    bits = max(2 * math.log2(largest) + math.log2(x.shape[1] * spec.gamma), math.log2(max(abs(spec.coef0), 1e-300)))
    if bits * spec.degree < _SAFE_BITS[dtype] and largest**2 < 2.0 ** _SAFE_BITS[dtype]:
        return x, y, spec, 0
    half = math.ceil(bits / 2)
    by = torch.tensor(-half, device=x.device)
    x, y = torch.ldexp(x.to(dtype), by), torch.ldexp(y.to(dtype), by)
    return x, y, spec._replace(coef0=math.ldexp(spec.coef0, -2 * half)), 2 * half * spec.degree


class _Polynomial(NamedTuple):
    """(gamma a . b + coef0)^degree - offset^degree as a polynomial in t = e_a + e_b + gamma z_a . z_b, of centred rows z.

    What is subtracted cancels in an unbiased MMD, and would bury its digits.
    """

    mean: Tensor
    gamma: float
    coefs: list[Tensor]  # of t^1, t^2, ...

    @staticmethod
    def of(x: Tensor, y: Tensor, spec: reference.Spec) -> _Polynomial:
        dtype = compute_dtype(x.dtype)
        # Any point near the middle serves, as e and the offset make up for it.
        mean = (x.sum(0, dtype=dtype) + y.sum(0, dtype=dtype)) / (len(x) + len(y))
        offset = spec.gamma * mean.to(widest(x.device)).square().sum() + spec.coef0
        d = spec.degree
        coefs = [(math.comb(d, i) * offset ** (d - i)).to(dtype) for i in range(1, d + 1)]
        return _Polynomial(mean, spec.gamma, coefs)

    def centred(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """z, in place where rows have the dtype of the arithmetic, and e."""
        z = rows.to(self.mean.dtype).sub_(self.mean)
        return z, (z @ self.mean).mul_(self.gamma)

    def tile(self, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], work: Tensor) -> Tensor:
        """The polynomial of the pairs of rows of a and b, each (z, e), in the second part of `work` [2, elements].

        Fresh memory for every tile would cost as much as the arithmetic on it.
        """
        shape = len(a[0]), len(b[0])
        t, p = (w[: shape[0] * shape[1]].view(shape) for w in work.unbind())
        if t.dtype == torch.float32 and t.device.type == "cpu" and mkl_is_slow():
            torch.add(b[1], onednn_linear(a[0], b[0], None), alpha=self.gamma, out=t).add_(a[1][:, None])
        else:
            torch.addmm(b[1], a[0], b[0].T, alpha=self.gamma, out=t).add_(a[1][:, None])
        if len(self.coefs) == 1:
            return torch.mul(t, self.coefs[0], out=p)
        torch.mul(t, self.coefs[-1], out=p).add_(self.coefs[-2])
        for c in self.coefs[-3::-1]:
            p.mul_(t).add_(c)
        return p.mul_(t)


def _pairs(n: int, m: int) -> float:
    return n * n / 2 + m * m / 2 + n * m


def _tiles(rows: int) -> list[slice]:
    parts = -(-rows // _TILE)
    return [slice(rows * i // parts, rows * (i + 1) // parts) for i in range(parts)]


def _each(polynomial: _Polynomial, x: Tensor, y: Tensor, rows_x: Tensor, rows_y: Tensor) -> Tensor:
    """MMD^2 [S], one pair of sub-samples after the other."""
    wide, (count, n), m = widest(x.device), rows_x.shape, rows_y.shape[1]
    value = torch.zeros(count, dtype=wide, device=x.device)
    gathered = x.new_empty((n, x.shape[1])), y.new_empty((m, x.shape[1]))
    half = -(-max(n, m) // 2)
    work = polynomial.mean.new_empty((2, max(n * m, half * half)))

    def mean(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], pairs: float) -> Tensor:
        return polynomial.tile(a, b, work).sum(1).sum(dtype=wide) / pairs

    for s in range(count):
        sides = []
        for z, rows, to in ((x, rows_x, gathered[0]), (y, rows_y, gathered[1])):
            sides.append(polynomial.centred(torch.index_select(z, 0, rows[s], out=to)))
        for (z, e), size in zip(sides, (n, m), strict=True):
            # Of a symmetric matrix three of four quarters are computed.
            middle, pairs = -(-size // 2), size * (size - 1)
            first, second = (z[:middle], e[:middle]), (z[middle:], e[middle:])
            for part in (first, second):
                kernel_values = polynomial.tile(part, part, work)
                value[s] += (kernel_values.sum(1).sum(dtype=wide) - kernel_values.diagonal().sum(dtype=wide)) / pairs
            value[s] += 2 * mean(first, second, pairs)
        value[s] -= 2 * mean(sides[0], sides[1], n * m)
    return value


def _together(polynomial: _Polynomial, x: Tensor, y: Tensor, rows_x: Tensor, rows_y: Tensor) -> Tensor:
    """MMD^2 [S] from one visit to every pair of rows, as quadratic forms of the sub-samples' indicators."""
    wide, (count, n), m = widest(x.device), rows_x.shape, rows_y.shape[1]
    sides = []
    for z, rows in ((x, rows_x), (y, rows_y)):
        member = z.new_zeros((len(z), count), dtype=polynomial.mean.dtype)
        member.scatter_(0, rows.T, 1)
        sides.append((*polynomial.centred(z.clone()), member))
    value = torch.zeros(count, dtype=wide, device=x.device)
    work = polynomial.mean.new_empty((2, min(_TILE, len(x) + len(y)) ** 2))
    for first, second, factor in ((0, 0, 1 / (n * (n - 1))), (1, 1, 1 / (m * (m - 1))), (0, 1, -2 / (n * m))):
        (za, ea, sa), (zb, eb, sb) = sides[first], sides[second]
        for i, a in enumerate(_tiles(len(za))):
            for j, b in enumerate(_tiles(len(zb))):
                if first == second and j < i:
                    continue
                f = polynomial.tile((za[a], ea[a]), (zb[b], eb[b]), work)
                twice = 2 if first == second and i != j else 1
                if first == second and i == j:
                    f.fill_diagonal_(0)
                value += factor * twice * (f @ sb[b]).mul_(sa[a]).sum(0, dtype=wide)
    return value
