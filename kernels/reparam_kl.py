"""Sampling z ~ N(mu, s^2) with its KL to N(0, 1) in one pass, and the gradients of both, in Triton.

A program takes a tile of rows and walks along them four elements a Philox counter, so a row is read once.
"""

import contextlib

import torch
import triton
import triton.language as tl

from .log1p import log1p
from .noise import normals

LOGVAR = tl.constexpr(0)
LOGSTD = tl.constexpr(1)


@triton.jit
def _scale(a, PARAM: tl.constexpr, F: tl.constexpr):
    """Standard deviation s, 2 log s, ds/da, and dkl/da."""
    if PARAM == LOGVAR:
        s = tl.exp(0.5 * a)
        two_log_s = a
        ds_da = 0.5 * s
        dkl_da = 0.5 * (s * s - 1.0)
    elif PARAM == LOGSTD:
        s = tl.exp(a)
        two_log_s = 2.0 * a
        ds_da = s
        dkl_da = s * s - 1.0
    else:
        t = tl.exp(-tl.abs(a))
        # max(a, 0) by a comparison, which lets NaN through.
        s = 1e-6 + (tl.where(a < 0, 0.0, a) + log1p(t, F))
        two_log_s = 2.0 * tl.log(s)
        ds_da = tl.where(a < 0, t, 1.0) / (1.0 + t)
        dkl_da = (s - 1.0 / s) * ds_da
    return s, two_log_s, ds_da, dkl_da


