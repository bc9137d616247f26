"""`vaefast reproduce`: the parts of a paper on data sets, one by one, and a page with all that is there."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from vaefast.api.base import versions
from vaefast.data import ImageSet
from vaefast.errors import ArgumentError
from vaefast.experiments.papers import pictures
from vaefast.experiments.papers.cells import Task
from vaefast.experiments.papers.page import CALLS, about_data, write_page
from vaefast.experiments.papers.plan import Paper, Study, of_preset
from vaefast.experiments.papers.tables import table, write_table
from vaefast.experiments.theory.job import PRESETS
from vaefast.training.storage import write_json


def run(paper: Paper, part: str, data_names: Sequence[str] | None, study: Study, models: Sequence[str] | None = None) -> Path:
    """Run `part` of the paper ("all" of them, or one) on each data set; returns the report's path.

    What is there already from an earlier call is kept, so that a call that was cut off goes on, and parts and trials can be
    added one by one. calls.jsonl gets a line for each call that came to its end: what it was asked, and how long it took.

    Args:
        data_names: data sets; None for the part's own.
        study: folders, preset, trials.
        models: names of the rows to train (`paper.rows`); None for all, or the preset's.

    Raises:
        ArgumentError: no such part, preset or model, trials below 1, or images that a part's networks do not take.
        DataError: a data set cannot be read, or not scored.
    """
    for name in models or ():
        if name not in paper.rows:
            raise ArgumentError(f"models names {name!r}; expected some of {', '.join(sorted(paper.rows))}.")
    of_preset(dict.fromkeys(PRESETS), study.preset)
    if part not in (*paper.parts, "all"):
        raise ArgumentError(f"part is {part!r}; expected one of {', '.join(paper.parts)} or all.")
    if not 0 < study.share < math.inf:
        raise ArgumentError(f"share is {study.share:g}; expected a number above 0.")
    if study.trials < 1:
        raise ArgumentError(f"trials is {study.trials}; expected 1 or more.")
    wanted, began = tuple(paper.parts) if part == "all" else (part,), time.monotonic()
    names = tuple(data_names or (paper.parts[part].data if part != "all" else ()) or paper.data)
    for name in names:
        sets: dict[str, ImageSet] = {}
        for task in (Task(paper, study, one, name, sets) for one in wanted if not paper.parts[one].once):
            if part == "all" and not task.part.suits(task):
                continue
            study.say(f"--- {task.name} on {name}, preset {study.preset}")
            task.out.parent.mkdir(parents=True, exist_ok=True)
            if paper.about_data:
                write_json(task.out.with_name("data.json"), {"about": about_data(task.train, task.test),
                                                             "digest": task.train.digest})
            _do(task, models)
            write_page(paper, study)
    for one in wanted:
        if paper.parts[one].once:
            study.say(f"--- {one}, preset {study.preset}")
            _do(Task(paper, study, one, ""), models)
    call = {"command": study.command, "part": part, "data": list(names), "preset": study.preset, "share": study.share,
            "trials": study.trials, "seconds": round(time.monotonic() - began, 1), "device": study.device,
            "threads": torch.get_num_threads(), "cores": os.cpu_count(), "versions": versions()}
    with open(study.out / CALLS, "a", encoding="utf-8") as file:
        file.write(json.dumps(call) + "\n")
    return write_page(paper, study)


def _do(task: Task, models: Sequence[str] | None) -> None:
    """What a part is: its own `run`; or its rows trained and scored, their table, samples side by side and other figures."""
    part = task.part
    if part.run is not None:
        return part.run(task, models)
    for row in part.rows:
        task.train_rows([row], models)
        write_table(table(task), task.out, part.columns)
    pictures.samples(task.out.with_name(f"{task.name}.png"), task.first_models(), task.train.images)
    if part.draw is not None:
        part.draw(task)
