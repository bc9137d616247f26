"""Mean and variance of every dimension of a Gaussian mixture, and their gradients, in Triton.

Deviations from the first row are summed in float64, which loses nothing where the data lie far from 0 and lets parts of
the rows be added as they are.
"""

import contextlib

import torch
import triton
import triton.language as tl

from .log1p import log1p

LOGVAR = tl.constexpr(0)
LOGSTD = tl.constexpr(1)
BACKWARD_PROGRAMS = 1056  # eight a multiprocessor of an H200


@triton.jit
def _variance(a, PARAM: tl.constexpr, F: tl.constexpr):
    """s^2 and its derivative to a."""
    if PARAM == LOGVAR:
        v = tl.exp(a)
        slope = v
    elif PARAM == LOGSTD:
        v = tl.exp(2.0 * a)
        slope = 2.0 * v
    else:
        t = tl.exp(-tl.abs(a))
        # max(a, 0) by a comparison, which lets NaN through.
        s = 1e-6 + (tl.where(a < 0, 0.0, a) + log1p(t, F))
        v = s * s
        slope = 2.0 * s * (tl.where(a < 0, t, 1.0) / (1.0 + t))
    return v, slope


@triton.jit
def forward_kernel(
    mu_ptr, scale_ptr, parts_ptr, rows, k, parts, mu_stride, scale_stride, HAS_SCALE: tl.constexpr,
    PARAM: tl.constexpr, F: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    in_row = column < k
    part = tl.program_id(1).to(tl.int64)
    begin = rows * part // parts
    end = rows * (part + 1) // parts
    first = tl.load(mu_ptr + column, in_row, other=0.0).to(tl.float64)
    sums = tl.zeros([ROWS, COLUMNS], tl.float64)
    squares = tl.zeros([ROWS, COLUMNS], tl.float64)
    widths = tl.zeros([ROWS, COLUMNS], tl.float64)
    for start in range(begin, end, ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < end)[:, None] & in_row[None, :]
        mu = tl.load(mu_ptr + row[:, None] * mu_stride + column[None, :], mask, other=0.0).to(tl.float64)
        d = tl.where(mask, mu - first[None, :], 0.0)
        sums += d
        squares += d * d
        if HAS_SCALE:
            a = tl.load(scale_ptr + row[:, None] * scale_stride + column[None, :], mask, other=0.0).to(F)
            v, _ = _variance(a, PARAM, F)
            widths += tl.where(mask, v, 0.0).to(tl.float64)
    out = parts_ptr + part * 3 * k + column
    tl.store(out, tl.sum(sums, 0), in_row)
    tl.store(out + k, tl.sum(squares, 0), in_row)
    tl.store(out + 2 * k, tl.sum(widths, 0), in_row)


@triton.jit
def merge_kernel(
    mu_ptr, parts_ptr, mean_ptr, between_ptr, within_ptr, rows, k, parts, PARTS: tl.constexpr, COLUMNS: tl.constexpr
):
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    in_row = column < k
    sums = tl.zeros([PARTS, COLUMNS], tl.float64)
    squares = tl.zeros([PARTS, COLUMNS], tl.float64)
    widths = tl.zeros([PARTS, COLUMNS], tl.float64)
    for start in range(0, parts, PARTS):
        part = start + tl.arange(0, PARTS)
        mask = (part < parts)[:, None] & in_row[None, :]
        at = parts_ptr + part[:, None] * 3 * k + column[None, :]
        sums += tl.load(at, mask, other=0.0)
        squares += tl.load(at + k, mask, other=0.0)
        widths += tl.load(at + 2 * k, mask, other=0.0)
    n = tl.zeros([COLUMNS], tl.float64) + rows
    offset = tl.sum(sums, 0) / n
    between = tl.sum(squares, 0) / n - offset * offset
    first = tl.load(mu_ptr + column, in_row, other=0.0).to(tl.float64)
    tl.store(mean_ptr + column, first + offset, in_row)
    tl.store(between_ptr + column, tl.where(between < 0, 0.0, between), in_row)  # rounding alone; NaN stays
    tl.store(within_ptr + column, tl.sum(widths, 0) / n, in_row)


@triton.jit
def backward_kernel(
    grad_mean_ptr, grad_between_ptr, grad_within_ptr, mean_ptr, mu_ptr, scale_ptr, grad_mu_ptr, grad_scale_ptr, rows, k,
    mu_stride, scale_stride, HAS_MEAN: tl.constexpr, HAS_BETWEEN: tl.constexpr, HAS_WITHIN: tl.constexpr,
    HAS_SCALE: tl.constexpr, PARAM: tl.constexpr, F: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    in_row = column < k
    n = tl.zeros([COLUMNS], tl.float64) + rows
    exact = tl.load(mean_ptr + column, in_row, other=0.0)
    # The mean in two parts, of which the second is what F cannot hold.
    mean = exact.to(F)
    rest = (exact - mean.to(tl.float64)).to(F)
    level = tl.zeros([COLUMNS], F)
    slope = tl.zeros([COLUMNS], F)
    spread = tl.zeros([COLUMNS], F)
    if HAS_MEAN:
        level = (tl.load(grad_mean_ptr + column, in_row, other=0.0) / n).to(F)
    if HAS_BETWEEN:
        slope = (2.0 * tl.load(grad_between_ptr + column, in_row, other=0.0) / n).to(F)
    if HAS_WITHIN:
        spread = (tl.load(grad_within_ptr + column, in_row, other=0.0) / n).to(F)
    for start in range(tl.program_id(1).to(tl.int64) * ROWS, rows, tl.num_programs(1) * ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < rows)[:, None] & in_row[None, :]
        offset = row[:, None] * k + column[None, :]
        mu = tl.load(mu_ptr + row[:, None] * mu_stride + column[None, :], mask, other=0.0).to(F)
        to_mu = level[None, :] + slope[None, :] * ((mu - mean[None, :]) - rest[None, :])
        tl.store(grad_mu_ptr + offset, to_mu.to(grad_mu_ptr.dtype.element_ty), mask)
        if HAS_SCALE:
            a = tl.load(scale_ptr + row[:, None] * scale_stride + column[None, :], mask, other=0.0).to(F)
            _, to_scale = _variance(a, PARAM, F)
            tl.store(grad_scale_ptr + offset, (spread[None, :] * to_scale).to(grad_scale_ptr.dtype.element_ty), mask)


def _tile(k: int) -> dict[str, int]:
    """Tile of about 1,024 elements."""
    columns = min(triton.next_power_of_2(max(k, 1)), 128)
    return {"ROWS": 1024 // columns, "COLUMNS": columns}


def _float(x: torch.Tensor) -> tl.dtype:
    return tl.float64 if x.dtype == torch.float64 else tl.float32


def _device(x: torch.Tensor) -> contextlib.AbstractContextManager:
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


def forward(
    mu: torch.Tensor, scale: torch.Tensor | None, parts: torch.Tensor, mean: torch.Tensor, between: torch.Tensor,
    within: torch.Tensor, param: int,
) -> None:  # fmt: skip
    """Fill mean, between and within [k]; parts [parts, 3, k] is room, and rows of mu and scale have unit stride."""
    (rows, k), count, tile = mu.shape, parts.shape[0], _tile(mu.shape[1])
    if rows == 0 or k == 0:
        for moment in (mean, between, within):
            moment.zero_()
        return
    none = mu  # stands for a tensor that is not there
    with _device(mu):
        forward_kernel[(triton.cdiv(k, tile["COLUMNS"]), count)](
            mu, none if scale is None else scale, parts, rows, k, count, mu.stride(0),
            0 if scale is None else scale.stride(0), HAS_SCALE=scale is not None, PARAM=param, F=_float(mu), **tile,
        )  # fmt: skip
        merge_kernel[(triton.cdiv(k, 8),)](mu, parts, mean, between, within, rows, k, count, PARTS=128, COLUMNS=8)


def backward(
    grad_mean: torch.Tensor | None, grad_between: torch.Tensor | None, grad_within: torch.Tensor | None,
    mean: torch.Tensor, mu: torch.Tensor, scale: torch.Tensor | None, grad_mu: torch.Tensor,
    grad_scale: torch.Tensor | None, param: int,
) -> None:  # fmt: skip
    """Fill grad_mu and, with scale, grad_scale [rows, k]; a gradient [k] that is None counts as zero."""
    (rows, k), tile = mu.shape, _tile(mu.shape[1])
    if rows == 0 or k == 0:
        return
    tiles = triton.cdiv(k, tile["COLUMNS"])
    programs = min(triton.cdiv(rows, tile["ROWS"]), BACKWARD_PROGRAMS // tiles + 1)
    with _device(mu):
        backward_kernel[(tiles, programs)](
            mean if grad_mean is None else grad_mean, mean if grad_between is None else grad_between,
            mean if grad_within is None else grad_within, mean, mu, mu if scale is None else scale, grad_mu,
            grad_mu if grad_scale is None else grad_scale, rows, k, mu.stride(0),
            0 if scale is None else scale.stride(0), HAS_MEAN=grad_mean is not None,
            HAS_BETWEEN=grad_between is not None, HAS_WITHIN=grad_within is not None, HAS_SCALE=scale is not None,
            PARAM=param, F=_float(mu), **tile,
        )  # fmt: skip
