"""A run's folder: config.json, metrics.jsonl, checkpoints/, and what the experiments put beside them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vaefast.errors import CheckpointError, RunFolderError
from vaefast.files import remove_leftovers, write_atomically
from vaefast.training.checkpoint import Checkpoints
from vaefast.training.settings import completed
from vaefast.training.storage import read_json, write_json

try:
    import fcntl
except ImportError:  # Windows has no flock; two runs in one folder are then not noticed
    fcntl = None  # type: ignore[assignment]

VOLATILE = ("command", "data_root", "versions", "device", "trainer", "workers")
"""Settings that may differ between a run and its resumption."""


BUDGET = ("epochs", "steps")


def _compared(config: dict[str, Any]) -> list[str]:
    return [key for key in sorted(config) if key not in VOLATILE]


def _longer(before: Any, now: Any) -> list[int]:
    """Numbers of the stages that have more epochs, or more steps, than before."""
    if not isinstance(before, list) or not isinstance(now, list) or len(before) != len(now):
        return []
    return [i for i, (a, b) in enumerate(zip(before, now))
            if any(a[n] is not None and b.get(n) is not None and b[n] > a[n] for n in BUDGET)]


def _differences(name: str, before: Any, now: Any) -> list[str]:
    """What differs, a line a setting: "lr was 0.001, is now 0.1"; of several stages it says which."""
    if before == now:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        return [line for key in sorted({*before, *now}) for line in _differences(key, before.get(key), now.get(key))]
    if name == "stages" and isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        lines = [(i, line) for i, pair in enumerate(zip(before, now), start=1) for line in _differences("stage", *pair)]
        return [f"in stage {i} {line}" if len(before) > 1 else line for i, line in lines]
    return [f"{name} was {before!r}, is now {now!r}"]


class RunFolder:
    """Open with `create` or `open`."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path, self.config = path, config
        self.checkpoints = Checkpoints(path / "checkpoints")
        self.metrics_path = path / "metrics.jsonl"
        self._pending = ""

    @classmethod
    def create(cls, path: str | os.PathLike[str], config: dict[str, Any]) -> RunFolder:
        """Make the folder and write its config.json.

        Raises:
            RunFolderError: the folder already holds something, or cannot be written.
        """
        path = Path(path)
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"{path} is a file; a run needs a folder of its own. Choose another out.")
        if (path / "config.json").exists():
            raise RunFolderError(f"{path} already holds a run; go on with it (resume=True), or choose another out.")
        try:
            path.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path)
            if any(path.iterdir()):
                raise RunFolderError(f"{path} is not empty and holds no run; choose another out.")
        except OSError as error:
            raise RunFolderError(f"cannot use {path} as a run folder: {error.strerror or error}; choose an out "
                                 "that you may write to.") from error
        write_json(path / "config.json", config)
        return cls(path, config)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """A folder that `create` made. Raises `RunFolderError` if there is none."""
        path = Path(path)
        if not (path / "config.json").is_file():
            if not path.exists():
                raise RunFolderError(f"{path} does not exist; name a folder that vaefast train made.")
            raise RunFolderError(f"{path} holds no run (no config.json in it); name a folder that vaefast train made.")
        try:
            config = read_json(path / "config.json", "a run's settings")
        except CheckpointError as error:
            raise RunFolderError(str(error)) from None
        return cls(path, config)

    def require(self, config: dict[str, Any], defaults: Mapping[str, Any] | None = None,
                counted: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> list[str]:
        """Raise `RunFolderError` naming the settings in which `config` differs from this run's, but for a longer budget.

        The stage at work and those after it may get more epochs or steps, which config.json has from then on; what is longer is
        returned, in words.

        Settings that this run knows nothing of were added by a later version: they are no difference. Arguments of the model that
        it knows nothing of had their `defaults`, and settings of a stage theirs. Of the model's arguments those count that
        `counted` leaves of both.
        """
        mine, config = self._comparable(config, defaults or {}, counted)
        longer, told = _longer(mine.get("stages"), config.get("stages")), []
        for stage in longer:
            budgets = [[{name: s["stages"][stage][name] for name in BUDGET}] for s in (mine, config)]
            told += [f"{line} (stage {stage + 1})" for line in _differences("stages", *budgets)]
            mine["stages"][stage] = {**mine["stages"][stage], **{name: config["stages"][stage][name] for name in BUDGET}}
        self._refuse([line for key in _compared(mine) for line in _differences(key, mine[key], config.get(key))])
        at_work = self.checkpoints.stage_at_work()
        for stage in longer:
            if at_work == len(mine["stages"]):
                raise RunFolderError(f"{self.path} was finished by an earlier version, whose last checkpoint keeps no optimizer; "
                                     "it cannot be made longer. To begin with its weights, start a run of its own with "
                                     f"start_from={str(self.path)!r}.")
            if stage < at_work:
                raise RunFolderError(f"stage {stage + 1} of {self.path} has ended, and stage {at_work + 1} was trained on what "
                                     f"it left; only stage {at_work + 1} and later ones can be longer. Choose another out.")
        if longer:
            self.config = {**self.config, "stages": mine["stages"]}
            write_json(self.path / "config.json", self.config)
        return told

    def require_same(self, entries: dict[str, Any], defaults: Mapping[str, Any],
                     counted: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Raise `RunFolderError` as `require` does, where some `entries` of a config are other than this run's, budgets too."""
        mine, entries = self._comparable(entries, defaults, counted)
        self._refuse([line for key in _compared(mine) if key in entries for line in _differences(key, mine[key], entries[key])])

    def _comparable(self, config: dict[str, Any], defaults: Mapping[str, Any],
                    counted: Callable[[dict[str, Any]], dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
        """This run's config and another, without what is no difference."""
        config, defaults = json.loads(json.dumps([config, defaults], default=str))  # as the file holds it: tuples are lists
        mine = dict(self.config)
        if isinstance(mine.get("model"), dict):
            mine["model"] = {**{k: v for k, v in defaults.items() if k in config.get("model", {})}, **mine["model"]}
            models = (mine["model"], config.get("model", {}))
            left = [name for model in models for name in model.keys() - counted(model).keys()]
            mine["model"], config["model"] = ({k: v for k, v in model.items() if k not in left} for model in models)
        if isinstance(mine.get("stages"), list):
            mine["stages"] = [completed(stage) for stage in mine["stages"]]
        return mine, config

    def _refuse(self, differing: list[str]) -> None:
        if differing:
            more = f"; and {len(differing) - 5} more" if len(differing) > 5 else ""
            raise RunFolderError(f"{self.path} was started with other settings ({'; '.join(differing[:5])}{more}); resume with "
                                 "the same, or choose another out.")

    def discard_unused(self) -> None:
        """Take the folder away again, or what `create` wrote into it, if nothing of a run is there but its settings."""
        if {path.name for path in self.path.iterdir()} - {"config.json", ".lock"}:
            return
        for name in ("config.json", ".lock"):
            (self.path / name).unlink(missing_ok=True)
        self.path.rmdir()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """This process alone trains in the folder, inside. The lock goes with the process, however it ends.

        Raises:
            RunFolderError: another process trains in it.
        """
        path = self.path / ".lock"
        try:
            file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise RunFolderError(f"cannot write {path}: {error.strerror or error}; choose a folder that you may write "
                                 "to.") from error
        with file:
            try:
                if fcntl:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise RunFolderError(f"{self.path} is being trained in by another process ({file.read().strip() or 'unknown'}); "
                                     "wait for it, or stop it first.") from None
            except OSError:
                pass  # a file system without locks
            try:  # who holds it is for the message alone; a full disk must not keep a run from going on
                os.truncate(file.fileno(), 0)
                os.write(file.fileno(), f"process {os.getpid()} on {platform.node()}".encode())
            except OSError:
                pass
            self.checkpoints.clean()
            remove_leftovers(self.path)
            yield

    def append_metrics(self, record: dict[str, Any]) -> None:
        """One line more in metrics.jsonl. Lines that could not be written are kept, and written with a later one.

        Raises:
            RunFolderError: it could not be written now.
        """
        self._pending += json.dumps(record) + "\n"
        self.flush_metrics()

    def flush_metrics(self) -> None:
        """Write the lines that are waiting; `RunFolderError` if they cannot be."""
        if not self._pending:
            return
        try:
            size = self.metrics_path.stat().st_size if self.metrics_path.exists() else 0
            with open(self.metrics_path, "a", encoding="utf-8") as file:
                try:
                    file.write(self._pending)
                    file.flush()
                except OSError:
                    os.truncate(self.metrics_path, size)  # no half a line; the same lines come again later
                    raise
        except OSError as error:
            raise RunFolderError(f"cannot write {self.metrics_path}: {error.strerror or error}.") from error
        self._pending = ""

    def read_metrics(self) -> list[dict[str, Any]]:
        """Records of metrics.jsonl; a last line that a crash cut short is left out."""
        if not self.metrics_path.exists():
            return []
        records = []
        for line in self.metrics_path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return records

    def rewind_metrics(self, steps: dict[str, float]) -> list[dict[str, Any]]:
        """Keep each stage's records up to the step given for it, none without; a resumed run writes the rest again."""
        kept = [r for r in self.read_metrics() if r["step"] <= steps.get(r["stage"], -1)]
        write_atomically(self.metrics_path, "".join(json.dumps(r) + "\n" for r in kept).encode())
        return kept
