"""Which backend runs an op: what each needs, what is preferred where, and what the user forces."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from vaefast.errors import BackendError
from vaefast.ops import _native

BACKENDS = ("reference", "cpp", "triton", "cuda")

# Process-wide, not per thread: autograd runs the backward pass of CUDA ops in a thread of its own.
_forced: str | None = os.environ.get("VAEFAST_BACKEND") or None
_forced_by = "VAEFAST_BACKEND"

_ops: dict[str, Op] = {}


def why_not(backend: str, device_type: str) -> str | None:
    """Why `backend` cannot run on tensors of `device_type`, or None where it can."""
    if backend == "reference":
        return None
    if backend == "cpp":
        if device_type != "cpu":
            return "runs on CPU tensors only"
        return _native.why_missing()
    if backend == "triton":
        if device_type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
            return "runs on CPU tensors only under TRITON_INTERPRET=1"
        if device_type not in ("cpu", "cuda"):
            return "runs on CUDA tensors only"
        missing = "triton is not installed, which CUDA builds of torch bring (pip install triton)"
        return None if importlib.util.find_spec("triton") else missing
    if device_type != "cuda":
        return "runs on CUDA tensors only"
    if torch.version.hip:
        return "is compiled for NVIDIA's GPUs, and this torch is built for AMD's (ROCm)"
    return _native.why_no_cuda()


class Kernels(NamedTuple):
    """One backend's forward and, where it has one, backward."""

    forward: Any
    backward: Any = None


class Op:
    """One op's implementations by backend, and which is preferred on which device.

    `prefer` lists, best first, the backends to try before the reference; `because` says what the order
    rests on. Every op registers itself here once, at import.
    """

    def __init__(
        self, name: str, kernels: Mapping[str, Any], prefer: Mapping[str, Sequence[str]], because: Mapping[str, str]
    ) -> None:
        self.name = name
        self.kernels = dict(kernels)
        self.prefer = {device: tuple(order) for device, order in prefer.items()}
        self.because = dict(because)
        self._picked: dict[tuple[str, str | None], Any] = {}
        _ops[name] = self

    def pick(self, device_type: str) -> Any:
        """The implementation that serves `device_type` now."""
        picked = self._picked.get((device_type, _forced))
        if picked is None:
            picked = self._picked[device_type, _forced] = self.kernels[self.choose(device_type)]
        return picked

    def forward(self, *args: Any, **options: Any) -> Any:
        """The op on the device of its first tensor."""
        return self.pick(_device_type(args)).forward(*args, **options)

    def backward(self, *args: Any) -> Any:
        """The op's gradients on the device of their first tensor."""
        return self.pick(_device_type(args)).backward(*args)

    def choose(self, device_type: str) -> str:
        """The name of the backend that serves `device_type` now."""
        if _forced is not None:
            reason = self.why_not(_forced, device_type)
            if reason:
                usable = [b for b in BACKENDS if self.why_not(b, device_type) is None]
                raise BackendError(
                    f"{_forced_by} asks for backend {_forced!r}, which cannot run {self.name} on {device_type}: "
                    f"{reason}. Usable here: {', '.join(usable)}."
                )
            return _forced
        order = (*self.prefer.get(device_type, ()), "reference")
        return next(b for b in order if self.why_not(b, device_type) is None)

    def why_not(self, backend: str, device_type: str) -> str | None:
        """Why `backend` cannot run this op on `device_type`, or None where it can."""
        if backend not in BACKENDS:
            return f"there is no such backend (there are {', '.join(BACKENDS)})"
        if backend not in self.kernels:
            return "has no kernel for this op"
        return why_not(backend, device_type)


def _device_type(args: tuple[Any, ...]) -> str:
    # an op's tensors come first; those that are not there are None
    first: torch.Tensor = next(x for x in args if x is not None)
    return first.device.type


@dataclass(frozen=True)
class Served:
    """Who serves an op on a device (None: nothing, as the device is not there) and why the others do not."""

    backend: str | None
    others: dict[str, str]


def _served(op: Op, device_type: str) -> Served:
    if device_type == "cuda" and not torch.cuda.is_available():
        absent = {b: op.why_not(b, "cuda") or "no CUDA device is available" for b in BACKENDS}
        return Served(None, absent)
    try:
        chosen = op.choose(device_type)
    except BackendError as error:
        return Served(None, {b: str(error) if b == _forced else f"{_forced_by} forces {_forced}" for b in BACKENDS})
    if _forced is not None:
        preferred = f"usable, but {_forced_by} forces {_forced}"
    else:
        preferred = f"usable, but {chosen} is preferred: {op.because.get(device_type, 'no measurement yet')}"
    return Served(chosen, {b: op.why_not(b, device_type) or preferred for b in BACKENDS if b != chosen})


def backends() -> dict[str, dict[str, Served]]:
    """For every op and device type ("cpu", "cuda"): the backend that serves it now, and why not the others."""
    return {name: {device: _served(op, device) for device in ("cpu", "cuda")} for name, op in sorted(_ops.items())}


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Force a backend ("reference", "cpp", "triton" or "cuda") for all ops and threads while the context lasts.

    It overrides the environment variable VAEFAST_BACKEND. An op that the backend cannot run raises
    `vaefast.errors.BackendError`, as does an unknown name.
    """
    global _forced, _forced_by
    if name not in BACKENDS:
        raise BackendError(f"backend must be one of {', '.join(BACKENDS)}; got {name!r}.")
    before = _forced, _forced_by
    _forced, _forced_by = name, "vaefast.ops.backend"
    try:
        yield
    finally:
        _forced, _forced_by = before
