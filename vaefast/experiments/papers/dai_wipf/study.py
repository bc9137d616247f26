"""`vaefast reproduce dai-wipf`: the paper's tables and figures, part by part, and one page with all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vaefast import api, data
from vaefast.experiments import theory
from vaefast.experiments.papers.calls import check_models, record_call, wanted_parts
from vaefast.experiments.papers.cell import Study
from vaefast.experiments.papers.dai_wipf import paper
from vaefast.experiments.papers.dai_wipf.cell import run_cell, run_path
from vaefast.experiments.papers.dai_wipf.page import write_page
from vaefast.experiments.papers.dai_wipf.protocol import FIGURE1A, TABLE1, TABLE2, Row, data_options
from vaefast.experiments.papers.dai_wipf.tables import COLUMNS, table
from vaefast.experiments.papers.pictures import training_curves
from vaefast.experiments.papers.tables import write_table
from vaefast.experiments.pictures.grids import read_png, save_png, side_by_side
from vaefast.experiments.run import load_data
from vaefast.training.run_folder import RunFolder

PARTS = ("table1", "table2", "table3", "fig1a", "fig1b", "fig2", "manifolds")


def reproduce(part: str, data_names: Sequence[str], study: Study, models: Sequence[str] | None = None) -> Path:
    """Run `part` ("all" of them, or one) on each data set; returns the report's path.

    What is there already from an earlier call is kept, so that a call that was cut off goes on, and parts and trials can be
    added one by one. calls.jsonl gets a line for each call that came to its end: what it was asked, and how long it took.

    Args:
        part: one of `PARTS`, or "all".
        data_names: as `vaefast.data.load` knows them.
        study: folders, preset, trials.
        models: rows of the tables to train (names as in `vaefast.experiments.papers.dai_wipf.paper.TITLES`); None for all.

    Raises:
        ArgumentError: no such part or model, or trials below 1.
        DataError: a data set cannot be read, or has no labels for FD-classifier.
    """
    check_models(models, [row.name for row in (*TABLE1, *TABLE2) if row.training])
    wanted, began = wanted_parts(part, PARTS, study), time.monotonic()
    of_data = [one for one in wanted if one in _RUN]
    for name in data_names if of_data else ():
        plain = load_data(name, study.data_root, "train")
        for one in of_data:
            study.say(f"--- {one} on {name}, preset {study.preset}")
            _RUN[one](study, name, plain, models)
            write_page(study)
    if "manifolds" in wanted:
        study.say(f"--- manifolds of known dimension, preset {study.preset}")
        theory.manifolds(out=study.out, preset=study.preset, seed=study.seed, device=study.device, say=study.say)
    record_call(study, part, data_names, time.monotonic() - began)
    return write_page(study)


def _table(name: str, rows: Sequence[Row], printed: dict[str, dict[str, paper.Mean]]) -> Callable[..., None]:
    def run(study: Study, data_name: str, plain: data.ImageSet, models: Sequence[str] | None) -> None:
        trainings = {row.training.name: row.training for row in rows if row.training and (models is None or row.name in models)}
        for training in trainings.values():
            for trial in range(1, study.trials + 1):
                run_cell(study, name, data_name, plain, training, trial)
            write_table(table(study, name, data_name, rows, printed), study.out / data_name / name, COLUMNS)
        _samples(study, name, data_name, rows)
        gans = {paper.TITLES[row.name]: run_path(study, name, data_name, row.training, 1) for row in rows
                if row.training and row.training.kind == "gan"}
        training_curves(study.out / data_name / f"{name}_curves", gans, "step")

    return run


def _samples(study: Study, name: str, data_name: str, rows: Sequence[Row]) -> None:
    """The first trial's samples of every row that has some, in the table's order."""
    found = [(row, run_path(study, name, data_name, row.training, 1) / f"samples_stage{row.stage}.png")
             for row in rows if row.training]
    pictures = {paper.TITLES[row.name]: read_png(path) for row, path in found if path.is_file()}
    if pictures:
        save_png(study.out / data_name / f"{name}.png", side_by_side(list(pictures.values()), list(pictures)))


def _two_stage(study: Study, data_name: str, plain: data.ImageSet) -> Any:
    """Table 1's two-stage model of the first trial."""
    training = next(row.training for row in TABLE1 if row.name == "two-stage")
    assert training is not None
    return api.load(run_cell(study, "table1", data_name, plain, training, 1, scores=False))


def _figure1a(study: Study, data_name: str, plain: data.ImageSet, models: Sequence[str] | None) -> None:
    runs = [run_cell(study, "fig1a", data_name, plain, training, 1, scores=False) for training in FIGURE1A]
    learned, fixed = (RunFolder.open(run).read_metrics() for run in runs)
    theory.fig1a(learned, fixed, image_shape=plain.image_shape, out=study.out / data_name, say=study.say)


def _of_two_stage(run: Callable[..., Any], named: bool = False) -> Callable[..., None]:
    """A part that measures table 1's two-stage model; with `named` it also wants the data set's name."""
    def call(study: Study, data_name: str, plain: data.ImageSet, models: Sequence[str] | None) -> None:
        model = _two_stage(study, data_name, plain)
        images = load_data(data_name, study.data_root, "train", **data_options("table1", study.preset, plain))
        run(model, images.images, out=study.out / data_name, preset=study.preset, seed=study.seed, device=study.device,
            say=study.say, **({"data": data_name} if named else {}))

    return call


_RUN: dict[str, Callable[..., None]] = {
    "table1": _table("table1", TABLE1, paper.TABLE1),
    "table2": _table("table2", TABLE2, paper.TABLE2),
    "table3": _of_two_stage(theory.table3, named=True),
    "fig1a": _figure1a,
    "fig1b": _of_two_stage(theory.fig1b),
    "fig2": _of_two_stage(theory.fig2),
}
