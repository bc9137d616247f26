"""log sum_j exp(l_ij) over mixture components j, and its gradients, in Triton.

A program has a tile of points or of components and streams tiles of the other. All operands are transposed, [k, M] and
[k, N]. Jointly over the dimensions, squared differences are summed dimension by dimension, and gradients are added
dimension by dimension to memory that only this program touches. Where points alone make too few programs, what is
streamed is cut into ranges whose parts are merged in their order.
"""

import contextlib
import math

import torch
import triton
import triton.language as tl

# The floor of shares, as in csrc/core/mixture_density.h.
FLOOR = tl.constexpr(-69.0)
FLOOR64 = tl.constexpr(-690.0)


@triton.jit
def _share(x, F: tl.constexpr):
    """exp(x), and 0 below the floor."""
    return tl.where(x < (FLOOR64 if F == tl.float64 else FLOOR), 0.0, tl.exp(x))


@triton.jit
def _finite(x):
    """0 in place of infinity, which meets only shares of 0."""
    return tl.where(tl.abs(x) == float("inf"), 0.0, x)


@triton.jit
def _quadratic(
    z_ptr, mu_ptr, w_ptr, row, row_mask, column, column_mask, M, N, first, last, F: tl.constexpr, BM: tl.constexpr,
    BN: tl.constexpr,
):  # fmt: skip
    """sum_d ((z - mu) w)^2 over the dimensions first .. last - 1, [BM, BN], in sums of 16: long ones keep their digits."""
    total = tl.zeros([BM, BN], F)
    for d0 in range(first, last, 16):
        part = tl.zeros([BM, BN], F)
        for d in range(d0, tl.minimum(d0 + 16, last)):
            z = tl.load(z_ptr + d * M + row, row_mask, other=0.0)
            mu = tl.load(mu_ptr + d * N + column, column_mask, other=0.0)
            w = tl.load(w_ptr + d * N + column, column_mask, other=0.0)
            u = (z[:, None] - mu[None, :]) * w[None, :]
            part += u * u
        total += part
    return total


