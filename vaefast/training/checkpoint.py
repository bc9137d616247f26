"""Everything a run needs to go on exactly where it was."""

from __future__ import annotations

import os
import re
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
LAST_GOOD = "last-good"
"""What the checkpoint from before a trouble is kept as."""
_NAME = re.compile(r"stage(\d+)-(\d+)")
SUFFIXES = (".safetensors", ".json")


def load_weights(module: nn.Module, tensors: dict[str, Tensor], origin: Path) -> None:
    """Copy `tensors` into `module`; `CheckpointError` naming the differences if they belong to another model."""
    for name, part in module.named_modules():
        if hasattr(part, "make_room"):  # whose size is what was saved
            part.make_room({key.removeprefix(f"{name}."): value for key, value in tensors.items()})
    state, tensors = module.state_dict(), dict(tensors)
    for name, part in module.named_modules():
        if hasattr(part, "read_older"):  # of what earlier versions saved
            part.read_older(tensors, f"{name}." if name else "")
    problems = [f"{name} is missing" for name in state if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in state]
    problems += [f"{name} has shape {tuple(tensors[name].shape)} instead of {tuple(state[name].shape)}"
                 for name in state if name in tensors and tensors[name].shape != state[name].shape]
    problems += [f"{name} has dtype {tensors[name].dtype} instead of {state[name].dtype}".replace("torch.", "")
                 for name in state if name in tensors and _sort(tensors[name]) != _sort(state[name])]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(f"{origin} belongs to another model: {'; '.join(problems[:3])}{more}.")
    for parent in module.modules():
        for name, buffer in parent._buffers.items():
            if buffer is not None and any(step == 0 and n > 1 for step, n in zip(buffer.stride(), buffer.shape)):
                parent._buffers[name] = buffer.clone()  # an expanded one cannot be written to
    module.load_state_dict(tensors)


def _sort(x: Tensor) -> str:
    """Of numbers: floats may be saved in another precision than they are loaded in, but not as whole or complex numbers."""
    return "float" if x.is_floating_point() else "complex" if x.is_complex() else "whole"


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
    tensors, _ = load_checkpoint(stem, "the weights of a model")
    of_model = {name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")}
    return of_model or tensors, stem


def load_checkpoint(stem: Path, what: str = "a checkpoint") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and meta of a checkpoint, which may leave those weights to the model in its run's folder that are the same there.

    Raises:
        CheckpointError: it, or the model that it needs, is not whole.
    """
    tensors, meta = load_tensors(stem, what)
    if "model" in meta:
        model = stem.parent.parent / "model"
        held, vouched = load_tensors(model, "the weights of a model")
        if vouched["sha256"] != meta["model"]:
            raise CheckpointError(f"{stem} needs the model that it was saved beside; {model} is another one.")
        tensors = {**{f"model/{name}": t for name, t in held.items()}, **tensors}
    return tensors, meta


def random_state(device: torch.device) -> dict[str, Tensor]:
    """States of torch's default generators that training draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    """Put `random_state` back."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


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
        """Of all checkpoints, the oldest first: by their numbers, as "stage10" is after "stage9"."""
        named = [(p.with_suffix(""), _NAME.fullmatch(p.stem)) for p in self.folder.glob("stage*-*.json")]
        numbered = [(int(match[1]), int(match[2]), stem) for stem, match in named if match]
        return [stem for _, _, stem in sorted(numbered)]

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
        copies = {name: t.detach().to("cpu", copy=True) for name, t in tensors.items()}
        meta = {"format": FORMAT, "stage": stage, "step": step, **meta}
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "vaefast-checkpoint")
        self._writing = self._pool.submit(self._write, self.path(stage, step), copies, meta, best)

    def _write(self, stem: Path, tensors: dict[str, Tensor], meta: dict[str, Any], best: str | None) -> Path:
        save_tensors(stem, tensors, meta)
        if best:
            self._keep(stem, best)
        self._drop_older(self.keep)
        return stem

    def _drop_older(self, keep: int) -> None:
        for old in self._stems()[:-keep]:
            for suffix in reversed(SUFFIXES):
                old.with_suffix(suffix).unlink(missing_ok=True)

    def finish(self) -> None:
        """After the run, whose model is saved in its folder: keep one checkpoint, less those weights that the model holds.

        The run can go on from it for more epochs.

        Raises:
            RunFolderError, CheckpointError: it could not be written, or read; the checkpoints stay as they were.
        """
        self.wait()
        if not self._stems():
            return
        stem = self._stems()[-1]
        tensors, meta = load_checkpoint(stem)
        held, vouched = load_tensors(self.folder.parent / "model", "the weights of a model")
        same = {name for name, t in held.items() if torch.equal(t, tensors.get(f"model/{name}", t.new_empty(0)))}
        kept = {n: t for n, t in tensors.items() if not (n.startswith("model/") and n.removeprefix("model/") in same)}
        save_tensors(stem, kept, {**meta, "model": vouched["sha256"]})
        self._drop_older(1)

    def stage_at_work(self) -> int:
        """Number of the stage of the newest checkpoint, from 0; 0 where there is none."""
        stems = self._stems()
        return int(stems[-1].name.removeprefix("stage").partition("-")[0]) - 1 if stems else 0

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
                tensors, meta = load_checkpoint(stem)
                if meta.get("format") != FORMAT:
                    raise CheckpointError(f"{stem} is in format {meta.get('format')!r}; this version of vaefast reads {FORMAT}.")
                return tensors, meta, stem, problems
            except CheckpointError as error:
                problems.append(str(error))
        if problems:
            raise CheckpointError("no checkpoint of this run can be read: " + " ".join(problems) + self._way_out())
        return None

    def _way_out(self) -> str:
        """What else lies here that is whole, and how to begin with it."""
        for path in sorted(self.folder.glob("*.json"), key=lambda p: (p.stem != LAST_GOOD, p.stem)):
            stem = path.with_suffix("")
            if _NAME.fullmatch(stem.name):
                continue
            try:
                load_checkpoint(stem)
            except CheckpointError:
                continue
            return f" But {stem} is whole: to begin with its weights, start a run of its own with start_from={str(stem)!r}."
        return ""


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
