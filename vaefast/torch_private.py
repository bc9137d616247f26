"""All that vaefast uses of PyTorch beyond its public interface, each with the reason, and what serves where it is missing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from functools import cache
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor


@cache
def has(path: str) -> bool:
    """Whether torch has `path`, such as "_C._after_autograd_keyset"."""
    value: Any = torch
    for name in path.split("."):
        value = getattr(value, name, None)
        if value is None:
            return False
    return True


# No public function says that a tensor is one of torch.func's transforms, or a fake one, whose values can't be read. Without it
# none is.


def is_transformed(x: Tensor) -> bool:
    """Whether x is inside a transform of torch.func."""
    return has("_C._functorch.is_functorch_wrapped_tensor") and torch._C._functorch.is_functorch_wrapped_tensor(x)


def has_values(x: Tensor) -> bool:
    """Whether the values of x can be read here: not of a meta or fake tensor, nor inside torch.compile, a trace, a transform of
    torch.func or a captured CUDA graph."""
    if x.is_meta or torch.jit.is_tracing() or torch.compiler.is_compiling() or is_transformed(x):
        return False
    if type(x) is not Tensor and hasattr(x, "fake_mode"):
        return False
    return not (x.is_cuda and torch.cuda.is_current_stream_capturing())


# Lists of tensors in one kernel: what torch.optim's own optimizers are made of, without a public name. Without them a loop.


Tensors = tuple[Tensor, ...] | list[Tensor]


def clamp_all(tensors: Tensors, low: float, high: float) -> None:
    """Clamp every tensor, in place."""
    if has("_foreach_clamp_min_") and has("_foreach_clamp_max_"):
        torch._foreach_clamp_min_(tensors, low)
        torch._foreach_clamp_max_(tensors, high)
    else:
        for x in tensors:
            x.clamp_(low, high)


def lerp_all(tensors: Tensors, towards: Tensors, share: float | Tensor) -> None:
    """x += share (y - x) for every pair, in place."""
    if not has("_foreach_lerp_"):
        for x, y in zip(tensors, towards, strict=True):
            x.add_(share * (y - x))
    elif isinstance(share, Tensor):
        difference = torch._foreach_sub(towards, tensors)
        torch._foreach_mul_(difference, share)
        torch._foreach_add_(tensors, difference)
    else:
        torch._foreach_lerp_(tensors, towards, share)


def copy_all(tensors: Tensors, others: Tensors) -> None:
    """Copy every other tensor, in place."""
    if has("_foreach_copy_"):
        torch._foreach_copy_(tensors, others)
    else:
        for x, y in zip(tensors, others, strict=True):
            x.copy_(y)


def unscale_all(tensors: Tensors, inverse: Tensor, found_inf: Tensor) -> None:
    """Multiply every tensor by `inverse`, in place; `found_inf` becomes 1 if one is not finite."""
    if not has("_amp_foreach_non_finite_check_and_unscale_"):
        for x in tensors:
            found_inf.masked_fill_(~torch.isfinite(x).all(), 1.0)
            x.mul_(inverse)
        return
    for dtype in {x.dtype for x in tensors}:
        torch._amp_foreach_non_finite_check_and_unscale_([x for x in tensors if x.dtype == dtype], found_inf, inverse)


# The number of the current stream, without an object around it: a microsecond of a small op's few. Without it the object's.


def current_stream(device: int) -> int:
    """The current CUDA stream of a device, as a pointer."""
    if has("_C._cuda_getCurrentRawStream"):
        return torch._C._cuda_getCurrentRawStream(device)
    return torch.cuda.current_stream(device).cuda_stream


# oneDNN's dense layer, which F.linear leaves to MKL (`vaefast.training.dense`). Without it F.linear.


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [N, K] times weight [M, K] transposed, plus bias [M], by oneDNN; without a derivative."""
    if has("ops.mkldnn._linear_pointwise"):
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y
    return F.linear(x, weight, bias)


# A derivative that belongs to an op itself, so that opcheck's test of the autograd registration passes. What the public
# torch.library.register_autograd makes serves neither: torch.func.grad raises, and a forward-mode derivative is 0 without a
# word. Where a part is missing it serves all the same.

_AUTOGRAD = ("_C._after_autograd_keyset", "_C._AutoDispatchBelowAutograd", "_C._any_requires_grad",
             "_C._are_functorch_transforms_active", "_C._is_fwd_grad_enabled", "autograd.function._SingleLevelFunction",
             "autograd.forward_ad._current_level", "autograd.forward_ad._set_fwd_grad_enabled")
_NOTHING = nullcontext()


def register_autograd(library: Any, name: str, setup_context: Callable[..., None], backward: Callable[..., Any],
                      refuse_forward_mode: Callable[[], None]) -> None:
    """Register the derivative of `vaefast::<name>` in reverse mode, torch.func's transforms included; forward mode calls
    `refuse_forward_mode`, which raises."""
    op = getattr(torch.ops.vaefast, name).default
    if not all(map(has, _AUTOGRAD)):
        torch.library.register_autograd(f"vaefast::{name}", backward, setup_context=setup_context, lib=library)
        return
    below, levels = torch._C._after_autograd_keyset, torch.autograd.forward_ad

    def run(keyset: Any, modes: AbstractContextManager[None], args: tuple[Any, ...]) -> Any:
        with torch._C._AutoDispatchBelowAutograd(), modes:
            return op.redispatch(keyset & below, *args)

    # of one level, as the dispatcher comes here once for each transform of torch.func
    class Derivative(torch.autograd.function._SingleLevelFunction):
        apply: ClassVar[Callable[..., Any]]

        @staticmethod
        def forward(ctx: Any, keyset: Any, modes: AbstractContextManager[None], *args: Any) -> Any:
            output = run(keyset, modes, args)
            setup_context(ctx=_Context(ctx), inputs=args, output=output)
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
            gradients = backward(_Context(ctx), *grads)
            return (None, None, *(gradients if isinstance(gradients, tuple) else (gradients,)))

        @staticmethod
        def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
            refuse_forward_mode()

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
    library.impl(name, kernel, "Autograd", with_keyset=True)


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


def _one_level() -> AbstractContextManager[None]:
    from torch._functorch.autograd_function import enable_single_level_autograd_function

    return enable_single_level_autograd_function()


class _Context:
    """A Function's context as the op's arguments alone see it."""

    __slots__ = ("_ctx",)

    def __init__(self, ctx: Any) -> None:
        object.__setattr__(self, "_ctx", ctx)

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        needs: tuple[bool, ...] = self._ctx.needs_input_grad
        return needs[2:]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._ctx, name, value)


# The end of a DataLoader's workers. They end when their iterator is gone, which the traceback of an error may keep for long;
# until then torch raises that a worker died whenever another process of this one ends. Without it they end when they end.


def end_workers(loader: Any, iterator: Any) -> None:
    """End the worker processes of a DataLoader's iterator that failed; the DataLoader can be iterated again."""
    end = getattr(iterator, "_shutdown_workers", None)
    if end is None:
        return
    with suppress(RuntimeError):  # what torch says of the dead one, once more
        end()
    if getattr(loader, "_iterator", None) is iterator:
        loader._iterator = None
