"""Networks of the user's own: what can be one, how they are named so that another process finds them, and how they are built."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.own import own_network

FORM = "MODULE:FUNCTION"
_SOURCE = "_vaefast_source"
STRUCTURE = 20_000
"""Characters of a network's structure that a file holds."""


def networks_from(spec: str, names: Sequence[str], shape: Sequence[int], latent_dim: int,
                  options: Mapping[str, Any] | None = None) -> dict[str, nn.Module]:
    """Import and call what makes a model's networks. This runs the code of that module.

    Args:
        spec: "module:function", which returns all networks, in the order of `names` or by name; or a function or class for each
            of them, "module:Encoder,module:Decoder". Modules are looked for in the working folder, too.
        names: of the networks, such as ("encoder", "decoder").
        shape: of an example; given to a function that has an argument `image_shape`, or `data_shape` if it is no image's.
        latent_dim: given to one that has an argument of this name.
        options: its other arguments.

    Raises:
        ArgumentError: it cannot be imported or called, or does not return these networks.
    """
    makers = [_imported(word.strip(), "networks") for word in spec.split(",")]
    if len(makers) not in (1, len(names)):
        raise ArgumentError(f"networks is {spec!r}; expected {FORM}, or {len(names)} of them: {' and '.join(names)}.")
    known = {"image_shape" if len(shape) == 3 else "data_shape": tuple(shape), "latent_dim": latent_dim, **(options or {})}
    made = [_called(word, maker, known, alone=len(makers) == 1, options=dict(options or {}))
            for word, maker in zip(spec.split(","), makers)]
    if len(makers) == 1:
        result = made[0]
        if isinstance(result, Mapping):
            made = [result.get(name) for name in names]
        elif isinstance(result, (tuple, list)) and len(result) == len(names):
            made = list(result)
        else:
            raise ArgumentError(f"{spec} returned {type(result).__name__}; expected ({', '.join(names)}), {len(names)} modules.")
    networks = {name: own_network(f"{name} of {spec}", network) for name, network in zip(names, made)}
    for network in networks.values():
        setattr(network, _SOURCE, {"from": spec, "options": dict(options or {})})
    return networks


def features_from(spec: str, device: str | torch.device = "cpu") -> Callable[[Tensor], Tensor]:
    """A network of features by name (`vaefast.metrics.named_extractor`), or what the user's own function makes, which is imported
    and called: this runs the code of that module.

    Args:
        spec: "timm:NAME", "torchvision:NAME", "clip:NAME", "dinov2:NAME" or "torch-fidelity:NAME", each with or without "@FILE"
            of its weights; or "module:function", called without arguments, which returns a module or function from float images
            [B, C, H, W] in [0, 1] to rows [B, F].
        device: where a network by name computes.

    Raises:
        ArgumentError: it cannot be imported or called, or returns nothing of the kind. Others as `named_extractor`.
    """
    from vaefast.metrics.named_extractor import FORMS, is_named, named_extractor  # here, as scores take long to import

    if is_named(spec):
        return named_extractor(spec, device=device)
    try:
        function = _imported(spec, "features")
    except ArgumentError as error:
        raise ArgumentError(f"{error} Networks that are known by name: {FORMS}.") from error
    made = _called(spec, function, {}, alone=True, options={})
    if not callable(made):
        raise ArgumentError(f"{spec} returned {type(made).__name__}; expected a module or function, images -> rows of features.")
    network: Callable[[Tensor], Tensor] = made
    return network


def source_of(networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """How another process finds networks of one's own (JSON-ready): `from` and `options` of those that `networks_from` made; of
    others the classes by name, as far as they can be imported, and their structure, for a person to read."""
    tagged = [getattr(network, _SOURCE, None) for network in networks.values()]
    if tagged and tagged[0] is not None and all(source == tagged[0] for source in tagged):
        return dict(tagged[0])
    described: dict[str, Any] = {"structure": {name: str(network)[:STRUCTURE] for name, network in networks.items()}}
    for name, network in networks.items():
        where, what = type(network).__module__, type(network).__qualname__
        if where != "__main__" and "<" not in what and where.partition(".")[0] != "torch":
            described[name] = f"{where}:{what}"
    return described


def _imported(word: str, argument: str) -> Any:
    where, separator, what = word.partition(":")
    if not separator or not where or not what:
        raise ArgumentError(f"{argument} is {word!r}; expected {FORM}, such as mymodule:build.")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        maker: Any = importlib.import_module(where)
    except Exception as error:
        raise ArgumentError(f"{argument} is {word!r}, and {where} cannot be imported ({type(error).__name__}: {error}); it has "
                            "to lie in the working folder or on PYTHONPATH.") from error
    for part in what.split("."):
        if not hasattr(maker, part):
            raise ArgumentError(f"{argument} is {word!r}; {where} has no {what}.")
        maker = getattr(maker, part)
    if not callable(maker):
        raise ArgumentError(f"{argument} is {word!r}, which is of type {type(maker).__name__}; expected a function or class that "
                            f"makes {argument}.")
    return maker


def _called(word: str, maker: Any, known: Mapping[str, Any], *, alone: bool, options: Mapping[str, Any]) -> Any:
    parameters = inspect.signature(maker).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if alone and not takes_all and (unknown := [name for name in options if name not in parameters]):
        raise ArgumentError(f"{word} takes no {unknown[0]!r}; it has {', '.join(parameters) or 'no arguments'}.")
    try:
        return maker(**{name: value for name, value in known.items() if takes_all or name in parameters})
    except Exception as error:
        raise ArgumentError(f"{word} failed ({type(error).__name__}: {error}); it is called "
                            + (f"with those of {', '.join(known)} that it has as arguments." if known else "without arguments.")
                            ) from error
