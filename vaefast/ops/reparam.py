"""reparam_kl: sample z ~ N(mu, s^2) and its KL divergence to N(0, I) in one pass.

The pattern of every op: the public function checks and promotes, the schema with its fake is what PyTorch
sees, the reference is the meaning, and the backends are the same thing faster.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.ops import _check, _library, _native, _philox
from vaefast.ops._registry import Op
from vaefast.ops._seed import seed_tensor

PARAMS = ("logvar", "logstd", "softplus")
SOFTPLUS_FLOOR = 1e-6


def reparam_kl(
    mu: Tensor,
    scale: Tensor,
    *,
    param: str = "logvar",
    generator: torch.Generator | None = None,
    seed: int | Tensor | None = None,
    row_offset: int = 0,
) -> tuple[Tensor, Tensor]:
    """Sample z = mu + s * eps, eps ~ N(0, I), and compute KL(N(mu, s^2) || N(0, I)) of every row.

    Args:
        mu: means, [..., k], float32, bfloat16, float16 or float64.
        scale: what `param` says of the standard deviation s, same shape; mixed dtypes are promoted.
        param: "logvar": s = exp(scale / 2); "logstd": s = exp(scale); "softplus": s = 1e-6 + softplus(scale).
        generator: draws the seed; torch's default generator of the device where neither it nor `seed` is given.
        seed: an int in [0, 2**63) or an int64 tensor of one element, in place of `generator`.
        row_offset: index of the first row in the whole batch. The noise belongs to the element's global index
            (row + row_offset) * k + column, so ranks and micro-batches that state their offset never repeat
            noise, and a split batch equals the whole.

    Returns:
        z: the samples, shape and dtype of mu (after promotion), contiguous.
        kl: the divergence in nats, [...], summed over the k dimensions, float32 (float64 for float64).

    Both are differentiable once. The backward pass makes the noise again from the seed; nothing of the size of
    mu is kept besides the inputs. Equal seeds give equal noise on every backend, to rounding.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not fit, an unknown `param`, a bad `seed` or `row_offset`.
        BackendError: a forced backend cannot run here.

    Source: Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), section 2.4 and appendix B.
    """
    _check.float_tensor("mu", mu)
    _check.float_tensor("scale", scale)
    _check.same_shape_and_device("scale", scale, "mu", mu)
    _check.choice("param", param, PARAMS)
    _check.whole_number("row_offset", row_offset)
    if mu.dtype != scale.dtype:
        dtype = torch.promote_types(mu.dtype, scale.dtype)
        mu, scale = mu.to(dtype), scale.to(dtype)
    seed = seed_tensor(seed, generator, mu.device)
    if mu.dim() == 2:
        return _reparam_kl(mu, scale, seed, param, row_offset)
    lead, k = mu.shape[:-1], mu.shape[-1]
    rows = lead.numel()
    z, kl = _reparam_kl(mu.reshape(rows, k), scale.reshape(rows, k), seed, param, row_offset)
    return z.view(mu.shape), kl.view(lead)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that arithmetic on `dtype` is done in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class Kernels(NamedTuple):
    """One backend's forward and backward."""

    forward: object
    backward: object


# The reference: the meaning of the op, in plain PyTorch, on any device.


def _scale(a: Tensor, param: str) -> tuple[Tensor, Tensor, Tensor]:
    """Standard deviation s, 2 log s, and ds/da."""
    if param == "logvar":
        s = torch.exp(0.5 * a)
        return s, a, 0.5 * s
    if param == "logstd":
        s = torch.exp(a)
        return s, 2 * a, s
    s = SOFTPLUS_FLOOR + torch.clamp(a, min=0) + torch.log1p(torch.exp(-a.abs()))
    return s, 2 * torch.log(s), torch.sigmoid(a)


def _noise(mu: Tensor, seed: Tensor, row_offset: int) -> Tensor:
    rows, k = mu.shape
    return _philox.normals(seed, row_offset * k, rows * k, compute_dtype(mu.dtype)).view(rows, k)


