"""Negative log-likelihoods of data under a decoder's output, in nats per example: one pass over the pixels.

Everywhere: x is [B, ...], uint8 (then scaled to [0, 1], x / 255, as it is read) or floating-point (taken as it is);
x_hat has the shape and device of x and is float32, bfloat16, float16 or float64. Sums run over all dimensions but the
first, and results are [B], float32 (float64 where x or x_hat is). Gradients flow to x_hat, to a floating-point x
and to log_gamma; the backward pass keeps the inputs alone and makes no other tensor of x's size than the gradients
asked for. Differentiable once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaefast.ops import _check
from vaefast.ops._error_sums import error_sums
from vaefast.ops._scaled_nll import FACTOR_AND_POWER, scaled_nll

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
"""0.918939 a dimension. Dai & Wipf's code truncates it to 0.91893."""

SEGMENT = 16
"""Elements that must share a gamma for their errors to be summed before it is applied."""


def squared_error(x: Tensor, x_hat: Tensor, *, from_logits: bool = False) -> Tensor:
    """Sum over dimensions of (x - x_hat)^2, [B]; with `from_logits`, of (x - sigmoid(x_hat))^2.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not fit.
    """
    return _row_sums(*_checked(x, x_hat), "squared", from_logits)


def gaussian_nll(
    x: Tensor,
    x_hat: Tensor,
    log_gamma: Tensor | float,
    *,
    from_logits: bool = False,
    constant: float = HALF_LOG_2PI,
    return_error: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """-log N(x | x_hat, gamma^2), the sum over dimensions of 0.5 ((x - x_hat) / gamma)^2 + log gamma + constant.

    Args:
        x: data [B, ...], uint8 (scaled to [0, 1] inside) or floating-point.
        x_hat: means, the shape of x; their logits where `from_logits` is set.
        log_gamma: log of the standard deviation gamma, a number or a floating-point tensor that broadcasts to
            x.shape[1:]: [] is one for all, [C, 1, 1] one a channel of images [B, C, H, W], [1, H, W] one a pixel,
            [C, H, W] one an element. Accurate for gamma from 1e-4 to 1e2 and beyond.
        from_logits: take sigmoid(x_hat) for the mean.
        constant: what every dimension adds; Dai and Wipf's code truncates it to 0.91893.
        return_error: also return the sum of squared errors, which costs no further pass.

    Returns:
        nll [B], in nats, negative once gamma is small; with `return_error`, (nll, error), where error[B] is the sum of
        (x - mean)^2 over dimensions, whose mean over dimensions is the gamma^2 that minimises the nll.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not fit, or a log_gamma that does not broadcast.

    Source: Dai and Wipf, "Diagnosing and Enhancing VAE Models" (2019), section 2, with gamma the standard deviation as
    in their code, `__build_loss`.
    """
    return _scaled_nll(x, x_hat, log_gamma, "squared", from_logits, constant, return_error)


def laplace_nll(
    x: Tensor,
    x_hat: Tensor,
    log_gamma: Tensor | float,
    *,
    from_logits: bool = False,
    return_error: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """-log Laplace(x | x_hat, b), b = exp(log_gamma): the sum over dimensions of |x - x_hat| / b + log(2 b).

    Arguments, results and errors are those of `gaussian_nll`; error[B] is the sum of |x - x_hat|. The derivative of
    |x - x_hat| where the two are equal is 0.
    """
    return _scaled_nll(x, x_hat, log_gamma, "absolute", from_logits, math.log(2), return_error)


def bernoulli_nll(x: Tensor, x_hat: Tensor, *, from_logits: bool = True) -> Tensor:
    """Cross-entropy of x in [0, 1] under Bernoulli(p), [B]: the sum of -x log p - (1 - x) log(1 - p).

    Args:
        x: data [B, ...], uint8 (scaled to [0, 1] inside) or floating-point in [0, 1].
        x_hat: logits, p = sigmoid(x_hat), exact for any size of logit; probabilities where `from_logits` is False, and
            then p and 1 - p are raised to 1e-8 inside the logarithms, with derivative 0 below it.

    Not a proper likelihood of grey values, whose normaliser it leaves out.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not fit.

    Source: Dai and Wipf's code, the cross-entropy variant of stage 1.
    """
    return _row_sums(*_checked(x, x_hat), "cross_entropy", from_logits)


def _checked(x: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor]:
    """x and x_hat after checks, in a pair of dtypes that the kernels take: x uint8, x_hat's, or float32."""
    if not (isinstance(x, Tensor) and x.dtype == torch.uint8):
        if isinstance(x, Tensor) and x.dtype not in _check.FLOATS:
            _check.fail("x", f"of dtype {x.dtype}", "uint8, float32, bfloat16, float16 or float64")
        _check.float_tensor("x", x)
    if x.dim() == 0:
        _check.fail("x", "of shape []", "at least 1 dimension(s)")
    _check.float_tensor("x_hat", x_hat)
    _check.same_shape_and_device("x_hat", x_hat, "x", x)
    if x.dtype == torch.uint8 or x.dtype == x_hat.dtype:
        return x, x_hat
    dtype = torch.promote_types(x.dtype, x_hat.dtype)
    if dtype == torch.float64:
        x_hat = x_hat.to(dtype)
    return x.to(dtype), x_hat


def _row_sums(x: Tensor, x_hat: Tensor, kind: str, from_logits: bool) -> Tensor:
    rows, k = x.shape[0], x.shape[1:].numel()
    return error_sums(x.reshape(rows, k), x_hat.reshape(rows, k), None, kind, from_logits)[0]


def _log_gamma(log_gamma: Tensor | float, x: Tensor, dtype: torch.dtype) -> Tensor:
    """log_gamma without dimensions, or with as many as an example, each 1 or the example's."""
    if isinstance(log_gamma, (int, float)) and not isinstance(log_gamma, bool):
        return torch.full((), log_gamma, dtype=dtype, device=x.device)
    log_gamma = _check.float_tensor("log_gamma", log_gamma, min_dim=0)
    if log_gamma.device != x.device:
        _check.fail("log_gamma", f"on device {log_gamma.device}", f"the device of x, {x.device}")
    log_gamma = log_gamma.to(dtype)
    if log_gamma.numel() == 1:
        return log_gamma.reshape(()) if log_gamma.dim() else log_gamma
    data = x.shape[1:]
    shape = (1,) * (len(data) - log_gamma.dim()) + tuple(log_gamma.shape)
    if len(shape) != len(data) or any(g not in (1, n) for g, n in zip(shape, data)):
        allowed = f"a shape that broadcasts to x.shape[1:], {list(data)}"
        _check.fail("log_gamma", f"of shape {list(log_gamma.shape)}", allowed)
    return log_gamma.reshape(shape)


def _scaled_nll(
    x: Tensor, x_hat: Tensor, log_gamma: Tensor | float, kind: str, from_logits: bool, constant: float,
    return_error: bool,
) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
    """The likelihoods of scale gamma: the sum of error factor gamma^-power + log gamma + constant."""
    x, x_hat = _checked(x, x_hat)
    log_gamma = _log_gamma(log_gamma, x, torch.float64 if x_hat.dtype == torch.float64 else torch.float32)
    rows, data = x.shape[0], x.shape[1:]
    dims = data.numel()
    if log_gamma.dim() == 0:
        nll, error = scaled_nll(x.reshape(rows, dims), x_hat.reshape(rows, dims), log_gamma, kind, from_logits, constant)
        return (nll, error) if return_error else nll
    factor, power = FACTOR_AND_POWER[kind]
    # Trailing dimensions that share a gamma form segments, whose errors are summed before gamma is applied.
    lead = max(i + 1 for i, g in enumerate(log_gamma.shape) if g != 1)
    segment = data[lead:].numel()
    if segment < SEGMENT:
        lead, segment = len(data), 1
    log_gamma = log_gamma.expand(*data[:lead], *(1,) * (len(data) - lead)).reshape(data[:lead].numel())
    weight = factor * torch.exp(log_gamma * -power)
    if segment == 1:
        error, nll = error_sums(x.reshape(rows, dims), x_hat.reshape(rows, dims), weight, kind, from_logits)
    else:
        parts, groups = rows * log_gamma.shape[0], log_gamma.shape[0]
        sums = error_sums(x.reshape(parts, segment), x_hat.reshape(parts, segment), None, kind, from_logits)[0]
        sums = sums.view(rows, groups)
        error, nll = sums.sum(1), (sums * weight).sum(1)
    nll = nll + segment * (log_gamma + constant).sum()
    return (nll, error) if return_error else nll
