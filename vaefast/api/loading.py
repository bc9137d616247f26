"""Saved models by kind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vaefast import __version__
from vaefast.api.base import FORMAT, Model
from vaefast.api.biggan import BigGAN, BigGANVAE
from vaefast.api.gamix import GAMIXVAE
from vaefast.api.gan import GAN
from vaefast.api.general import GeneralVAE
from vaefast.api.own_networks import FORM, networks_from
from vaefast.api.second_stage import SecondStage
from vaefast.api.sequential import SequentialVAE
from vaefast.api.table import TableVAE
from vaefast.api.two_stage import TwoStageVAE
from vaefast.api.vae import VAE
from vaefast.api.wae import WAE
from vaefast.errors import CheckpointError
from vaefast.training.checkpoint import load_weights
from vaefast.training.device import refuse_float64, resolve_device
from vaefast.training.storage import load_tensors

MODELS: dict[str, type[Model]] = {model.kind: model for model in (
    TwoStageVAE, VAE, WAE, GeneralVAE, GAMIXVAE, GAN, BigGAN, BigGANVAE, SecondStage, SequentialVAE, TableVAE)}
"""Classes by their kind."""


def load(path: str | os.PathLike[str], *, device: str | torch.device | None = "cpu", networks: str | bool | None = None,
         **own_networks: nn.Module | None) -> Model:
    """A model that `model.save(path)` wrote, or that of a finished run folder; in eval mode.

    No code but the package's is imported, unless `networks` asks for it.

    Args:
        path: the folder.
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
        CheckpointError: missing, damaged, or of other networks than given.
        ArgumentError: `networks` cannot be imported, or does not make networks.
    """
    path = Path(path)
    if not (path / "model.json").is_file():
        if (path / "config.json").is_file():
            raise CheckpointError(f"{path} holds a run that has not finished; go on with it first (resume=True).")
        raise CheckpointError(f"{path} holds no model (no model.json in it); name a folder that model.save or "
                              "vaefast train wrote.")
    tensors, meta = load_tensors(path / "model", "a model")
    if meta.get("format") != FORMAT or meta.get("kind") not in MODELS:
        raise CheckpointError(f"{path} holds a model of kind {meta.get('kind')!r} in format {meta.get('format')!r}, which "
                              f"vaefast {__version__} does not know.")
    config, kind = dict(meta["config"]), MODELS[meta["kind"]]
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
    model = kind(**config, **modules)
    load_weights(model, tensors, path)
    chosen = resolve_device(device)
    refuse_float64(model, chosen)
    return model.to(chosen).eval()


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
