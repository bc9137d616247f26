"""Saved models by kind."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from vaefast import __version__
from vaefast.api.base import FORMAT, Model
from vaefast.api.biggan import BigGAN, BigGANVAE
from vaefast.api.gamix import GAMIXVAE
from vaefast.api.gan import GAN
from vaefast.api.general import GeneralVAE
from vaefast.api.second_stage import SecondStage
from vaefast.api.sequential import SequentialVAE
from vaefast.api.two_stage import TwoStageVAE
from vaefast.api.vae import VAE
from vaefast.api.wae import WAE
from vaefast.errors import CheckpointError
from vaefast.training.checkpoint import load_weights
from vaefast.training.device import resolve_device
from vaefast.training.storage import load_tensors

MODELS: dict[str, type[Model]] = {model.kind: model for model in (
    TwoStageVAE, VAE, WAE, GeneralVAE, GAMIXVAE, GAN, BigGAN, BigGANVAE, SecondStage, SequentialVAE)}
"""Classes by their kind."""


def load(path: str | os.PathLike, *, device: str | torch.device | None = "cpu", **networks: nn.Module | None) -> Model:
    """A model that `model.save(path)` wrote, or that of a finished run folder; in eval mode.

    Args:
        path: the folder.
        device: where to put it.
        networks: fresh copies of your own networks, if it was built with such: encoder= and decoder=, or generator= and
            discriminator=; and adversary=, if it has one of your own.

    Returns:
        `vaefast.TwoStageVAE`, `VAE`, `WAE`, `GeneralVAE`, `GAMIXVAE`, `GAN`, `BigGAN`, `BigGANVAE`, `SecondStage` or
        `SequentialVAE`, as it was saved.

    Raises:
        CheckpointError: missing, damaged, or of other networks than given.
    """
    path = Path(path)
    if not (path / "model.json").is_file():
        if (path / "config.json").is_file():
            raise CheckpointError(f"{path} holds a run that has not finished; go on with it first (--resume).")
        raise CheckpointError(f"{path} holds no model (no model.json in it); name a folder that model.save or "
                              "vaefast train wrote.")
    tensors, meta = load_tensors(path / "model", "a model")
    if meta.get("format") != FORMAT or meta.get("kind") not in MODELS:
        raise CheckpointError(f"{path} holds a model of kind {meta.get('kind')!r} in format {meta.get('format')!r}, which "
                              f"vaefast {__version__} does not know.")
    config, kind = dict(meta["config"]), MODELS[meta["kind"]]
    given = {name: net for name, net in networks.items() if net is not None}
    adversary = given.pop("adversary", None)
    if (config.get("adversary") == "custom") != (adversary is not None):
        wanted = ("was built with a discriminator of its own; pass adversary= to load it" if adversary is None else
                  "was not built with a discriminator of your own; load it without adversary=")
        raise CheckpointError(f"{path} {wanted}.")
    names = " and ".join(f"{name}=" for name in kind.networks)
    if config.get("nets") == "custom":
        del config["nets"]
        if set(given) != set(kind.networks):
            raise CheckpointError(f"{path} was built with its own networks; pass {names} to load it.")
    elif given:
        raise CheckpointError(f"{path} was not built with networks of your own; load it without {'= and '.join(given)}=.")
    if adversary is not None:
        config["adversary"] = adversary
    model = kind(**config, **given)
    load_weights(model, tensors, path)
    return model.to(resolve_device(device)).eval()