@triton.jit
def _terms(
    z_ptr, mu_ptr, w_ptr, constant_ptr, row, row_mask, column, column_mask, M, N, first, last,
    EXCLUDE: tl.constexpr, F: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """l, [BM, BN]; -inf for what is absent."""
    q = _quadratic(z_ptr, mu_ptr, w_ptr, row, row_mask, column, column_mask, M, N, first, last, F, BM, BN)
    constant = tl.load(constant_ptr + column, column_mask, other=0.0)
    present = row_mask[:, None] & column_mask[None, :]
    if EXCLUDE:
        present = present & (row[:, None] != column[None, :])
    return tl.where(present, constant[None, :] - 0.5 * q, float("-inf"))


@triton.jit
def _place(tiles, splits):
    """Which range of what is streamed, which dimension and which tile a program has, of how many dimensions. All lie on one
    axis of the grid: the others end at 65,535."""
    block = tl.program_id(0).to(tl.int64)
    planes = tl.num_programs(0) // (tiles * splits)
    return block // tiles % splits, block // tiles // splits, block % tiles, planes


@triton.jit
def forward_kernel(
    z_ptr, mu_ptr, w_ptr, constant_ptr, top_ptr, sum_ptr, M, N, k, splits, span,
    JOINT: tl.constexpr, EXCLUDE: tl.constexpr, F: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """The maximum of l over a range of components and the sum of exp(l - maximum), of a tile of rows."""
    split, d, tile, planes = _place(tl.cdiv(M, BM), splits)
    row = tile * BM + tl.arange(0, BM)
    row_mask = row < M
    first = d
    last = d + 1
    if JOINT:
        first = d * 0
        last = k
    top = tl.full([BM], float("-inf"), F)
    sum = tl.zeros([BM], F)
    end = tl.minimum((split + 1) * span, N)
    for j in range(split * span, end, BN):
        column = j + tl.arange(0, BN)
        value = _terms(
            z_ptr, mu_ptr, w_ptr, constant_ptr + d * N, row, row_mask, column, column < end, M, N, first, last,
            EXCLUDE, F, BM, BN,
        )  # fmt: skip
        best = tl.maximum(top, tl.max(value, 1))
        base = tl.where(best == float("-inf"), 0.0, best)
        sum = sum * _share(top - base, F) + tl.sum(_share(value - base[:, None], F), 1)
        top = best
    at = (split * planes + d) * M + row
    tl.store(top_ptr + at, top, row_mask)
    tl.store(sum_ptr + at, sum, row_mask)


@triton.jit
def _shares(
    grad_ptr, log_sum_ptr, z_ptr, mu_ptr, w_ptr, constant_ptr, row, row_mask, column, column_mask, M, N, d, first, last,
    EXCLUDE: tl.constexpr, F: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """grad_i exp(l_ij - log_sum_i), [BM, BN]. A row infinitely far from everything has no gradient."""
    value = _terms(
        z_ptr, mu_ptr, w_ptr, constant_ptr + d * N, row, row_mask, column, column_mask, M, N, first, last, EXCLUDE, F,
        BM, BN,
    )  # fmt: skip
    log_sum = tl.load(log_sum_ptr + d * M + row, row_mask, other=float("-inf"))
    nowhere = log_sum == float("-inf")
    grad = tl.where(nowhere, 0.0, tl.load(grad_ptr + d * M + row, row_mask, other=0.0))
    share = grad[:, None] * _share(value - tl.where(nowhere, float("inf"), log_sum)[:, None], F)
    # An absent pair has no share in a row that is NaN either.
    return tl.where(row_mask[:, None] & column_mask[None, :], share, 0.0)


@triton.jit
def grad_rows_kernel(
    grad_ptr, log_sum_ptr, z_ptr, mu_ptr, w_ptr, constant_ptr, grad_z_ptr, M, N, k, splits, span,
    JOINT: tl.constexpr, EXCLUDE: tl.constexpr, F: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Adds a range of components to grad_z [splits, k, M], which begins as zeros."""
    split, d, tile, planes = _place(tl.cdiv(M, BM), splits)
    row = tile * BM + tl.arange(0, BM)
    row_mask = row < M
    first = d
    last = d + 1
    if JOINT:
        first = d * 0
        last = k
    end = tl.minimum((split + 1) * span, N)
    for j in range(split * span, end, BN):
        column = j + tl.arange(0, BN)
        column_mask = column < end
        share = _shares(
            grad_ptr, log_sum_ptr, z_ptr, mu_ptr, w_ptr, constant_ptr, row, row_mask, column, column_mask, M, N, d,
            first, last, EXCLUDE, F, BM, BN,
        )  # fmt: skip
        for dd in range(first, last):
            z = _finite(tl.load(z_ptr + dd * M + row, row_mask, other=0.0))
            mu = _finite(tl.load(mu_ptr + dd * N + column, column_mask, other=0.0))
            w = _finite(tl.load(w_ptr + dd * N + column, column_mask, other=0.0))
            part = tl.sum(share * (z[:, None] - mu[None, :]) * (w * w)[None, :], 1)
            out = grad_z_ptr + (split * k + dd) * M + row
            tl.store(out, tl.load(out, row_mask, other=0.0) - part, row_mask)
        tl.debug_barrier()  # the next tile reads what other threads may have written


@triton.jit
def grad_components_kernel(
    grad_ptr, log_sum_ptr, z_ptr, mu_ptr, w_ptr, constant_ptr, s0_ptr, s1_ptr, s2_ptr, M, N, k, splits, span,
    JOINT: tl.constexpr, EXCLUDE: tl.constexpr, F: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Adds a range of rows to s0 [splits, 1 or k, N], s1 and s2 [splits, k, N]; the last two begin as zeros."""
    split, d, tile, planes = _place(tl.cdiv(N, BN), splits)
    column = tile * BN + tl.arange(0, BN)
    column_mask = column < N
    first = d
    last = d + 1
    if JOINT:
        first = d * 0
        last = k
    sum0 = tl.zeros([BN], F)
    end = tl.minimum((split + 1) * span, M)
    for i in range(split * span, end, BM):
        row = i + tl.arange(0, BM)
        row_mask = row < end
        share = _shares(
            grad_ptr, log_sum_ptr, z_ptr, mu_ptr, w_ptr, constant_ptr, row, row_mask, column, column_mask, M, N, d,
            first, last, EXCLUDE, F, BM, BN,
        )  # fmt: skip
        sum0 += tl.sum(share, 0)
        for dd in range(first, last):
            z = _finite(tl.load(z_ptr + dd * M + row, row_mask, other=0.0))
            mu = _finite(tl.load(mu_ptr + dd * N + column, column_mask, other=0.0))
            difference = z[:, None] - mu[None, :]
            weighted = share * difference
            at = (split * k + dd) * N + column
            tl.store(s1_ptr + at, tl.load(s1_ptr + at, column_mask, other=0.0) + tl.sum(weighted, 0), column_mask)
            tl.store(
                s2_ptr + at, tl.load(s2_ptr + at, column_mask, other=0.0) + tl.sum(weighted * difference, 0), column_mask
            )
        tl.debug_barrier()  # the next tile reads what other threads may have written
    tl.store(s0_ptr + (split * planes + d) * N + column, sum0, column_mask)


def _launch(kernel, x: torch.Tensor, owners: int, streamed: int, splits: int, planes: int, *args, **constants) -> None:
    """Programs over tiles of the owners, ranges of what is streamed, and dimensions (1 where they go together)."""
    block = 32 if x.dtype == torch.float64 else 64
    constants |= {"F": tl.float64 if x.dtype == torch.float64 else tl.float32, "BM": 32, "BN": block}
    owner_block = constants["BN"] if kernel is grad_components_kernel else constants["BM"]
    programs = triton.cdiv(owners, owner_block) * splits * planes
    with torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
        kernel[(programs,)](*args, splits, triton.cdiv(streamed, splits), **constants)


def forward(
    z: torch.Tensor, mu: torch.Tensor, w: torch.Tensor, constant: torch.Tensor, joint: bool, exclude: bool, splits: int
) -> torch.Tensor:
    """log sum_j exp(l_ij), [M] or [k, M]; z [k, M], mu and w [k, N], constant [N] or [k, N]."""
    (k, m), n, planes = z.shape, mu.shape[1], 1 if joint else z.shape[0]
    top, sums = z.new_empty(2, splits, planes, m)
    _launch(forward_kernel, z, m, n, splits, planes, z, mu, w, constant, top, sums, m, n, k, JOINT=joint, EXCLUDE=exclude)
    best = top.amax(0)
    base = torch.where(best == -math.inf, 0.0, best)
    total = (sums * torch.exp(top - base)).sum(0)
    out = torch.where(best == -math.inf, best, base + total.log())
    out = torch.where(total.isnan(), total, out)
    return out[0] if joint else out


def backward(
    grad: torch.Tensor, log_sum: torch.Tensor, z: torch.Tensor, mu: torch.Tensor, w: torch.Tensor,
    constant: torch.Tensor, joint: bool, exclude: bool, splits_z: int, splits_components: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """grad_z [k, M], s0 [N] or [k, N], s1 and s2 [k, N]; operands as in `forward`, grad and log_sum like its result."""
    (k, m), n, planes = z.shape, mu.shape[1], 1 if joint else z.shape[0]
    operands, flags = (grad, log_sum, z, mu, w, constant), {"JOINT": joint, "EXCLUDE": exclude}
    to_z = z.new_zeros(splits_z, k, m)
    _launch(grad_rows_kernel, z, m, n, splits_z, planes, *operands, to_z, m, n, k, **flags)
    s0 = z.new_empty(splits_components, planes, n)
    s1, s2 = z.new_zeros(2, splits_components, k, n)
    _launch(grad_components_kernel, z, n, m, splits_components, planes, *operands, s0, s1, s2, m, n, k, **flags)
    s0 = s0.sum(0)
    return to_z.sum(0), s0[0] if joint else s0, s1.sum(0), s2.sum(0)
