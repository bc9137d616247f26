"""Sums over rows of the error between data and reconstruction, and their gradients, in Triton.

Forward, a program takes a chunk of a few rows; backward, a block of columns of some rows, along which the gradient to
the weights is summed where there are weights.
"""

import contextlib

import torch
import triton
import triton.language as tl

from .log1p import log1p

SQUARED = tl.constexpr(0)
ABSOLUTE = tl.constexpr(1)


@triton.jit
def _sigmoid(a):
    """Sigmoid and its derivative, to full relative accuracy in either tail."""
    t = tl.exp(-tl.abs(a))
    r = 1.0 / (1.0 + t)
    return tl.where(a < 0, t * r, r), t * r * r


@triton.jit
def _floored(p):
    """max(p, 1e-8) by a comparison, which lets NaN through."""
    return tl.where(p < 1e-8, 1e-8, p)


@triton.jit
def _term(x, a, KIND: tl.constexpr, LOGITS: tl.constexpr, F: tl.constexpr):
    """The error of x against a, element by element."""
    if KIND == SQUARED or KIND == ABSOLUTE:
        h = a
        if LOGITS:
            h, _ = _sigmoid(a)
        d = h - x
        term = d * d if KIND == SQUARED else tl.abs(d)
    elif LOGITS:
        term = a * (tl.where(a > 0, 1.0, 0.0) - x) + log1p(tl.exp(-tl.abs(a)), F)
    else:
        term = -(x * tl.log(_floored(a)) + (1.0 - x) * tl.log(_floored(1.0 - a)))
    return term


@triton.jit
def _slopes(x, a, KIND: tl.constexpr, LOGITS: tl.constexpr):
    """Derivatives of `_term` to x and a."""
    if KIND == SQUARED or KIND == ABSOLUTE:
        h = a
        if LOGITS:
            h, ds = _sigmoid(a)
        d = h - x
        slope = 2.0 * d if KIND == SQUARED else tl.where(d > 0, 1.0, tl.where(d < 0, -1.0, d))
        to_x = -slope
        to_a = slope * ds if LOGITS else slope
    elif LOGITS:
        s, _ = _sigmoid(a)
        to_x = -a
        to_a = s - x
    else:
        p = _floored(a)
        q = _floored(1.0 - a)
        to_x = tl.log(q) - tl.log(p)
        to_a = tl.where(1.0 - a < 1e-8, 0.0, (1.0 - x) / q) - tl.where(a < 1e-8, 0.0, x / p)
    return to_x, to_a


@triton.jit
def _weight(log_gamma, KIND: tl.constexpr):
    """What a row's error is multiplied by in a likelihood of scale gamma. In float64, whose exp keeps all digits."""
    wide = log_gamma.to(tl.float64)
    if KIND == SQUARED:
        weight = 0.5 * tl.exp(-2.0 * wide)
    else:
        weight = tl.exp(-wide)
    return weight


@triton.jit
def _load(x_ptr, offset, mask, IS_BYTES: tl.constexpr, F: tl.constexpr):
    """Data as floats; bytes are scaled to [0, 1]."""
    x = tl.load(x_ptr + offset, mask, other=0).to(F)
    return x / 255.0 if IS_BYTES else x


