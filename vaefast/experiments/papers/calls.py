"""calls.jsonl: a line for each call that came to its end, with the machine it ran on and the time it took."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import torch

from vaefast.api.base import versions
from vaefast.errors import ArgumentError
from vaefast.experiments.papers.cell import Study


def wanted_parts(part: str, parts: Sequence[str], study: Study) -> tuple[str, ...]:
    """`part`, or all of `parts` where it is "all".

    Raises:
        ArgumentError: no such part, or trials below 1.
    """
    if part not in (*parts, "all"):
        raise ArgumentError(f"part is {part!r}; expected one of {', '.join(parts)} or all.")
    if study.trials < 1:
        raise ArgumentError(f"trials is {study.trials}; expected 1 or more.")
    return tuple(parts) if part == "all" else (part,)


def check_models(models: Sequence[str] | None, known: Sequence[str]) -> None:
    """Raise ArgumentError for a row that there is none of."""
    for name in models or ():
        if name not in known:
            raise ArgumentError(f"models names {name!r}; expected some of {', '.join(sorted(known))}.")


def record_call(study: Study, part: str, data_names: Sequence[str], seconds: float) -> None:
    """Add a line to calls.jsonl in the study's folder."""
    call = {"command": study.command, "part": part, "data": list(data_names), "preset": study.preset, "trials": study.trials,
            "seconds": round(seconds, 1), "device": study.device, "threads": torch.get_num_threads(),
            "cores": os.cpu_count(), "versions": versions()}
    with open(study.out / "calls.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(call) + "\n")


def read_calls(study: Study) -> list[dict[str, Any]]:
    """The lines of calls.jsonl; none where there is no such file."""
    path = study.out / "calls.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
