"""What a model was built with, read off its signature once, for all models."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

from torch import nn

from vaefast.api.unread import refuse_unread

CUSTOM = "custom"
"""What stands in a config for a module or function of the user's own."""


def recorded(init: Callable[..., None]) -> Callable[..., None]:
    """`init`, after which the model's `_arguments` holds its arguments as they were given, and `_config` JSON-ready.

    There networks of the user's own are left out, and "nets" is then "custom"; what a model settles in `_settled`, such as a
    width that depends on other arguments, is as it settled it. An argument that is given and that nothing reads is refused.
    """
    signature = inspect.signature(init)
    defaults = defaults_of(init)

    @wraps(init)
    def recording(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        bound = signature.bind(self, *args, **options)
        bound.apply_defaults()
        arguments = dict(list(bound.arguments.items())[1:])
        refuse_unread(arguments, defaults)
        self._arguments = dict(arguments)
        if any([arguments.pop(name, None) is not None for name in self.networks]):
            arguments["nets"] = CUSTOM
        self._config = {name: _plain(value) for name, value in {**arguments, **self._settled}.items()}

    return recording


def defaults_of(model: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a model, or of its `__init__`, that have a default, with it."""
    return {p.name: p.default for p in inspect.signature(model).parameters.values() if p.default is not p.empty}


def _plain(value: Any) -> Any:
    """As JSON has it, but for tuples; an empty mapping says as little as None."""
    if isinstance(value, nn.Module) or callable(value):
        return CUSTOM
    if hasattr(value, "tolist"):  # of NumPy, of torch
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()} or None
    return [_plain(entry) for entry in value] if isinstance(value, Iterable) and not isinstance(value, str) else value
