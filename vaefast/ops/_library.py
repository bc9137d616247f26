"""The torch.library namespace `vaefast` and one helper that registers an op in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor

from vaefast.errors import ArgumentError, BackendError

_NOTHING = nullcontext()
_library = torch.library.Library("vaefast", "FRAGMENT")


def define(schema: str, run: Callable[..., Any], fake: Callable[..., Any]) -> Callable[..., Any]:
    """Register `vaefast::<schema>` with one implementation for every device and its fake; returns the overload.

    `Library.define` and `impl` rather than `torch.library.custom_op`: a call costs a third of the time.
    """
    name = schema.partition("(")[0]
    _library.define(schema)
    _library.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"vaefast::{name}", fake, lib=_library)
    return getattr(torch.ops.vaefast, name).default


def define_autograd(name: str, setup_context: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Register the derivative of `vaefast::<name>`: of reverse mode, torch.func's transforms included; forward mode is refused.

    It belongs to the op itself, so opcheck's test of the autograd registration passes. What `torch.library.register_autograd`
    makes serves neither: torch.func.grad raises, and a forward-mode derivative is 0 without a word.
    """
    op = getattr(torch.ops.vaefast, name).default
    below, levels = torch._C._after_autograd_keyset, torch.autograd.forward_ad

    def run(keyset: Any, modes: AbstractContextManager, args: tuple) -> Any:
        with torch._C._AutoDispatchBelowAutograd(), modes:
            return op.redispatch(keyset & below, *args)

    # of one level, as the dispatcher comes here once for each transform of torch.func
    class Derivative(torch.autograd.function._SingleLevelFunction):
        @staticmethod
        def forward(ctx: Any, keyset: Any, modes: AbstractContextManager, *args: Any) -> Any:
            output = run(keyset, modes, args)
            setup_context(ctx=_Context(ctx), inputs=args, output=output)
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Tensor | None) -> tuple:
            found = backward(_Context(ctx), *grads)
            return (None, None, *(found if isinstance(found, tuple) else (found,)))

        @staticmethod
        def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
            raise BackendError(f"vaefast::{name} has no forward-mode derivative (torch.func.jvp, jacfwd, hessian, forward_ad); "
                               "use torch.func.grad, vjp or jacrev, or a formula in plain PyTorch.")

    def kernel(keyset: Any, *args: Any) -> Any:
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args) or levels._current_level >= 0:
            # the dispatcher leaves out arguments that have their default values
            args += tuple(a.default_value for a in op._schema.arguments[len(args):])
            if not torch._C._are_functorch_transforms_active():
                return Derivative.apply(keyset, _NOTHING, *args)
            with _one_level():
                return Derivative.apply(keyset, _Modes(), *args)
        return run(keyset, _NOTHING, args)

    Derivative.__name__ = f"Derivative_{name}"
    _library.impl(name, kernel, "Autograd", with_keyset=True)


def define_backward(of: str, schema: str, run: Callable[..., Any], fake: Callable[..., Any]) -> Callable[..., Any]:
    """Register the op that makes the gradients of `of` (in words) and has no derivative of its own; returns the overload."""

    def refuse(ctx: Any, *grads: Tensor | None) -> tuple:
        raise ArgumentError(f"{of} is differentiable once; create_graph=True through it is not supported.")

    op = define(schema, run, fake)
    define_autograd(schema.partition("(")[0], lambda ctx, inputs, output: None, refuse)
    return op


class _Modes:
    """Whether derivatives are kept, as it is where this is made. A Function's forward switches both kinds off, and so hides from
    the transforms around it (grad of grad, jvp of grad) what it does: their derivatives would be 0."""

    def __init__(self) -> None:
        self._reverse, self._forward = torch.is_grad_enabled(), torch._C._is_fwd_grad_enabled()

    def __enter__(self) -> None:
        self._stack = ExitStack()
        self._stack.enter_context(torch.set_grad_enabled(self._reverse))
        self._stack.enter_context(torch.autograd.forward_ad._set_fwd_grad_enabled(self._forward))

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def _one_level() -> AbstractContextManager:
    from torch._functorch.autograd_function import enable_single_level_autograd_function

    return enable_single_level_autograd_function()


class _Context:
    """A Function's context as the op's arguments alone see it."""

    __slots__ = ("_ctx",)

    def __init__(self, ctx: Any) -> None:
        object.__setattr__(self, "_ctx", ctx)

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        return self._ctx.needs_input_grad[2:]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._ctx, name, value)