def reference_forward(mu: Tensor, scale: Tensor, seed: Tensor, param: str, row_offset: int) -> tuple[Tensor, Tensor]:
    """z and kl; differentiable by autograd, which the tests hold the formulas below against."""
    dtype = compute_dtype(mu.dtype)
    m, (s, two_log_s, _) = mu.to(dtype), _scale(scale.to(dtype), param)
    z = (m + s * _noise(mu, seed, row_offset)).to(mu.dtype, memory_format=torch.contiguous_format)
    return z.contiguous(), (0.5 * (m * m + s * s - two_log_s - 1)).sum(1)


def reference_backward(
    grad_z: Tensor | None, grad_kl: Tensor | None, mu: Tensor, scale: Tensor, seed: Tensor, param: str, row_offset: int
) -> tuple[Tensor, Tensor]:
    """Gradients to mu and scale."""
    dtype = compute_dtype(mu.dtype)
    s, _, ds_da = _scale(scale.to(dtype), param)
    to_mu = torch.zeros(mu.shape, dtype=dtype, device=mu.device)
    to_scale = torch.zeros_like(to_mu)
    if grad_z is not None:
        to_mu += grad_z
        to_scale += grad_z * _noise(mu, seed, row_offset) * ds_da
    if grad_kl is not None:
        to_mu += grad_kl[:, None] * mu
        # s - 1/s = (s^2 - 1) / s, and ds/da is a multiple of s for the exponential forms.
        factor = {"logvar": 0.5, "logstd": 1.0}.get(param)
        to_scale += grad_kl[:, None] * ((s - 1 / s) * ds_da if factor is None else factor * (s * s - 1))
    return to_mu.to(mu.dtype), to_scale.to(mu.dtype)


# The compiled backends.


def _outputs(mu: Tensor) -> tuple[Tensor, Tensor]:
    return mu.new_empty(mu.shape), mu.new_empty(mu.shape[:1], dtype=compute_dtype(mu.dtype))


def native_forward(mu: Tensor, scale: Tensor, seed: Tensor, param: str, row_offset: int) -> tuple[Tensor, Tensor]:
    """`reference_forward` by csrc/{cpu,cuda}/reparam_kl."""
    mu, scale = _native.unit_rows(mu), _native.unit_rows(scale)
    z, kl = _outputs(mu)
    _native.run(
        "reparam_kl_forward", mu, mu, scale, seed, z, kl, *mu.shape, mu.stride(0), scale.stride(0), row_offset,
        mu.dtype, PARAMS.index(param),
    )  # fmt: skip
    return z, kl


def native_backward(
    grad_z: Tensor | None, grad_kl: Tensor | None, mu: Tensor, scale: Tensor, seed: Tensor, param: str, row_offset: int
) -> tuple[Tensor, Tensor]:
    """`reference_backward` by csrc/{cpu,cuda}/reparam_kl."""
    mu, scale = _native.unit_rows(mu), _native.unit_rows(scale)
    grad_z = None if grad_z is None else _native.unit_rows(grad_z)
    grad_mu, grad_scale = mu.new_empty(mu.shape), mu.new_empty(mu.shape)
    _native.run(
        "reparam_kl_backward", mu, grad_z, grad_kl, mu, scale, seed, grad_mu, grad_scale, *mu.shape,
        0 if grad_z is None else grad_z.stride(0), 0 if grad_kl is None else grad_kl.stride(0), mu.stride(0),
        scale.stride(0), row_offset, mu.dtype, PARAMS.index(param),
    )  # fmt: skip
    return grad_mu, grad_scale


def triton_forward(mu: Tensor, scale: Tensor, seed: Tensor, param: str, row_offset: int) -> tuple[Tensor, Tensor]:
    """`reference_forward` by kernels/reparam_kl.py."""
    z, kl = _outputs(mu)
    mu, scale = _native.unit_rows(mu), _native.unit_rows(scale)
    _native.kernels("reparam_kl").forward(mu, scale, seed, z, kl, PARAMS.index(param), row_offset)
    return z, kl


