"""Sums of a kernel over all pairs of rows of two samples, with the gradient to the rows, in Triton.

A program owns a tile of rows and walks along the tiles of their partners, every splits-th of them, as in csrc/cuda/mmd.cu:
dot products in fp32 (no TF32), the kernel on them, and for the gradient a product with the partners' rows. Rows whose
gradient is not wanted visit only the tiles after their own.
"""

import contextlib

import numpy as np
import torch
import triton
import triton.language as tl

IMQ = tl.constexpr(0)
RBF = tl.constexpr(1)
LAPLACIAN = tl.constexpr(2)
ENERGY = tl.constexpr(3)
POLYNOMIAL = tl.constexpr(4)
NEAR = tl.constexpr(1.0 / 16)  # kNear of csrc/core/mmd_kernel.h
COLUMNS = 64  # of the gradient at a time; all of them in registers where there are no more
DEPTH = 32  # of the dot products at a time


@triton.jit
def _polynomial(t, dot, offset, DEGREE: tl.constexpr, F: tl.constexpr):
    """(offset + t)^DEGREE - offset^DEGREE and its derivative, without what csrc/core/mmd_kernel.h leaves out."""
    p = tl.zeros(t.shape, F)
    q = tl.zeros(t.shape, F)
    # From the highest term: a, the coefficient of t^i for i = DEGREE - j, is binomial(DEGREE, i) offset^(DEGREE - i).
    a = offset * 0.0 + 1.0
    for j in tl.static_range(0, DEGREE - 1):
        q = q * t + ((DEGREE - j) * a).to(F)
        p = p * t + a.to(F)
        a = a * offset * ((DEGREE - j) / (j + 1.0))
    return p * t * t + a.to(F) * dot, q * t


@triton.jit
def _kernel(u, high, low, COUNT: tl.constexpr, KERNEL: tl.constexpr, F: tl.constexpr):
    """The kernel, summed over scales, of squared distances u, and its derivative by them."""
    zero = tl.zeros([], F)
    f = tl.zeros(u.shape, F)
    g = tl.zeros(u.shape, F)
    if KERNEL == IMQ:
        for s in tl.static_range(COUNT):
            c = zero + high[s] + low[s]
            inverse = 1.0 / (c + u)
            f += c * inverse
            g -= c * inverse * inverse
    elif KERNEL == RBF:
        for s in tl.static_range(COUNT):
            c = 1.0 / (zero + high[s] + low[s])
            e = tl.exp(-u * c * c)
            f += e
            g -= c * c * e
    else:
        d = tl.sqrt(u)
        half = tl.where(u > 0, -0.5 / tl.where(u > 0, d, 1.0), 0.0)
        if KERNEL == ENERGY:
            f = -d
            g = half
        else:
            for s in tl.static_range(COUNT):
                c = 1.0 / (zero + high[s] + low[s])
                e = tl.exp(-d * c)
                f += e
                g += half * c * e
    return f, g