@triton.jit
def forward_kernel(
    x_ptr, x_hat_ptr, weight_ptr, sums_ptr, weighted_ptr, constant, rows, k, chunks, chunk, x_stride, x_hat_stride,
    IS_BYTES: tl.constexpr, HAS_WEIGHT: tl.constexpr, HAS_GAMMA: tl.constexpr, KIND: tl.constexpr, LOGITS: tl.constexpr,
    F: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0).to(tl.int64)
    of_row = block % chunks
    row = block // chunks * ROWS + tl.arange(0, ROWS)
    live = row < rows
    begin = of_row * chunk
    end = tl.minimum(begin + chunk, k)
    sums = tl.zeros([ROWS], F)
    weighted = tl.zeros([ROWS], F)
    for start in range(begin, end, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        mask = live[:, None] & (column < end)[None, :]
        x = _load(x_ptr, row[:, None] * x_stride + column[None, :], mask, IS_BYTES, F)
        a = tl.load(x_hat_ptr + row[:, None] * x_hat_stride + column[None, :], mask, other=0.0).to(F)
        term = tl.where(mask, _term(x, a, KIND, LOGITS, F), 0.0)
        sums += tl.sum(term, 1)
        if HAS_WEIGHT:
            weight = tl.load(weight_ptr + column, column < end, other=0.0)
            weighted += tl.sum(term * weight[None, :], 1)
    tl.store(sums_ptr + row * chunks + of_row, sums, live)
    if HAS_WEIGHT:
        tl.store(weighted_ptr + row * chunks + of_row, weighted, live)
    if HAS_GAMMA:  # a row is one chunk, weight_ptr is that of log gamma, and the likelihood goes to weighted_ptr
        log_gamma = tl.load(weight_ptr)
        nll = k * (log_gamma.to(tl.float64) + constant) + _weight(log_gamma, KIND) * sums.to(tl.float64)
        tl.store(weighted_ptr + row, nll.to(F), live)


@triton.jit
def backward_kernel(
    grad_sums_ptr, grad_weighted_ptr, x_ptr, x_hat_ptr, weight_ptr, sums_ptr, grad_x_ptr, grad_x_hat_ptr, parts_ptr, rows, k,
    rows_a_part, grad_sums_stride, grad_weighted_stride, x_stride, x_hat_stride, IS_BYTES: tl.constexpr,
    HAS_SUMS: tl.constexpr, HAS_WEIGHTED: tl.constexpr, HAS_GAMMA: tl.constexpr, TO_X: tl.constexpr, TO_X_HAT: tl.constexpr,
    TO_WEIGHT: tl.constexpr, KIND: tl.constexpr, LOGITS: tl.constexpr, F: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """With HAS_GAMMA, weight_ptr is that of log gamma, the gradient to `weighted` is that to the likelihood, and with TO_WEIGHT
    the first program has the gradient to log gamma, from the rows' sums."""
    block = tl.program_id(0).to(tl.int64)  # one axis: the others end at 65,535
    if HAS_GAMMA:
        gamma_weight = _weight(tl.load(weight_ptr), KIND)
        if TO_WEIGHT:
            if block == 0:
                plain = tl.zeros([1024], tl.float64)
                scaled = tl.zeros([1024], tl.float64)
                for start in range(0, rows, 1024):
                    row = start + tl.arange(0, 1024)
                    g = tl.load(grad_weighted_ptr + row.to(tl.int64) * grad_weighted_stride, row < rows, other=0.0).to(tl.float64)
                    plain += g
                    scaled += g * tl.load(sums_ptr + row, row < rows, other=0.0).to(tl.float64)
                power = 2.0 if KIND == SQUARED else 1.0
                tl.store(parts_ptr, (k * tl.sum(plain, 0) - power * gamma_weight * tl.sum(scaled, 0)).to(F))
                return
            block -= 1
    tiles = tl.cdiv(k, COLUMNS)
    part = block // tiles
    column = block % tiles * COLUMNS + tl.arange(0, COLUMNS)
    in_row = column < k
    begin = part * rows_a_part
    end = tl.minimum(begin + rows_a_part, rows)
    total = tl.zeros([COLUMNS], tl.float64)
    for start in range(begin, end, ROWS):
        row = start + tl.arange(0, ROWS)
        live = row < end
        mask = live[:, None] & in_row[None, :]
        x = _load(x_ptr, row[:, None] * x_stride + column[None, :], mask, IS_BYTES, F)
        a = tl.load(x_hat_ptr + row[:, None] * x_hat_stride + column[None, :], mask, other=0.0).to(F)
        factor = tl.zeros([ROWS, COLUMNS], F)
        if HAS_SUMS:
            factor += tl.load(grad_sums_ptr + row * grad_sums_stride, live, other=0.0)[:, None]
        if HAS_GAMMA:
            if HAS_WEIGHTED:
                g = tl.load(grad_weighted_ptr + row * grad_weighted_stride, live, other=0.0)
                factor += (gamma_weight.to(F) * g)[:, None]
        elif HAS_WEIGHTED:
            g = tl.load(grad_weighted_ptr + row * grad_weighted_stride, live, other=0.0)[:, None]
            factor += g * tl.load(weight_ptr + column, in_row, other=0.0)[None, :]
            if TO_WEIGHT:
                term = tl.where(mask, g * _term(x, a, KIND, LOGITS, F), 0.0)
                total += tl.sum(term.to(tl.float64), 0)
        to_x, to_a = _slopes(x, a, KIND, LOGITS)
        offset = row[:, None] * k + column[None, :]
        if TO_X:
            tl.store(grad_x_ptr + offset, (factor * to_x).to(grad_x_ptr.dtype.element_ty), mask)
        if TO_X_HAT:
            tl.store(grad_x_hat_ptr + offset, (factor * to_a).to(grad_x_hat_ptr.dtype.element_ty), mask)
    if TO_WEIGHT and not HAS_GAMMA:
        tl.store(parts_ptr + part * k + column, total, in_row)


def _tile(k: int, most: int) -> dict[str, int]:
    """Tile of about 1,024 elements: whole rows where they are short."""
    columns = min(triton.next_power_of_2(max(k, 1)), most)
    return {"ROWS": max(1, 1024 // columns), "COLUMNS": columns}


FEW_ROWS = 264  # two programs a multiprocessor: with fewer rows a long row gets more threads


def _row_tile(rows: int, k: int) -> dict[str, int]:
    if rows < FEW_ROWS and k >= 4096:
        return {"ROWS": 1, "COLUMNS": 4096, "num_warps": 16}
    return _tile(k, 1024)


def _launch(kernel, programs: int, x: torch.Tensor, x_hat: torch.Tensor, *args: object, **constants) -> None:
    if not programs:
        return
    constants["F"] = tl.float64 if x_hat.dtype == torch.float64 else tl.float32
    constants["IS_BYTES"] = x.dtype == torch.uint8
    with torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
        kernel[(programs,)](*args, **constants)


def forward(
    x: torch.Tensor, x_hat: torch.Tensor, weight: torch.Tensor | None, sums: torch.Tensor, weighted: torch.Tensor,
    chunk: int, kind: int, from_logits: bool,
) -> None:  # fmt: skip
    """Fill sums [rows, chunks] and, with weights, weighted [rows, chunks]; rows of x and x_hat have unit stride."""
    (rows, k), chunks = x_hat.shape, sums.shape[1]
    tile = _tile(k, 1024)
    _launch(
        forward_kernel, triton.cdiv(rows, tile["ROWS"]) * chunks, x, x_hat, x, x_hat,
        sums if weight is None else weight, sums, weighted, 0.0, rows, k, chunks, chunk, x.stride(0), x_hat.stride(0),
        HAS_WEIGHT=weight is not None, HAS_GAMMA=False, KIND=kind, LOGITS=from_logits, **tile,
    )  # fmt: skip


def scaled_forward(
    x: torch.Tensor, x_hat: torch.Tensor, log_gamma: torch.Tensor, nll: torch.Tensor, error: torch.Tensor, constant: float,
    kind: int, from_logits: bool,
) -> None:  # fmt: skip
    """Fill nll and error [rows] of ScaledNllForward in csrc/core/scaled_nll_args.h."""
    rows, k = x_hat.shape
    tile = _row_tile(rows, k)
    _launch(
        forward_kernel, triton.cdiv(rows, tile["ROWS"]), x, x_hat, x, x_hat, log_gamma, error, nll, constant, rows, k, 1, k,
        x.stride(0), x_hat.stride(0), HAS_WEIGHT=False, HAS_GAMMA=True, KIND=kind, LOGITS=from_logits, **tile,
    )  # fmt: skip


def backward(
    grad_sums: torch.Tensor | None, grad_weighted: torch.Tensor | None, x: torch.Tensor, x_hat: torch.Tensor,
    weight: torch.Tensor | None, grad_x: torch.Tensor | None, grad_x_hat: torch.Tensor | None,
    grad_weight: torch.Tensor | None, parts: torch.Tensor | None, kind: int, from_logits: bool,
) -> None:  # fmt: skip
    """Fill the gradients that are given room, and parts [parts, k], whose sum is the gradient to the weights."""
    rows_a_part = None if parts is None else max(1, triton.cdiv(x_hat.shape[0], parts.shape[0]))
    _backward(
        grad_sums, grad_weighted, x, x_hat, weight, None, grad_x, grad_x_hat, parts, rows_a_part,
        None if parts is None else parts.shape[0], kind, from_logits, False,
    )  # fmt: skip


def scaled_backward(
    grad_nll: torch.Tensor | None, grad_error: torch.Tensor | None, x: torch.Tensor, x_hat: torch.Tensor,
    log_gamma: torch.Tensor, error: torch.Tensor, grad_x: torch.Tensor | None, grad_x_hat: torch.Tensor | None,
    grad_log_gamma: torch.Tensor | None, kind: int, from_logits: bool,
) -> None:  # fmt: skip
    """Fill the gradients of ScaledNllBackward in csrc/core/scaled_nll_args.h that are given room."""
    _backward(
        grad_error, grad_nll, x, x_hat, log_gamma, error, grad_x, grad_x_hat, grad_log_gamma, None,
        None if grad_x is not None or grad_x_hat is not None else 0, kind, from_logits, True,
    )  # fmt: skip


def _backward(
    grad_sums: torch.Tensor | None, grad_weighted: torch.Tensor | None, x: torch.Tensor, x_hat: torch.Tensor,
    weight: torch.Tensor | None, sums: torch.Tensor | None, grad_x: torch.Tensor | None, grad_x_hat: torch.Tensor | None,
    to_weight: torch.Tensor | None, rows_a_part: int | None, parts: int | None, kind: int, from_logits: bool, gamma: bool,
) -> None:  # fmt: skip
    rows, k = x_hat.shape
    tile = _tile(k, 256)
    rows_a_part = rows_a_part or 4 * tile["ROWS"]
    parts = triton.cdiv(rows, rows_a_part) if parts is None else parts
    none = x_hat  # stands for a tensor that is not there
    programs = triton.cdiv(k, tile["COLUMNS"]) * parts + (gamma and to_weight is not None)
    _launch(
        backward_kernel, programs, x, x_hat,
        none if grad_sums is None else grad_sums, none if grad_weighted is None else grad_weighted, x, x_hat,
        none if weight is None else weight, none if sums is None else sums, none if grad_x is None else grad_x,
        none if grad_x_hat is None else grad_x_hat, none if to_weight is None else to_weight, rows, k, rows_a_part,
        0 if grad_sums is None else grad_sums.stride(0), 0 if grad_weighted is None else grad_weighted.stride(0),
        x.stride(0), x_hat.stride(0), HAS_SUMS=grad_sums is not None, HAS_WEIGHTED=grad_weighted is not None,
        HAS_GAMMA=gamma, TO_X=grad_x is not None, TO_X_HAT=grad_x_hat is not None, TO_WEIGHT=to_weight is not None, KIND=kind,
        LOGITS=from_logits, **tile,
    )  # fmt: skip
