"""Figures 3 and 4: the Sequential VAE step by step, and infusion, where true pixels take the place of codes, beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vaefast.experiments.papers.cells import Task
from vaefast.experiments.papers.plan import Row
from vaefast.experiments.papers.tables import spread, write_table
from vaefast.experiments.pictures import figures
from vaefast.experiments.pictures.beside_real import save_beside_real
from vaefast.experiments.pictures.grids import read_png, save_png, side_by_side
from vaefast.experiments.pictures.report import write_report
from vaefast.experiments.scoring.registry import entry
from vaefast.experiments.scoring.steps import ROWS, by_step, write_steps

QUANTITIES = (("step_error", "squared error a pixel of reconstructions"), ("step_sharpness", "sharpness of samples"))


def columns(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """Keys and headings: every quantity of every row's model."""
    return tuple((f"{row.name}_{key}", f"{row.title}: {word}") for row in rows for key, word in QUANTITIES)


def run(task: Task, models: Sequence[str] | None) -> None:
    """Train and score the rows; the table by step, columns of pictures, and curves."""
    def score(model: Any, path: Any, seed: int) -> dict[str, Any]:
        scores = by_step(write_steps(model, task.test.images, path, split="test", seed=seed))
        write_report(path)
        return {**scores, "steps": model.num_steps, "seed": seed}

    task.train_rows(task.part.rows, models, score=score)
    record = table(task)
    write_table(record, task.out, task.part.columns)
    _draw(task, record)


def table(task: Task) -> dict[str, Any]:
    """A row for each step, over all trials that are finished, and one for the data."""
    done = {row.name: [scores for _, scores in task.evaluations(row)] for row in task.part.rows}
    steps = max((scores["steps"] for trials in done.values() for scores in trials), default=0)
    rows = [{"name": step, "title": title,
             **{f"{name}_{key}": spread([s[entry(key, step)] for s in trials if entry(key, step) in s])
                for name, trials in done.items() for key, _ in QUANTITIES}}
            for step, title in (*((f"step{t}", f"step {t}") for t in range(1, steps + 1)), ("data", "the data's own"))]
    minutes = {name: spread([s["minutes/stage1"] for s in trials]) for name, trials in done.items()}
    return {"table": task.name, "data": task.data, "preset": task.study.preset, "trials": max(map(len, done.values())),
            "minutes": minutes, "rows": rows}


def series(record: dict[str, Any], name: str, key: str) -> list[float]:
    """Means by step of a row's quantity; none where it was not measured."""
    values = [row[f"{name}_{key}"] for row in record["rows"] if row["name"] != "data"]
    return [value["mean"] for value in values if value]


def _draw(task: Task, record: dict[str, Any]) -> None:
    """PART.png: error and sharpness by step; PART_samples.png, PART_reconstructions.png: a column for each step."""
    done = task.first_models()
    figure, axes = figures.panels(2)
    for colour, (row, _) in zip(figures.COLOURS, done, strict=False):
        for panel, (key, _) in zip(axes, QUANTITIES, strict=True):
            values = series(record, row.name, key)
            panel.plot(range(1, len(values) + 1), values, marker="o", color=colour, label=row.title)
        if of_data := record["rows"][-1][f"{row.name}_step_sharpness"]:
            axes[1].axhline(of_data["mean"], color=figures.GREY, linestyle="--")
    axes[0].set_ylim(bottom=0)
    axes[1].set_yscale("log")
    for panel, (_, word) in zip(axes, QUANTITIES, strict=True):
        panel.xaxis.get_major_locator().set_params(integer=True)
        figures.label(panel, word + (" (dashed: the data)" if panel is axes[1] else ", test images"), "step t",
                      "mean squared error" if panel is axes[0] else "variance of the Laplacian")
    figures.save_figure(figure, task.out)
    if done:
        samples, reconstructed = ({row.title: read_png(path / f"{kind}_steps.png") for row, path in done}
                                  for kind in ("samples", "reconstructions"))
        steps = len(record["rows"]) - 1  # the last row is the data's
        save_beside_real(task.out.with_name(f"{task.name}_samples.png"), samples, task.train.images, (ROWS, steps), cols=2)
        save_png(task.out.with_name(f"{task.name}_reconstructions.png"),
                 side_by_side(list(reconstructed.values()), list(reconstructed), cols=2))
