"""Figure 5: VAEs with PixelCNN decoders, with and without a regulariser: what their codes tell, and two ways to draw images."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaefast import data, metrics
from vaefast.experiments.papers.cells import Task, curve
from vaefast.experiments.papers.plan import Columns, Record, Row
from vaefast.experiments.papers.tables import printed, spread, write_table
from vaefast.experiments.papers.zhao.printed import LOGS
from vaefast.experiments.papers.zhao.protocol import PIXEL_ROWS, PRESETS, PixelBudget
from vaefast.experiments.pictures import figures
from vaefast.experiments.pictures.grids import image_grid, read_png, save_png, side_by_side
from vaefast.experiments.pictures.report import write_report
from vaefast.experiments.run import GRID
from vaefast.experiments.scoring.codes import aggregate, spread_over
from vaefast.experiments.scoring.draws import image_sampler, sample_images, to_uint8
from vaefast.experiments.scoring.registry import entry, name_of
from vaefast.experiments.scoring.scores import ImageScores
from vaefast.models.mode import evaluating
from vaefast.training.device import resolve_device

COLUMNS = (
    ("paper_information", "MI in the log"),
    ("paper_loss", "loss in the log"),
    ("information", "MI, nats"),
    ("ceiling", "its ceiling log N"),
    ("loss", "loss, nats a pixel"),
    ("loss_test", "of test images"),
    ("fd_ancestral", f"{name_of('fd_classifier')}, ancestral"),
    ("fd_chain", f"{name_of('fd_classifier')}, chain"),
    ("minutes", "minutes of training"),
)
LOG_ROWS = ("none", "elbo", "center")
LOG_COLUMNS = tuple((f"{name}_{key}{where}", f"{name}: {word}{here}") for name in LOG_ROWS
                    for key, word in (("information", "MI"), ("loss", "loss")) for where, here in (("_paper", ""), ("", " here")))
NEAR = 0.1
"""A record belongs to a line of the log if its batches are the line's to within this share."""
CHAINS = 8


def run(task: Task, models: Sequence[str] | None) -> None:
    """Train and score the rows; fig5.json, .csv, .md, the same of fig5_log, and the pictures."""
    budget = PRESETS[task.study.preset]
    train_and_score(task, budget.rows if models is None else models, budget.pixel, table, COLUMNS)
    write_table(log_table(task), task.out.with_name("fig5_log"), LOG_COLUMNS)
    _draw(task)


def train_and_score(task: Task, models: Sequence[str] | None, budget: PixelBudget, record: Callable[[Task], Record],
                    columns: Columns) -> None:
    """Train and score the part's rows, or those that `models` names, with the table anew after each."""
    train, test, study = task.train, task.test, task.study
    classifier = metrics.classifier_for(train, test_set=test, device=resolve_device(study.device), notice=study.say)
    scored = partial(score, budget=budget, train=train, test=test, classifier=classifier)
    for row in task.part.rows:
        task.train_rows([row], models, score=scored)
        write_table(record(task), task.out, columns)