def triton_backward(
    grad_z: Tensor | None, grad_kl: Tensor | None, mu: Tensor, scale: Tensor, seed: Tensor, param: str, row_offset: int
) -> tuple[Tensor, Tensor]:
    """`reference_backward` by kernels/reparam_kl.py."""
    grad_mu, grad_scale = mu.new_empty(mu.shape), mu.new_empty(mu.shape)
    mu, scale = _native.unit_rows(mu), _native.unit_rows(scale)
    grad_z = None if grad_z is None else _native.unit_rows(grad_z)
    _native.kernels("reparam_kl").backward(
        grad_z, grad_kl, mu, scale, seed, grad_mu, grad_scale, PARAMS.index(param), row_offset
    )
    return grad_mu, grad_scale


_OP = Op(
    "reparam_kl",
    {
        "reference": Kernels(reference_forward, reference_backward),
        "cpp": Kernels(native_forward, native_backward),
        "triton": Kernels(triton_forward, triton_backward),
        "cuda": Kernels(native_forward, native_backward),
    },
    prefer={"cpu": ("cpp",), "cuda": ("triton", "cuda")},
    because={
        "cpu": "1.1, 2.5 and 3.9 times the eager formula with torch.randn at 4,096, 2^20 and 2^24 elements "
        "(one AVX-512 thread; docs/performance.md)",
        "cuda": "not yet measured on a GPU",
    },
)


# What PyTorch sees.


def _run_forward(mu: Tensor, scale: Tensor, seed: Tensor, param: str, row_offset: int) -> tuple[Tensor, Tensor]:
    return _OP.pick(mu.device.type).forward(mu, scale, seed, param, row_offset)


def _run_backward(
    grad_z: Tensor | None, grad_kl: Tensor | None, mu: Tensor, scale: Tensor, seed: Tensor, param: str, row_offset: int
) -> tuple[Tensor, Tensor]:
    return _OP.pick(mu.device.type).backward(grad_z, grad_kl, mu, scale, seed, param, row_offset)


def _fake_forward(mu: Tensor, scale: Tensor, seed: Tensor, param: str, row_offset: int) -> tuple[Tensor, Tensor]:
    return _outputs(mu)


def _fake_backward(
    grad_z: Tensor | None, grad_kl: Tensor | None, mu: Tensor, scale: Tensor, seed: Tensor, param: str, row_offset: int
) -> tuple[Tensor, Tensor]:
    return mu.new_empty(mu.shape), mu.new_empty(mu.shape)


_reparam_kl = _library.define(
    "reparam_kl(Tensor mu, Tensor scale, Tensor seed, str param, SymInt row_offset) -> (Tensor z, Tensor kl)",
    _run_forward,
    _fake_forward,
)
_reparam_kl_backward = _library.define(
    "reparam_kl_backward(Tensor? grad_z, Tensor? grad_kl, Tensor mu, Tensor scale, Tensor seed, str param, "
    "SymInt row_offset) -> (Tensor grad_mu, Tensor grad_scale)",
    _run_backward,
    _fake_backward,
)


def _setup_context(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    mu, scale, seed, ctx.param, ctx.row_offset = inputs
    ctx.save_for_backward(mu, scale, seed)
    ctx.set_materialize_grads(False)


def _backward(ctx, grad_z: Tensor | None, grad_kl: Tensor | None) -> tuple:
    if grad_z is None and grad_kl is None:
        return None, None, None, None, None
    mu, scale, seed = ctx.saved_tensors
    return (*_reparam_kl_backward(grad_z, grad_kl, mu, scale, seed, ctx.param, ctx.row_offset), None, None, None)


def _setup_nothing(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    pass


def _no_second_derivative(ctx, *grads: Tensor) -> tuple:
    raise ArgumentError("reparam_kl is differentiable once; create_graph=True through it is not supported.")


_library.define_autograd("reparam_kl", _setup_context, _backward)
_library.define_autograd("reparam_kl_backward", _setup_nothing, _no_second_derivative)
