"""The torch.library namespace `vaefast` and one helper that registers an op in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor

from vaefast.errors import ArgumentError, BackendError
from vaefast.torch_private import register_autograd

R = TypeVar("R")
Gradients = tuple[Tensor | None, ...]
"""What a derivative returns: for each input of the op its gradient, or None."""

_library = torch.library.Library("vaefast", "FRAGMENT")


def define(schema: str, run: Callable[..., Any], fake: Callable[..., R]) -> Callable[..., R]:
    """Register `vaefast::<schema>` with one implementation for every device and its fake; returns the overload.

    `Library.define` and `impl` rather than `torch.library.custom_op`: a call costs a third of the time.
    """
    name = schema.partition("(")[0]
    _library.define(schema)
    _library.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"vaefast::{name}", fake, lib=_library)
    overload: Callable[..., R] = getattr(torch.ops.vaefast, name).default
    return overload


def define_autograd(name: str, setup_context: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Register the derivative of `vaefast::<name>`: of reverse mode, torch.func's transforms included, and no other."""

    def refuse() -> None:
        raise BackendError(f"vaefast::{name} has no forward-mode derivative (torch.func.jvp, jacfwd, hessian, forward_ad); "
                           "use torch.func.grad, vjp or jacrev, or a formula in plain PyTorch.")

    register_autograd(_library, name, setup_context, backward, refuse)


def define_backward(of: str, schema: str, run: Callable[..., Any], fake: Callable[..., R]) -> Callable[..., R]:
    """Register the op that makes the gradients of `of` (in words) and has no derivative of its own; returns the overload."""

    def refuse(ctx: Any, *grads: Tensor | None) -> NoReturn:
        raise ArgumentError(f"{of} is differentiable once; create_graph=True through it is not supported.")

    op = define(schema, run, fake)
    define_autograd(schema.partition("(")[0], lambda ctx, inputs, output: None, refuse)
    return op
