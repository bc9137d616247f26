"""What can be a network of the user's own."""

from __future__ import annotations

from typing import Any

from torch import nn

from vaefast.errors import ArgumentError


def own_network(name: str, network: Any) -> nn.Module:
    """`network`, if it is a module; `ArgumentError` otherwise."""
    if isinstance(network, nn.Module):
        return network
    if isinstance(network, type):
        raise ArgumentError(f"{name} is the class {network.__name__}; expected a module, that is an instance: "
                            f"{network.__name__}(...).")
    what = repr(network) if isinstance(network, str) else f"of type {type(network).__name__}"
    hint = " (networks of the package go by nets=)" if isinstance(network, str) else ""
    raise ArgumentError(f"{name} is {what}; expected a torch.nn.Module{hint}.")