@torch.no_grad()
def score(model: Any, path: Path, seed: int, *, budget: PixelBudget, train: data.ImageSet, test: data.ImageSet,
          classifier: metrics.FeatureClassifier) -> dict[str, Any]:
    """Mutual information, losses, and the Fréchet distance of ancestral and of chain samples to test images.

    Writes samples_chain.png (beside the run's samples_stage1.png, the ancestral ones) and chain_steps.png into `path`.
    """
    images = spread_over(train.images, budget.images)
    encoded = aggregate(model, images, seed)
    information = metrics.mutual_information(encoded.mean, encoded.std, z=encoded.codes, seed=seed)
    logged = [value for _, value in curve(path, "loss")]
    distance = ImageScores(test, ("classifier",), classifier=classifier, device=model.device)
    ancestral = sample_images(model, image_sampler(model, "prior"), budget.samples, seed=seed + 1)
    generator = torch.Generator(model.device).manual_seed(seed + 2)
    chain = to_uint8(model.chain(budget.samples, budget.chain, generator=generator))
    states = model.chain(CHAINS, budget.chain, keep="all", generator=generator).cpu()
    save_png(path / "samples_chain.png", image_grid(chain, GRID, GRID))
    save_png(path / "chain_steps.png", image_grid(states.transpose(0, 1).flatten(0, 1), CHAINS, len(states)))
    real = train.images[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:budget.samples]]
    write_report(path)
    return {**information.scores(), "mutual_information_images": information.n,
            "loss": statistics.fmean(logged[-max(1, len(logged) // 10):]) * _per_pixel(model),
            "loss_test": _loss(model, spread_over(test.images, budget.samples), seed),
            entry("fd_classifier", "ancestral"): distance(ancestral)["fd_classifier"],
            entry("fd_classifier", "chain"): distance(chain)["fd_classifier"],
            entry("fd_classifier", "test_vs_train"): distance(real)["fd_classifier"],
            "classifier/version": classifier.info["version"], "classifier/test_accuracy": classifier.info["test_accuracy"],
            "samples": budget.samples, "chain_steps": budget.chain, "seed": seed}


def _loss(model: Any, images: Tensor, seed: int) -> float:
    """The loss of these images, in nats a pixel, whatever the model is trained with."""
    generator = torch.Generator(model.device).manual_seed(seed)
    total = 0.0
    with evaluating(model):
        for batch in images.split(500):
            total += model.first.loss(batch.to(model.device), generator)["loss"].item() * len(batch)
    return total / len(images) * _per_pixel(model)


def _per_pixel(model: Any) -> float:
    """What turns the model's loss into nats a pixel."""
    return 1.0 if model.first.reduction == "mean" else 1 / torch.Size(model.image_shape).numel()


def table(task: Task) -> dict[str, Any]:
    """The rows over all trials that are finished, beside the ends of the authors' logs; and real images that were not trained
    on."""
    record = table_of(task, PIXEL_ROWS, COLUMNS, values_of)
    for row in record["rows"]:
        last = LOGS[row["name"]][-1] if row["name"] in LOGS else None
        row["paper_information"] = printed((last.information, None) if last else None)
        row["paper_loss"] = printed((last.loss, None) if last else None)
    return record


def table_of(task: Task, rows: Sequence[Row], columns: Columns, values: Callable[[dict[str, Any]], dict[str, float]]) -> Record:
    """Columns' `values` of a trial's scores, of the rows over all trials that are finished; and real images that were not trained
    on."""
    found: list[dict[str, Any]] = []
    trials, real = 0, None
    for row in rows:
        done = [values(scores) for _, scores in task.evaluations(row)]
        trials = max(trials, len(done))
        if done:
            found.append({"name": row.name, "title": row.title,
                          **{key: spread([v[key] for v in done]) for key, _ in columns if key in done[0]}})
            real = done[0]["fd_real"]
    if real is not None:
        found.append({"name": "real", "title": "as many training images", **{key: None for key, _ in columns},
                      "fd_ancestral": spread([real]), "fd_chain": spread([real])})
    return {"table": task.name, "data": task.data, "preset": task.study.preset, "trials": trials, "rows": found}


def values_of(scores: dict[str, Any]) -> dict[str, float]:
    """What columns have of a trial's scores."""
    keys = {"information": "mutual_information", "ceiling": "mutual_information_ceiling", "loss": "loss",
            "loss_test": "loss_test", "minutes": "minutes/stage1", "fd_real": entry("fd_classifier", "test_vs_train"),
            **{f"fd_{how}": entry("fd_classifier", how) for how in ("ancestral", "chain")}}
    return {column: float(scores[key]) for column, key in keys.items()}


def log_table(task: Task) -> dict[str, Any]:
    """The lines of the authors' logs, and what the first trial had after as many batches."""
    first = {row.name: path for row, path in task.first_models()}
    lines = sorted({line.batches for log in LOGS.values() for line in log})
    rows = []
    for batches in lines:
        row: dict[str, Any] = {"name": str(batches), "title": f"{batches:,} batches"}
        for name in LOG_ROWS:
            line = next((one for one in LOGS[name] if one.batches == batches), None)
            for key, term in (("information", "mutual_information"), ("loss", "loss")):
                row[f"{name}_{key}_paper"] = printed((getattr(line, key), None) if line else None)
                points = curve(first[name], term, "step") if name in first else ()
                near = [(abs(step - batches), value) for step, value in points if abs(step - batches) <= NEAR * batches]
                row[f"{name}_{key}"] = spread([min(near)[1]] if near else [])
        rows.append(row)
    return {"table": "fig5_log", "data": task.data, "preset": task.study.preset, "rows": rows}


def _draw(task: Task) -> None:
    """fig5.png: the curves; fig5_samples.png: ancestral and chain samples side by side; fig5_chains.png: chains step by step."""
    done = task.first_models()
    curves(task.out, [(row.name, row.title, path) for row, path in done if row.name in LOG_ROWS])
    if done:
        samples = panels(done)
        chains = {row.title: read_png(path / "chain_steps.png") for row, path in done}
        save_png(task.out.with_name("fig5_samples.png"), side_by_side(list(samples.values()), list(samples), cols=2))
        save_png(task.out.with_name("fig5_chains.png"), side_by_side(list(chains.values()), list(chains), cols=1))


def panels(done: Sequence[tuple[Row, Path]]) -> dict[str, Any]:
    """Ancestral and chain samples of each row, by what they are."""
    return {f"{row.title}: {kind}": read_png(path / f"{name}.png") for row, path in done
            for kind, name in (("ancestral", "samples_stage1"), ("chain", "samples_chain"))}


def curves(stem: Path, done: Sequence[tuple[str, str, Path]], unit: str = "nats a pixel", factor: float = 1.0) -> None:
    """Mutual information and loss, `factor` times which is in the `unit`, of rows by name, title and run folder, against batches;
    the authors' logs of them, where there are such, as crosses."""
    figure, (left, right) = figures.panels(2)
    logs = [LOGS.get(name, ()) for name, _, _ in done]
    late: list[float] = []
    for colour, log, (_, title, path) in zip(figures.COLOURS, logs, done, strict=False):
        points = curve(path, "mutual_information", "step")
        left.plot(*zip(*points, strict=True), color=colour, marker=".", label=title)
        if ceilings := curve(path, "mutual_information_ceiling", "step"):
            left.axhline(ceilings[-1][1], color=figures.GREY, linewidth=1, linestyle="--")
        losses = [(step, factor * value) for step, value in curve(path, "loss", "step")]
        right.plot(*zip(*losses, strict=True), color=colour, linewidth=1, label=title)
        late += [value for _, value in losses[3:]]
        for axes, key in ((left, "information"), (right, "loss")):
            axes.plot([line.batches for line in log], [getattr(line, key) for line in log], "x", color=colour)
    if late:
        right.set_ylim(0.9 * min([*late, *(line.loss for log in logs for line in log)]), 1.1 * max(late))
    for axes in (left, right):
        axes.set_xscale("log")
    batches = "batches (crosses: the authors' log)" if any(logs) else "batches"
    figures.label(left, "mutual information (dashed: log N of the estimate)", batches, "nats")
    figures.label(right, "loss while training", batches, unit)
    figures.save_figure(figure, stem)
