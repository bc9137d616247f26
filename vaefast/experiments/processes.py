"""Several trainings at the same time, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vaefast.errors import TrainingError, VaefastError
from vaefast.experiments.request import Request
from vaefast.experiments.run import train

INTERRUPTED = 130


def train_in_processes(runs: Sequence[Request], at_once: int) -> None:
    """`train` each of `runs`, `at_once` of them at a time; their lines carry the folder's name.

    The processes share this one's CPU threads. Ctrl-C and SIGTERM are passed on: every run saves, then this raises.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM.
        TrainingError: a run failed; the others were trained to their ends.
    """
    waiting, failed = list(runs), []
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // at_once))}
    ended = threading.Condition()
    running: dict[str, subprocess.Popen[str]] = {}

    def follow(name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"{name}: {line}", end="", flush=True)
        process.wait()
        with ended:
            ended.notify()

    with _passed_on(running):
        while waiting or running:
            while waiting and len(running) < at_once:
                run = waiting.pop(0)
                name = Path(run.out).name
                # a session of its own: Ctrl-C reaches it through this process alone, and so once
                process = running[name] = subprocess.Popen(
                    [sys.executable, "-m", "vaefast.experiments.processes", json.dumps(run.as_dict())], text=True,
                    env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
                threading.Thread(target=follow, args=(name, process), daemon=True).start()
            with ended:
                ended.wait(timeout=1.0)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                if running.pop(name).returncode:
                    failed.append(name)
    if failed:
        raise TrainingError(f"{', '.join(failed)} failed (what they said is above); the others are done. Go on with resume=True.")


@contextmanager
def _passed_on(running: dict[str, subprocess.Popen[str]]) -> Iterator[None]:
    """SIGINT and SIGTERM stop the running processes, which save, and then raise KeyboardInterrupt here."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    previous = {n: signal.signal(n, interrupt) for n in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        yield
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _main() -> int:
    from vaefast.training.allocator import keep_freed_memory

    keep_freed_memory()
    try:
        train(Request(**json.loads(sys.argv[1])))
    except VaefastError as error:
        print(f"vaefast: {error}", flush=True)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(_main())
