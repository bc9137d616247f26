"""Checks at the door of the public ops: one sentence that names the argument, what it was, what it may be."""

from __future__ import annotations

from typing import NoReturn

import torch

from vaefast.errors import ArgumentError

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def fail(argument: str, given: object, expected: str) -> NoReturn:
    """Raise the error of one argument."""
    raise ArgumentError(f"{argument} is {given}; expected {expected}.")


def float_tensor(argument: str, x: object, min_dim: int = 1) -> torch.Tensor:
    """`x`, which must be a floating-point tensor of at least `min_dim` dimensions."""
    if not isinstance(x, torch.Tensor):
        fail(argument, f"a {type(x).__name__}", "a tensor")
    if x.dtype not in FLOATS:
        fail(argument, f"of dtype {x.dtype}", "float32, bfloat16, float16 or float64")
    if x.dim() < min_dim:
        fail(argument, f"of shape {list(x.shape)}", f"at least {min_dim} dimension(s)")
    return x


def same_shape_and_device(argument: str, x: torch.Tensor, other: str, y: torch.Tensor) -> None:
    """`x` must agree with `y` in shape and device."""
    if x.shape != y.shape:
        fail(argument, f"of shape {list(x.shape)}", f"the shape of {other}, {list(y.shape)}")
    if x.device != y.device:
        fail(argument, f"on device {x.device}", f"the device of {other}, {y.device}")


def choice(argument: str, value: object, choices: tuple[str, ...]) -> None:
    """`value` must be one of `choices`."""
    if value not in choices:
        fail(argument, repr(value), " or ".join(repr(c) for c in choices))


def whole_number(argument: str, value: object, least: int = 0) -> None:
    """`value` must be an int >= `least` (a symbolic one under torch.compile)."""
    if isinstance(value, bool) or not isinstance(value, (int, torch.SymInt)):
        fail(argument, repr(value), f"an int >= {least}")
    elif value < least:
        fail(argument, value, f"an int >= {least}")