@triton.jit
def _tile(first, g, k, live, ALIGNED: tl.constexpr, GROUPS: tl.constexpr):
    """Noise groups [R, GROUPS], columns [R, 4 GROUPS] and their mask, of the tile at group g of each row."""
    group = (first // 4)[:, None] + (g + tl.arange(0, GROUPS))[None, :]
    column = 4 * g + tl.arange(0, 4 * GROUPS)[None, :]
    if not ALIGNED:
        column = column - (first % 4)[:, None]
    return group, column, live[:, None] & (column >= 0) & (column < k)


@triton.jit
def forward_kernel(
    mu_ptr, scale_ptr, seed_ptr, z_ptr, kl_ptr, draws, rows, k, z_draw_stride, mu_stride, scale_stride,
    row_offset, HAS_KL: tl.constexpr, PARAM: tl.constexpr, F: tl.constexpr, ALIGNED: tl.constexpr,
    ROWS: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    seed = tl.load(seed_ptr)
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    live = row < rows
    first = (row + row_offset) * k
    kl = tl.zeros([ROWS], F)
    for g in range(0, (k + (3 if ALIGNED else 6)) // 4, GROUPS):
        group, column, mask = _tile(first, g, k, live, ALIGNED, GROUPS)
        mu = tl.load(mu_ptr + row[:, None] * mu_stride + column, mask, other=0.0).to(F)
        a = tl.load(scale_ptr + row[:, None] * scale_stride + column, mask, other=0.0).to(F)
        s, two_log_s, _, _ = _scale(a, PARAM, F)
        offset = row[:, None] * k + column
        for draw in range(draws):
            z = mu + s * normals(seed, group, draw, F)
            tl.store(z_ptr + offset, z.to(z_ptr.dtype.element_ty), mask)
            offset += z_draw_stride
        if HAS_KL:
            kl += tl.sum(tl.where(mask, 0.5 * (mu * mu + s * s - two_log_s - 1.0), 0.0), 1)
    if HAS_KL:
        tl.store(kl_ptr + row, kl, live)


@triton.jit
def backward_kernel(
    grad_z_ptr, grad_kl_ptr, mu_ptr, scale_ptr, seed_ptr, grad_mu_ptr, grad_scale_ptr, draws, rows, k,
    grad_z_draw_stride, grad_z_stride, grad_kl_stride, mu_stride, scale_stride, row_offset, HAS_Z: tl.constexpr,
    HAS_KL: tl.constexpr, TO_MU: tl.constexpr, PARAM: tl.constexpr, F: tl.constexpr, ALIGNED: tl.constexpr,
    ROWS: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    seed = tl.load(seed_ptr)
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    live = row < rows
    first = (row + row_offset) * k
    for g in range(0, (k + (3 if ALIGNED else 6)) // 4, GROUPS):
        group, column, mask = _tile(first, g, k, live, ALIGNED, GROUPS)
        a = tl.load(scale_ptr + row[:, None] * scale_stride + column, mask, other=0.0).to(F)
        s, _, ds_da, dkl_da = _scale(a, PARAM, F)
        to_mu = tl.zeros([ROWS, 4 * GROUPS], F)
        to_scale = tl.zeros([ROWS, 4 * GROUPS], F)
        if HAS_Z:
            offset = row[:, None] * grad_z_stride + column
            for draw in range(draws):
                grad_z = tl.load(grad_z_ptr + offset, mask, other=0.0).to(F)
                to_mu += grad_z
                to_scale += grad_z * normals(seed, group, draw, F)
                offset += grad_z_draw_stride
            to_scale = to_scale * ds_da
        if HAS_KL:
            grad_kl = tl.load(grad_kl_ptr + row * grad_kl_stride, live, other=0.0)[:, None]
            mu = tl.load(mu_ptr + row[:, None] * mu_stride + column, mask, other=0.0).to(F)
            to_mu += grad_kl * mu
            to_scale += grad_kl * dkl_da
        offset = row[:, None] * k + column
        if TO_MU:
            tl.store(grad_mu_ptr + offset, to_mu.to(grad_mu_ptr.dtype.element_ty), mask)
        tl.store(grad_scale_ptr + offset, to_scale.to(grad_scale_ptr.dtype.element_ty), mask)


def _shape(k: int) -> dict[str, object]:
    """Tile of about 1,024 elements: whole rows where they are short."""
    groups = min(triton.next_power_of_2(max((k + 6) // 4 if k % 4 else k // 4, 1)), 256)
    return {"ALIGNED": k % 4 == 0, "ROWS": max(1, 256 // groups), "GROUPS": groups}


def _launch(kernel, x: torch.Tensor, *args: object, **constants: object) -> None:
    rows, k = x.shape
    shape = _shape(k)
    if rows == 0:
        return
    constants["F"] = tl.float64 if x.dtype == torch.float64 else tl.float32
    with torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
        kernel[(triton.cdiv(rows, shape["ROWS"]),)](*args, **constants, **shape)


def forward(
    mu: torch.Tensor, scale: torch.Tensor, seed: torch.Tensor, z: torch.Tensor, kl: torch.Tensor | None, param: int,
    row_offset: int, draws: int = 1,
) -> None:  # fmt: skip
    """Fill z [draws, B, k], or [B, k], and kl [B], which may be None; rows of mu and scale have unit stride."""
    _launch(
        forward_kernel, mu, mu, scale, seed, z, mu if kl is None else kl, draws, *mu.shape, mu.numel(),
        mu.stride(0), scale.stride(0), row_offset, HAS_KL=kl is not None, PARAM=param,
    )  # fmt: skip


def backward(
    grad_z: torch.Tensor | None, grad_kl: torch.Tensor | None, mu: torch.Tensor | None, scale: torch.Tensor,
    seed: torch.Tensor, grad_mu: torch.Tensor | None, grad_scale: torch.Tensor, param: int, row_offset: int,
    draws: int = 1,
) -> None:  # fmt: skip
    """Fill grad_mu and grad_scale [B, k]; a gradient that is None counts as zero.

    mu and grad_mu may be None where grad_kl is.
    """
    _launch(
        backward_kernel, scale, scale if grad_z is None else grad_z, scale if grad_kl is None else grad_kl,
        scale if mu is None else mu, scale, seed, scale if grad_mu is None else grad_mu, grad_scale, draws,
        *scale.shape, 0 if grad_z is None or grad_z.dim() == 2 else grad_z.stride(0),
        0 if grad_z is None else grad_z.stride(-2), 0 if grad_kl is None else grad_kl.stride(0),
        0 if mu is None else mu.stride(0), scale.stride(0), row_offset, HAS_Z=grad_z is not None,
        HAS_KL=grad_kl is not None, TO_MU=grad_mu is not None, PARAM=param,
    )  # fmt: skip
