"""Everything a run needs to go on exactly where it was."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.errors import CheckpointError, RunFolderError
from vaefast.files import remove_leftovers
from vaefast.training.storage import load_tensors, save_tensors

FORMAT = 2
SUFFIXES = (".safetensors", ".json")


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


def saved_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], Path]:
    """A model's tensors, as `load_weights` takes them, and where they lie: of a checkpoint, such as
    RUN/checkpoints/last-good, or of a finished run's folder.

    Raises:
        CheckpointError: missing or damaged.
    """
    path = Path(path)
    if path.is_dir() and not (path / "model.json").exists():
        stems = Checkpoints(path / "checkpoints")._stems()
        if stems:
            raise CheckpointError(f"{path} holds no finished model; to begin with the newest of its checkpoints, name "
                                  f"{stems[-1]}.")
    stem = path / "model" if path.is_dir() else path.with_suffix("") if path.suffix in SUFFIXES else path
    tensors, _ = load_tensors(stem, "the weights of a model")
    own = {name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")}
    return own or tensors, stem


def random_state(device: torch.device) -> dict[str, Tensor]:
    """States of torch's default generators that training draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    """Put `random_state` back."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


class Checkpoints:
    """The last `keep` checkpoints in a folder, named by stage and step, and each stage's best by a metric.

    Files are written by a thread of their own from a copy of the tensors, so that training does not wait; they are
    written whole or not at all, and an old one goes only when a newer one is safe on the disk.

    Args:
        folder: where they lie; made when first written to.
        keep: how many to keep.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep
        self._pool: ThreadPoolExecutor | None = None
        self._writing: Future[Path] | None = None

    def _stems(self) -> list[Path]:
        return sorted(p.with_suffix("") for p in self.folder.glob("stage*-*.json"))

    def any(self) -> bool:
        """Whether there are checkpoints, whole or damaged."""
        return bool(self._stems())

    def path(self, stage: int, step: int) -> Path:
        """Where the checkpoint after `step` steps of stage number `stage` lies, without its suffix."""
        return self.folder / f"stage{stage + 1}-{step:08d}"

    def save(self, stage: int, step: int, tensors: dict[str, Tensor], meta: dict[str, Any], *, best: str | None = None) -> None:
        """Begin to write a checkpoint after `step` steps of stage number `stage`; the tensors are copied first.

        With `best` it is kept under that name, too.

        Raises:
            RunFolderError: the one before could not be written.
        """
        self.wait()
        # copies also because safetensors refuses tied weights
        copies = {name: t.detach().to("cpu", copy=True) for name, t in tensors.items()}
        meta = {"format": FORMAT, "stage": stage, "step": step, **meta}
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "vaefast-checkpoint")
        self._writing = self._pool.submit(self._write, self.path(stage, step), copies, meta, best)

    def _write(self, stem: Path, tensors: dict[str, Tensor], meta: dict[str, Any], best: str | None) -> Path:
        save_tensors(stem, tensors, meta)
        if best:
            self._keep(stem, best)
        for old in self._stems()[: -self.keep]:
            for suffix in reversed(SUFFIXES):
                old.with_suffix(suffix).unlink(missing_ok=True)
        return stem

    def keep_newest(self, name: str) -> Path | None:
        """Keep the newest checkpoint as `name`, too, whatever is saved later; its stem, None where there is none yet.

        Raises:
            RunFolderError: it could not be written.
        """
        self.wait()
        stems = self._stems()
        if not stems:
            return None
        self._keep(stems[-1], name)
        return stems[-1]

    def drop(self, name: str) -> None:
        """Delete what `keep_newest` kept, if it is there."""
        for suffix in reversed(SUFFIXES):
            (self.folder / f"{name}{suffix}").unlink(missing_ok=True)

    def _keep(self, stem: Path, name: str) -> None:
        for suffix in SUFFIXES:  # the JSON, which vouches for the tensors, last
            _link(stem.with_suffix(suffix), self.folder / f"{name}{suffix}")

    def wait(self) -> None:
        """Wait until what was saved is on the disk. Raises `RunFolderError` if it could not be written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """`wait`, and end the thread."""
        try:
            self.wait()
        finally:
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None

    def clean(self) -> None:
        """Delete what a killed process left half-written."""
        remove_leftovers(self.folder)

    def newest(self) -> tuple[dict[str, Tensor], dict[str, Any], Path, list[str]] | None:
        """Tensors, meta and stem of the newest whole checkpoint, and what was wrong with newer ones; None if none.

        Raises:
            CheckpointError: there are checkpoints, and all of them are damaged or of another format.
        """
        problems: list[str] = []
        for stem in reversed(self._stems()):
            try:
                tensors, meta = load_tensors(stem, "a checkpoint")
                if meta.get("format") != FORMAT:
                    raise CheckpointError(f"{stem} is in format {meta.get('format')!r}; this version of vaefast reads {FORMAT}.")
                return tensors, meta, stem, problems
            except CheckpointError as error:
                problems.append(str(error))
        if problems:
            raise CheckpointError("no checkpoint of this run can be read: " + " ".join(problems))
        return None


def _link(source: Path, target: Path) -> None:
    """`target` becomes the file `source` in one moment; a second name for it where the disk has such, else a copy."""
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        try:
            shutil.copyfile(source, temporary)
        except OSError as error:
            raise RunFolderError(f"cannot write {target}: {error.strerror or error}; free some space.") from error
    os.replace(temporary, target)
