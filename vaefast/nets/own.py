"""What can be a network of the user's own."""

from __future__ import annotations

from typing import Any

from torch import nn

from vaefast.errors import ArgumentError


def own_network(name: str, given: Any) -> nn.Module:
    """`given`, if it is a module; `ArgumentError` otherwise."""
    if isinstance(given, nn.Module):
        return given
    if isinstance(given, type):
        raise ArgumentError(f"{name} is the class {given.__name__}; expected a module, that is an instance: "
                            f"{given.__name__}(...).")
    what = repr(given) if isinstance(given, str) else f"of type {type(given).__name__}"
    hint = " (networks of the package go by nets=)" if isinstance(given, str) else ""
    raise ArgumentError(f"{name} is {what}; expected a torch.nn.Module{hint}.")
