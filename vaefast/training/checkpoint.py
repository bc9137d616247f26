"""Everything a run needs to go on exactly where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.errors import CheckpointError
from vaefast.training.storage import load_tensors, save_tensors

FORMAT = 1


def load_weights(module: nn.Module, tensors: dict[str, Tensor], origin: Path) -> None:
    """Copy `tensors` into `module`; `CheckpointError` naming the differences if they belong to another model."""
    own = module.state_dict()
    problems = [f"{name} is missing" for name in own if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in own]
    problems += [f"{name} has shape {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
                 for name in own if name in tensors and tensors[name].shape != own[name].shape]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(f"{origin} belongs to another model: {'; '.join(problems[:3])}{more}.")
    module.load_state_dict(tensors)


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix):]: t for name, t in tensors.items() if name.startswith(prefix)}


class Checkpoints:
    """The last `keep` checkpoints in a folder, named by stage and step.

    Args:
        folder: where they lie; made when first written to.
        keep: how many to keep; older ones are deleted after a newer one is safely written.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def _stems(self) -> list[Path]:
        return sorted(p.with_suffix("") for p in self.folder.glob("stage*-*.json"))

    def save(self, *, stage: int, step: int, seconds: float, model: nn.Module, optimizer: torch.optim.Optimizer | None,
             average: dict[str, Tensor] | None, device: torch.device) -> Path:
        """Write weights, optimizer, moving average and random states after `step` steps of stage number `stage`."""
        tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
        groups: list[dict[str, Any]] = []
        if optimizer is not None:
            state = optimizer.state_dict()
            groups = state["param_groups"]
            tensors |= {f"optimizer.{i}.{k}": v for i, entry in state["state"].items() for k, v in entry.items()}
        tensors |= {f"average.{k}": v for k, v in (average or {}).items()}
        tensors |= {f"random.{k}": v for k, v in _random_state(device).items()}
        stem = self.folder / f"stage{stage + 1}-{step:08d}"
        # tied weights would be refused by safetensors; clones are cheap beside the disk
        save_tensors(stem, {k: v.clone() for k, v in tensors.items()},
                     {"format": FORMAT, "stage": stage, "step": step, "seconds": seconds, "optimizer": groups})
        for old in self._stems()[: -self.keep]:
            for suffix in (".json", ".safetensors"):
                old.with_suffix(suffix).unlink(missing_ok=True)
        return stem

    def newest(self) -> tuple[dict[str, Tensor], dict[str, Any], Path, list[str]] | None:
        """Tensors, meta and stem of the newest whole checkpoint, and what was wrong with newer ones; None if none.

        Raises:
            CheckpointError: there are checkpoints, and all of them are damaged.
        """
        stems = self._stems()
        problems: list[str] = []
        for stem in reversed(stems):
            try:
                tensors, meta = load_tensors(stem, "a checkpoint")
                return tensors, meta, stem, problems
            except CheckpointError as error:
                problems.append(str(error))
        if problems:
            raise CheckpointError("no checkpoint of this run can be read: " + " ".join(problems))
        return None


def restore(tensors: dict[str, Tensor], meta: dict[str, Any], origin: Path, *, model: nn.Module,
            device: torch.device) -> None:
    """Put a checkpoint's weights and random states back."""
    load_weights(model, _part(tensors, "model."), origin)
    _set_random_state(_part(tensors, "random."), device)


def restore_optimizer(tensors: dict[str, Tensor], meta: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint's optimizer state back."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimizer.").items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": meta["optimizer"]})


def averaged(tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """A checkpoint's moving average of the weights, if it has one."""
    return _part(tensors, "average.") or None
