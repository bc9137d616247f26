"""Jobs of a sweep on Ray Tune: on this machine, for which Ray is started and stopped, or on a cluster that is there.

Ray places the jobs, starts those again whose worker died, and decides on early stopping. What has been done is in the jobs' own
folders, and nothing is ever read back from Ray's: its files are deleted at the end.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from vaefast.errors import ArgumentError, DeviceError
from vaefast.experiments.sweep.job import Job, ended, milestones_of, run_job, stop

# read by Ray when it is imported, and by its workers
for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_CHDIR_TO_TRIAL_DIR": "0", "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1", "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}.items():
    os.environ.setdefault(_name, _value)

try:
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler, TrialScheduler
except ImportError:
    raise ArgumentError("Ray Tune is not installed, on which sweeps run; pip install 'vaefast[sweep]'.") from None

RETRIES = 3
"""Times that a job is started again after its worker died, or failed."""
HALVING = 3
"""Of the jobs that get to a milestone, every third-best goes on."""
MILESTONES = (1 / 9, 1 / 3)
"""Shares of a training after which early stopping compares."""
_STORE = 100 * 2**20  # bytes; next to nothing passes through Ray
_SOCKET_PATH = 107 - len("/session_2000-01-01_00-00-00_000000_0000000/sockets/plasma_store.12345")  # a limit of Unix
_WHOLE = round(1 / MILESTONES[0]) * HALVING**2  # the scheduler's clock, whole at each milestone


Changed = Callable[[str, Path, str], None]


@dataclass(frozen=True)
class Machines:
    """Where jobs run, and how much of it each of them gets.

    Args:
        address: of a Ray cluster ("auto" for the one that this machine belongs to); None: this machine alone.
        cpus: cores a job.
        gpus: GPUs a job, such as 0.25; None: one where there are GPUs.
        at_once: most jobs at the same time; None: as many as there is room for.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float | None = None
    at_once: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.cpus < math.inf:
            raise ArgumentError(f"cpus is {self.cpus!r}; expected a number above 0.")
        if self.gpus is not None and not 0 <= self.gpus < math.inf:
            raise ArgumentError(f"gpus is {self.gpus!r}; expected 0 or more, such as 0.25.")
        if self.at_once is not None and self.at_once < 1:
            raise ArgumentError(f"at_once is {self.at_once!r}; expected 1 or more.")


