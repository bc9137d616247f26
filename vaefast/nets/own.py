"""What can be a network of the user's own."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from vaefast.errors import ArgumentError


def own_network(name: str, network: Any, told: bool = False) -> nn.Module:
    """`network`, if it is a module, and, where it is `told` a condition, takes one after its input; `ArgumentError` otherwise."""
    if isinstance(network, nn.Module):
        if told and not _takes_two(network):
            raise ArgumentError(f"{name} is called with its input and a condition (the labels), as the model is conditioned; the "
                                f"forward of this {type(network).__name__} takes its input alone.")
        return network
    if isinstance(network, type):
        raise ArgumentError(f"{name} is the class {network.__name__}; expected a module, that is an instance: "
                            f"{network.__name__}(...).")
    what = repr(network) if isinstance(network, str) else f"of type {type(network).__name__}"
    hint = " (networks of the package go by nets=)" if isinstance(network, str) else ""
    raise ArgumentError(f"{name} is {what}; expected a torch.nn.Module{hint}.")


def _takes_two(network: nn.Module) -> bool:
    try:
        inspect.signature(network.forward).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # one that says nothing of its arguments
        return True
    return True
