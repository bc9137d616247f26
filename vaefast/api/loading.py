"""Saved models by kind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vaefast import __version__
from vaefast.api.arguments import CUSTOM
from vaefast.api.base import FORMAT, Model
from vaefast.api.biggan import BigGAN, BigGANVAE
from vaefast.api.gamix import GAMIXVAE
from vaefast.api.gan import GAN
from vaefast.api.general import GeneralVAE
from vaefast.api.hub import BY_HAND, HubName, fetch, located
from vaefast.api.own_networks import FORM, networks_from
from vaefast.api.second_stage import SecondStage
from vaefast.api.sequential import SequentialVAE
from vaefast.api.table import TableVAE
from vaefast.api.two_stage import TwoStageVAE
from vaefast.api.unread import without_unread
from vaefast.api.vae import VAE
from vaefast.api.wae import WAE
from vaefast.errors import ArgumentError, CheckpointError, HubError, VaefastError, first_line
from vaefast.training.checkpoint import load_weights
from vaefast.training.device import refuse_float64, resolve_device
from vaefast.training.storage import load_tensors

MODELS: dict[str, type[Model]] = {model.kind: model for model in (
    TwoStageVAE, VAE, WAE, GeneralVAE, GAMIXVAE, GAN, BigGAN, BigGANVAE, SecondStage, SequentialVAE, TableVAE)}
"""Classes by their kind."""


def load(path: str | os.PathLike[str], *, device: str | torch.device | None = "cpu", networks: str | bool | None = None,
         **own_networks: nn.Module | None) -> Model:
    """A model that `model.save(path)` wrote, or that of a finished run folder, or one of the Hugging Face Hub; in eval mode.

    No code but the package's is imported, unless `networks` asks for it; of the Hub none ever is.

    Args:
        path: the folder; or, as text, where there is no such folder, "owner/name" or "owner/name@REVISION" of a model on the Hub,
            of which model.json and model.safetensors are downloaded (package huggingface_hub). `model.source` is then the name
            with the commit that was taken.
        device: where to put it.
        networks: of a model that was built with networks of your own: "module:function", which makes them anew (see
            `vaefast.api.own_networks.networks_from`), with the options that the file holds; True for what the file names. That
            module's code is imported and run.
        own_networks: or fresh copies of these networks: encoder= and decoder=, or generator= and discriminator=; and adversary=,
            if it has one of your own.

    Returns:
        `vaefast.TwoStageVAE`, `VAE`, `WAE`, `GeneralVAE`, `GAMIXVAE`, `GAN`, `BigGAN`, `BigGANVAE`, `SecondStage`,
        `SequentialVAE` or `TableVAE`, as it was saved.

    Raises:
        CheckpointError: missing, damaged, or of other networks than given; HubError, one of these, where the Hub has no such
            model or cannot be reached.
        ArgumentError: `networks` cannot be imported, or does not make networks.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentError(f"path is of type {type(path).__name__}; expected a folder that model.save or vaefast train wrote.")
    name = located(path)
    if name is not None:
        if networks or any(network is not None for network in own_networks.values()):
            raise ArgumentError(f"networks of your own are given for {name}, a model of the Hub, which takes none; {BY_HAND}")
        return _of_hub(name, device)
    path = Path(path)
    if not (path / "model.json").is_file():
        if (path / "config.json").is_file():
            raise CheckpointError(f"{path} holds a run that has not finished; go on with it first (resume=True).")
        if not path.exists():
            raise CheckpointError(f"{path} does not exist; name a folder that model.save or vaefast train wrote.")
        raise CheckpointError(f"{path} holds no model (no model.json in it); name a folder that model.save or "
                              "vaefast train wrote.")
    tensors, meta = load_tensors(path / "model", "a model")
    if meta.get("format") != FORMAT or meta.get("kind") not in list(MODELS) or not isinstance(meta.get("config"), dict):
        raise CheckpointError(f"{path} holds a model of kind {meta.get('kind')!r} in format {meta.get('format')!r}, which "
                              f"vaefast {__version__} does not know.")
    config, kind = without_unread(dict(meta["config"])), MODELS[meta["kind"]]
    modules = {name: net for name, net in own_networks.items() if net is not None}
    adversary = modules.pop("adversary", None)
    if (config.get("adversary") == "custom") != (adversary is not None):
        wanted = ("was built with a discriminator of its own; pass adversary= to load it" if adversary is None else
                  "was not built with a discriminator of your own; load it without adversary=")
        raise CheckpointError(f"{path} {wanted}.")
    if config.get("nets") == "custom":
        del config["nets"]
        source = meta.get("networks") or {}
        if networks and not modules:
            modules = dict(_made(path, kind, config, source, networks))
        if set(modules) != set(kind.networks):
            raise CheckpointError(_needs_networks(path, kind, source))
    elif modules or networks:
        what = "= and ".join([*modules, *(["networks"] if networks else [])])
        raise CheckpointError(f"{path} was not built with networks of your own; load it without {what}=.")
    if adversary is not None:
        config["adversary"] = adversary
    try:
        model = kind(**config, **modules)
        load_weights(model, tensors, path)
    except VaefastError:
        raise
    except (TypeError, ValueError, AttributeError, IndexError, KeyError, ArithmeticError, RuntimeError, MemoryError) as error:
        raise CheckpointError(f"{path} cannot be built as its model.json says: {first_line(error)}") from error
    chosen = resolve_device(device)
    refuse_float64(model, chosen)
    return model.to(chosen).eval()


from_pretrained = load
"""The same, by the name that models of the Hub are loaded by elsewhere."""


def _of_hub(name: HubName, device: str | torch.device | None) -> Model:
    """The model of that name, whose files are checked as those of any folder; `model.source` says which commit it is."""
    fetched = fetch(name, lambda meta: _refuse_code(name, meta))
    try:
        model = load(fetched.folder, device=device)
    except VaefastError as error:
        raise HubError(f"{fetched.source}, a model of the Hub, cannot be loaded: {error}") from error
    model.source = fetched.source
    return model


def _refuse_code(name: HubName, meta: Any) -> None:
    """Raise for a model of the Hub that needs code, before its weights are downloaded."""
    config = meta.get("config") if isinstance(meta, dict) else None
    if isinstance(config, dict) and CUSTOM in config.values():
        raise HubError(f"{name} was built with networks or functions of its own, whose code is not taken from the Hub; {BY_HAND}")


def _made(path: Path, kind: type[Model], config: Mapping[str, Any], source: Mapping[str, Any],
          networks: str | bool) -> dict[str, nn.Module]:
    """The networks that `networks` makes, or that the file names, with the options that it holds."""
    spec = source.get("from") if networks is True else networks
    if not isinstance(spec, str):
        raise CheckpointError(_needs_networks(path, kind, source))
    shape = config.get("image_shape") or config["data_shape"]
    return networks_from(spec, kind.networks, shape, config["latent_dim"], source.get("options"))


def _needs_networks(path: Path, kind: type[Model], source: Mapping[str, Any]) -> str:
    names = " and ".join(f"{name}=" for name in kind.networks)
    made = source.get("from")
    known = made or ", ".join(f"{name} {source[name]}" for name in kind.networks if name in source)
    spec = made or FORM
    return (f"{path} was built with its own networks{f' ({known})' if known else ''}; pass {names}, or networks={spec!r}, which "
            "imports and runs that module, to load it.")
