"""A piece of work whose outcome is NAME.json with a picture beside it, done once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.digest import tensor_digest
from vaefast.errors import ArgumentError
from vaefast.experiments.pictures.figures import save_figure
from vaefast.training.device import resolve_device
from vaefast.training.storage import read_object, write_json

PRESETS = ("smoke", "quick", "paper")


class Job:
    """Where one outcome goes, and what it is the outcome of.

    Args:
        name: of the files, in folder `out`.
        preset: "smoke", "quick" or "paper".
        device: "auto", "cpu", "cuda", ...
        say: told what is done.
        inputs: what else the outcome depends on, JSON-ready.

    Raises:
        ArgumentError: no such preset. DeviceError: no such device.
    """

    def __init__(self, name: str, out: str | Path, preset: str, seed: int, device: str | torch.device,
                 say: Callable[[str], None], **inputs: Any) -> None:
        if preset not in PRESETS:
            raise ArgumentError(f"preset is {preset!r}; expected one of {', '.join(PRESETS)}.")
        self.name, self.stem, self.preset, self.seed, self.say = name, Path(out) / name, preset, seed, say
        self.device = resolve_device(device)
        self.settings = json.loads(json.dumps({"preset": preset, "seed": seed, **inputs}))  # as they are read back

    def known(self) -> dict[str, Any] | None:
        """The record that is there already, if it is of these very settings."""
        record = read_object(self.stem.with_name(f"{self.name}.json"))
        if record.get("settings") != self.settings:
            return None
        self.say(f"{self.name}: done before, in {self.stem.parent}")
        return record

    def write(self, record: dict[str, Any], figure: Any = None) -> dict[str, Any]:
        """Write the figure, then the record, which vouches for it; returns the record with its settings."""
        return write_outcome(self.stem, self.settings, record, figure)


def write_outcome(stem: Path, settings: dict[str, Any], record: dict[str, Any], figure: Any = None) -> dict[str, Any]:
    """STEM.png and .svg of the figure, then STEM.json; returns the record with its name and settings."""
    record = {"name": stem.name, "settings": settings, **record}
    if figure is not None:
        save_figure(figure, stem)
    write_json(stem.with_name(f"{stem.name}.json"), record)
    return record


def fingerprint(what: nn.Module | Tensor) -> str:
    """Digest of a module's weights or of a tensor's values."""
    tensors = what.state_dict() if isinstance(what, nn.Module) else {"": what}
    return tensor_digest((f"{name} ", tensor) for name, tensor in tensors.items())[:16]
