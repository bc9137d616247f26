"""Which device and which precision a run uses."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal, get_args

import torch
from torch import nn

from vaefast.cpu import cpu_info, multiplies_in_bf16
from vaefast.errors import ArgumentError, DeviceError
from vaefast.float32 import float32_products

Precision = Literal["auto", "fp32", "bf16", "fp16", "tf32"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Mode = Literal["auto", "on", "off"]
"""Of what is done where it gains something: compilation, NHWC order."""
MODES: tuple[Mode, ...] = get_args(Mode)


_NAMES = "expected 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'."


def resolve_device(device: str | torch.device | None) -> torch.device:
    """`None` or "auto" is the first CUDA GPU, or the CPU where there is none. "mps", an Apple GPU, is taken only when it is asked
    for: there the ops run on their PyTorch reference, in float32, and nothing of it has been tested on such a machine. ROCm
    builds of torch call their GPUs "cuda", and have not been tested, either.

    Raises:
        DeviceError: the device is not there.
        ArgumentError: not the name of a device.
    """
    if device in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        raise ArgumentError(f"device is {device!r}; {_NAMES}") from None
    if resolved.type not in ("cpu", "cuda", "mps"):
        raise ArgumentError(f"device is {device!r}; {_NAMES}")
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"device is {str(device)!r}, but torch finds no Apple GPU here; use device='cpu' or 'auto'.")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"device is {str(device)!r}, but torch sees {torch.cuda.device_count()} CUDA devices here; "
                          "use device='cpu', or install a torch build and a driver that match the GPU.")
    return resolved


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """"fp32", "bf16", "fp16" or "tf32"; "auto" is bf16 where the hardware multiplies in it (CUDA from sm_80, CPUs with
    AVX512-BF16 or AMX), fp16 on older GPUs with tensor cores (from sm_70), else fp32.

    "tf32" (GPUs from sm_80) keeps float32 tensors and rounds the factors of matrix products to 10 bits.

    Raises:
        ArgumentError: not the name of a precision, or one that the device does not have.
    """
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}.")
    if precision == "tf32" and device.type != "cuda":
        raise ArgumentError("precision is 'tf32', which only CUDA GPUs have; use fp32 or bf16.")
    if precision == "fp16" and device.type == "mps":
        raise ArgumentError("precision is 'fp16', whose scaled loss is for CUDA GPUs and CPUs; use fp32 or bf16.")
    if precision != "auto":
        return precision
    if device.type == "mps":  # bf16 there depends on the version of macOS
        return "fp32"
    if device.type == "cpu":
        return "bf16" if multiplies_in_bf16() else "fp32"
    capability = torch.cuda.get_device_capability(device)
    return "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"


def auto_before_it_was_kept(device: torch.device) -> Precision:
    """What "auto" was where a checkpoint does not say: then CPUs without AMX had fp32."""
    if device.type == "cpu" and "amx_bf16" not in cpu_info():
        return "fp32"
    return resolve_precision("auto", device)


def memory_format(channels_last: str, device: torch.device, precision: str) -> torch.memory_format:
    """Order of convolutions' weights. "auto" is NHWC for the tensor cores of a GPU, NCHW for float32 and on a CPU, where
    it was measured to gain nothing."""
    if channels_last not in MODES:
        raise ArgumentError(f"channels_last is {channels_last!r}; expected one of {', '.join(MODES)}.")
    gains = device.type == "cuda" and precision != "fp32"
    return torch.channels_last if channels_last == "on" or channels_last == "auto" and gains else torch.contiguous_format


def crashing_convolution(model: nn.Module) -> str | None:
    """Name of a convolution whose gradient corrupts memory in NHWC order on a CPU, if the model has one: 1x1, strided, with
    fewer than 16 input channels (torch 2.15 with AVX-512)."""
    return next((name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)
                 and layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.in_channels < 16), None)


def refuse_float64(model: nn.Module, device: torch.device) -> None:
    """Nothing but an error where the device cannot hold the model's numbers.

    Raises:
        ArgumentError: the model has float64 ones, as mixtures of Gaussians do, and the device is an Apple GPU.
    """
    if device.type != "mps":
        return
    if name := next((name for name, t in (*model.named_parameters(), *model.named_buffers()) if t.dtype == torch.float64), None):
        raise ArgumentError(f"{name} is in float64, which Apple GPUs do not have; use device='cpu', or a second stage of another "
                            "kind than 'mixture'.")


def matmul_precision(precision: str) -> AbstractContextManager[None]:
    """float32 products in TF32 inside if precision is "tf32", in full otherwise; the caller's setting again afterwards."""
    return float32_products(tf32=precision == "tf32")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Autocast of the networks when precision is "bf16" or "fp16"; losses and gamma stay float32 in the models."""
    half = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, half, enabled=precision in ("bf16", "fp16"))