@triton.jit
def forward_kernel(
    z_ptr, e_ptr, w_ptr, factors_ptr, offset_ptr, value_ptr, rows_ptr, out_ptr, high, low, problems, n, m, k, stride,
    splits, COUNT: tl.constexpr, KERNEL: tl.constexpr, PAIRED: tl.constexpr, TO_X: tl.constexpr, TO_Y: tl.constexpr,
    IN_REGISTERS: tl.constexpr, F: tl.constexpr, T: tl.constexpr, DEPTH: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    rows = n + m
    tiles = tl.cdiv(rows, T)
    block = tl.program_id(0).to(tl.int64)
    tile = block % tiles
    split = block // tiles % splits
    problem = block // tiles // splits
    z_ptr += problem * rows * stride
    row = tile * T + tl.arange(0, T)
    live = row < rows
    of_x = row < n
    e_row = tl.load(e_ptr + problem * rows + row, live, other=0.0)
    w_row = tl.load(w_ptr + problem * rows + row, live, other=0.0)
    xx = tl.load(factors_ptr + problem * 3).to(F)
    yy = tl.load(factors_ptr + problem * 3 + 1).to(F)
    xy = -tl.load(factors_ptr + problem * 3 + 2).to(F)
    if KERNEL == POLYNOMIAL:
        offset = tl.load(offset_ptr + problem)
    first = tile
    grad = 0
    if TO_X or TO_Y:
        if (TO_X and tile * T < n) or (TO_Y and tile * T + T > n):
            grad = 1
            first = tile * 0
    out_ptr += (split * problems + problem) * rows * k
    value = tl.zeros([], tl.float64)
    row_sum = tl.zeros([T], tl.float64)
    sum = tl.zeros([T, COLUMNS], F)
    for other in range(first + split, tiles, splits):
        partner = other * T + tl.arange(0, T)
        partner_live = partner < rows
        dot = tl.zeros([T, T], F)
        for c0 in range(0, k, DEPTH):
            c = c0 + tl.arange(0, DEPTH)
            a = tl.load(z_ptr + row[:, None] * stride + c[None, :], live[:, None] & (c < k)[None, :], other=0.0)
            b = tl.load(z_ptr + partner[None, :] * stride + c[:, None], (c < k)[:, None] & partner_live[None, :], other=0.0)
            dot = tl.dot(a, b, dot, input_precision="ieee", out_dtype=F)
        e_partner = tl.load(e_ptr + problem * rows + partner, partner_live, other=0.0)
        w_partner = tl.load(w_ptr + problem * rows + partner, partner_live, other=0.0)
        cross = of_x[:, None] != (partner < n)[None, :]
        is_pair = row[:, None] != partner[None, :]
        if PAIRED:
            is_pair = is_pair & ((row[:, None] - partner[None, :] != -n) & (row[:, None] - partner[None, :] != n) | ~cross)
        weight = tl.where(cross, xy, tl.where(of_x[:, None], xx, yy)) * w_row[:, None] * w_partner[None, :]
        weight = tl.where(is_pair, weight, 0.0)
        both = e_row[:, None] + e_partner[None, :]
        near = 0
        if KERNEL == POLYNOMIAL:
            f, g = _polynomial(both + dot, dot, offset, COUNT, F)
        else:
            u = tl.where(is_pair, both - 2.0 * dot, both)
            close = u < both * NEAR  # in this order: the interpreter of Triton 3.8 makes no tensor of a constant times one
            near = tl.max(tl.max(close.to(tl.int32), 1), 0)
            if near > 0:  # too few digits left: again, from differences
                again = tl.zeros([T, T], F)
                for c1 in range(0, k):
                    a1 = tl.load(z_ptr + row * stride + c1, live, other=0.0)
                    b1 = tl.load(z_ptr + partner * stride + c1, partner_live, other=0.0)
                    apart = a1[:, None] - b1[None, :]
                    again += apart * apart
                u = tl.where(close, again, u)
            f, g = _kernel(u, high, low, COUNT, KERNEL, F)
        # A pair of tiles counts twice where its mirror image is not visited for the value.
        times = tl.where(other > tile, 2.0, tl.where(other == tile, 1.0, 0.0))
        value += times * tl.sum(tl.sum(weight * f, 1).to(tl.float64), 0)
        if grad > 0:
            g = g * weight
            if near == 0:
                row_sum += tl.sum(g, 1).to(tl.float64)
            for c0 in range(0, k, COLUMNS):
                c = c0 + tl.arange(0, COLUMNS)
                part = tl.zeros([T, COLUMNS], F)
                if near > 0:
                    for c1 in range(c0, tl.minimum(c0 + COLUMNS, k)):
                        a1 = tl.load(z_ptr + row * stride + c1, live, other=0.0)
                        b1 = tl.load(z_ptr + partner * stride + c1, partner_live, other=0.0)
                        column = tl.sum(g * (b1[None, :] - a1[:, None]), 1)
                        part = tl.where((c == c1)[None, :], column[:, None], part)
                else:
                    b = tl.load(
                        z_ptr + partner[:, None] * stride + c[None, :], partner_live[:, None] & (c < k)[None, :], other=0.0
                    )
                    part = tl.dot(g, b, part, input_precision="ieee", out_dtype=F)
                if IN_REGISTERS:
                    sum += part
                else:  # this program's own memory, zero before
                    at = out_ptr + row[:, None] * k + c[None, :]
                    mask = live[:, None] & (c < k)[None, :]
                    tl.store(at, tl.load(at, mask, other=0.0) + part, mask)
        if not IN_REGISTERS:
            tl.debug_barrier()  # what follows reads what other threads may have written
    if grad > 0:
        tl.store(rows_ptr + (split * problems + problem) * rows + row, row_sum, live)
        for c0 in range(0, k, COLUMNS):
            c = c0 + tl.arange(0, COLUMNS)
            at = out_ptr + row[:, None] * k + c[None, :]
            mask = live[:, None] & (c < k)[None, :]
            if not IN_REGISTERS:
                sum = tl.load(at, mask, other=0.0)
            if KERNEL == POLYNOMIAL:
                tl.store(at, sum, mask)
            else:
                own_rows = tl.load(z_ptr + row[:, None] * stride + c[None, :], mask, other=0.0)
                tl.store(at, sum - row_sum.to(F)[:, None] * own_rows, mask)
    tl.store(value_ptr + (split * tiles + tile) * problems + problem, value)


def forward(
    z: torch.Tensor, e: torch.Tensor, w: torch.Tensor, factors: torch.Tensor, offset: torch.Tensor | None,
    scales: torch.Tensor, value: torch.Tensor, rows: torch.Tensor, out: torch.Tensor, problems: int, n: int, m: int,
    k: int, stride: int, splits: int, count: int, dtype: torch.dtype, kernel: int, paired: int, grad: int,
) -> None:  # fmt: skip
    """Fill value [splits * tiles, P], rows and out of MmdPairs in csrc/core/mmd_args.h; `scales` lie in host memory."""
    double = dtype == torch.float64
    tile = 32 if double else 64
    # Numbers go to a kernel as fp32: two of them make one of fp64.
    exact = scales.numpy()
    high = exact.astype(np.float32)
    low = (exact - high).astype(np.float32)
    blocks = triton.cdiv(n + m, tile) * splits * problems
    with torch.cuda.device(z.device) if z.is_cuda else contextlib.nullcontext():
        forward_kernel[(blocks,)](
            z, e, w, factors, factors if offset is None else offset, value, rows, out, tuple(high.tolist()),
            tuple(low.tolist()), problems, n, m, k, stride, splits, COUNT=count, KERNEL=kernel, PAIRED=bool(paired),
            TO_X=bool(grad & 1), TO_Y=bool(grad & 2), IN_REGISTERS=k <= COLUMNS, F=tl.float64 if double else tl.float32,
            T=tile, DEPTH=DEPTH, COLUMNS=COLUMNS, num_warps=8,
        )  # fmt: skip