def run_jobs(jobs: Sequence[Job], machines: Machines, folder: Path, *, early_stop: bool = False,
             changed: Changed = lambda what, path, why: None) -> dict[str, str]:
    """Do what is left of the jobs.

    Args:
        jobs: those that have ended are left alone.
        folder: Ray's own files lie in it while it works; on a cluster it must be on a disk that all machines share.
        early_stop: stop jobs that are not among the best third at a milestone (ASHA, Li et al. 2020).
        changed: called with "started", "ended", "failed" (it is started again) or "given up", the job's folder, and why.

    Returns:
        What was said by jobs that failed more than `RETRIES` times, by the names of their folders.
    """
    left = [job for job in jobs if not ended(Path(job["out"]))]
    if not left:
        return {}
    scheduler = _halving(jobs) if early_stop else None
    with _ray(machines, folder) as storage:
        gpus = machines.gpus
        if gpus is None:
            gpus = 1.0 if ray.cluster_resources().get("GPU") and left[0]["train"]["device"] in ("auto", "cuda") else 0.0
        _require_room(machines.cpus, gpus)
        space = {"job": tune.grid_search(left), "gpus": gpus, "cpus": machines.cpus}
        told = _Told(changed)
        tuner = tune.Tuner(
            tune.with_resources(_work, {"cpu": machines.cpus, "gpu": gpus}), param_space=space,
            tune_config=tune.TuneConfig(scheduler=scheduler, max_concurrent_trials=machines.at_once,
                                        trial_name_creator=_trial_name, trial_dirname_creator=_trial_name),
            run_config=tune.RunConfig(name="trials", storage_path=str(storage), verbose=0, callbacks=[told],
                                      failure_config=tune.FailureConfig(max_failures=RETRIES)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray's, of its own defaults
            tuner.fit()
    return told.failed


def _work(config: dict[str, Any]) -> None:
    """In a worker: one job."""
    from vaefast.training.allocator import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(max(1, int(config["cpus"])))
    job = config["job"]
    if job["train"]["device"] == "auto" and not config["gpus"]:
        device = "cpu"  # whatever else the machine has belongs to others
        job = {**job, "train": {**job["train"], "device": device}, "evaluate": {**job["evaluate"], "device": device}}
    run_job(job, lambda share, score: tune.report({"clock": round(share * _WHOLE), "share": share, "score": score}))
    tune.report({"clock": _WHOLE})


def _title(job: Job) -> str:
    """What a job's trial is called: its folder's name, and the one above for repeats."""
    path = Path(job["out"])
    return path.name if path.name.startswith("setting") else f"{path.parent.name}-{path.name}"


def _trial_name(trial: Any) -> str:
    return _title(trial.config["job"])


class _Told(tune.Callback):
    """Passes on how jobs are, and keeps what was said by those that were given up."""

    def __init__(self, changed: Changed) -> None:
        self.changed = changed
        self.failed: dict[str, str] = {}

    def _tell(self, what: str, trial: Any, why: str = "") -> None:
        self.changed(what, Path(trial.config["job"]["out"]), why)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._tell("started", trial)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._tell("failed", trial, _why(trial))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._tell("ended", trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._tell("given up", trial, _why(trial))
        if not ended(Path(trial.config["job"]["out"])):
            self.failed[_trial_name(trial)] = _why(trial)


def _why(trial: Any) -> str:
    """The first line that says why a job failed last; Ray writes it down as text, too."""
    try:
        text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):
        return "unknown"
    lines = text[text.rfind("Failure #"):].strip().splitlines()
    raised = [line for line in lines[1:] if line and not line[0].isspace()]  # not the frames of the traceback
    died = [line for line in raised if "actor died" in line]
    return (died or raised or ["unknown"])[0 if died else -1]


class _Halving(ASHAScheduler):
    """ASHA that writes down whom it stops."""

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        action = super().on_trial_result(controller, trial, result)
        if action == TrialScheduler.STOP and result.get("clock", _WHOLE) < _WHOLE and hasattr(trial, "config"):
            stop(Path(trial.config["job"]["out"]), result["share"], result["score"])
        return action


def _halving(jobs: Sequence[Job]) -> _Halving:
    """The scheduler, which knows what jobs that have ended had on their way."""
    scheduler = _Halving(time_attr="clock", metric="score", mode="min", max_t=_WHOLE, grace_period=round(MILESTONES[0] * _WHOLE),
                         reduction_factor=HALVING)
    controller: Any = None  # of which ASHA asks nothing
    for job in jobs:
        path = Path(job["out"])
        if ended(path):
            earlier: Any = SimpleNamespace(trial_id=_title(job))
            scheduler.on_trial_add(controller, earlier)
            for share, score in milestones_of(path, job["metric"]):
                scheduler.on_trial_result(controller, earlier, {"clock": round(share * _WHOLE), "score": score})
    return scheduler


@contextmanager
def _ray(machines: Machines, folder: Path) -> Iterator[Path]:
    """Ray, inside; gives the folder for its files. One that was started here is stopped, and its files are deleted."""
    ray_folder = folder / ".ray"
    if ray.is_initialized():
        raise ArgumentError("Ray is in use by this process already; run the sweep in one of its own.")
    # an absolute path that is too long for a socket cannot hold Ray's session
    inside = len(str(ray_folder.resolve())) <= _SOCKET_PATH
    session = ray_folder.resolve() if inside else Path(tempfile.mkdtemp(prefix="vaefast-ray-"))
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if machines.address is None:
            cpus = os.cpu_count() or 1
            if machines.at_once is not None:
                cpus = max(cpus, math.ceil(machines.at_once * machines.cpus))
            ray.init(address="local", num_cpus=cpus, object_store_memory=_STORE, _temp_dir=str(session), **options)
        else:
            try:
                ray.init(address=machines.address, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise DeviceError(f"no Ray cluster answers at {machines.address} ({error}); start one (ray start --head), or "
                                  "leave --address out to use this machine.") from None
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told of in a sentence instead
        yield ray_folder.resolve()
    finally:
        ray.shutdown()
        shutil.rmtree(ray_folder, ignore_errors=True)
        if not inside:
            shutil.rmtree(session, ignore_errors=True)


def _require_room(cpus: float, gpus: float) -> None:
    """A job that fits on no machine would wait for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        most = ", ".join(f"{n.get('CPU', 0):g} cores and {n.get('GPU', 0):g} GPUs" for n in nodes)
        raise DeviceError(f"a trial was to get {cpus:g} cores and {gpus:g} GPUs; the machines have {most}. Ask for less "
                          "(cpus, gpus).")
