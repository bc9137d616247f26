"""Where the weights of the 2015 Inception network come from: a file that is named, torch hub's cache, or the download."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..data.download import fetch
from ..data.roots import expanded
from ..errors import CheckpointError, DataError, DataNotFoundError
from ..weights_file import read_tensors

NAME = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{NAME}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


def cached_file() -> Path:
    """Where pytorch-fid, torch-fidelity's port and this package keep the file: torch hub's folder of checkpoints."""
    return Path(torch.hub.get_dir()) / "checkpoints" / NAME


def load_weights(file: str | os.PathLike[str] | None, notice: Callable[[str], None]) -> tuple[dict[str, Tensor], str]:
    """The tensors of the weights file, and its SHA-256.

    Args:
        file: .pth or .safetensors, with pytorch-fid's names; None: `cached_file`, downloaded if it is not there.
        notice: called with a sentence where a named file is not the published one.

    Raises:
        DataNotFoundError: no such file; or none named, none cached and none to be had from the network.
        CheckpointError: the file is damaged, or holds something else.
    """
    if file is None:
        path = _published()
    elif not (path := expanded(file)).is_file():
        raise DataNotFoundError(f"{path} is not there; pass the path of {NAME}, or none to use torch hub's cache.")
    digest = _digest(path)
    if digest != SHA256:
        if file is None:
            raise CheckpointError(f"{path} is damaged: its sha256 is {digest}, not {SHA256}; delete it, then it is fetched anew.")
        notice(f"{path} is not pytorch-fid's {NAME} (sha256 {digest[:8]}..., not {SHA256[:8]}...): numbers made with it "
               "compare with each other only.")
    return read_tensors(path, NAME), digest


def _published() -> Path:
    path = cached_file()
    if str(path).startswith("~"):
        raise DataNotFoundError(f"there is no home folder to look for {NAME} in, or to fetch it to; name it, or set "
                                "TORCH_HOME.")
    failures = fetch([URL], path, _check_digest)
    if failures:
        raise DataNotFoundError(
            f"FID, KID and the Inception score need {NAME} (91 MiB, sha256 {SHA256}), which could not be fetched "
            f"({'; '.join(failures)}): download {URL} elsewhere and put it at {path}, or name it with --inception-weights "
            "(weights= in Python)."
        )
    return path


def _check_digest(path: Path) -> None:
    if (digest := _digest(path)) != SHA256:
        raise DataError(f"{path} has sha256 {digest}")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        sha = hashlib.sha256()
        while piece := file.read(1 << 22):
            sha.update(piece)
    return sha.hexdigest()
