"""Activation checkpointing for modules that keep statistics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint


def without_traces(module: nn.Module, *inputs: Tensor) -> Any:
    """What `module` returns in the mode it is in, with its buffers (moving statistics) left as they are."""
    return functional_call(module, {name: buffer.clone() for name, buffer in module.named_buffers()}, inputs)


def recomputed(module: nn.Module, x: Tensor) -> Tensor:
    """`module(x)`, of which only x is kept: the backward pass computes the rest again, and updates no buffers again.

    For modules that draw no random numbers.
    """
    if not torch.is_grad_enabled():
        return module(x)
    if torch.compiler.is_compiling():  # the compiler takes the second pass from the first one's graph
        return checkpoint(module, x, use_reentrant=False, preserve_rng_state=False)
    before = True

    def run(x: Tensor) -> Tensor:
        nonlocal before
        if before:
            before = False
            return module(x)
        return without_traces(module, x)

    return checkpoint(run, x, use_reentrant=False, preserve_rng_state=False)
