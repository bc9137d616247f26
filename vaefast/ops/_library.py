"""The torch.library namespace `vaefast` and one helper that registers an op in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

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
    """Register the derivative of `vaefast::<name>`.

    `register_autograd` rather than an `autograd.Function` around the op, although a call costs more: forward and
    backward of reparam_kl on [64, 64], one thread, take 105 us against 87, of which the kernels are 33 (on a busier
    machine 164 us against 100). It belongs to the op itself, so opcheck's test of the autograd registration passes.
    """
    torch.library.register_autograd(f"vaefast::{name}", backward, setup_context=setup_context, lib=_library)
