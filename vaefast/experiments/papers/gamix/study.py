"""`vaefast reproduce gamix`: the work's ablation, sweeps, figures and the comparisons it leaves open, and one page with all of
them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from vaefast.experiments.papers.calls import check_models, record_call, wanted_parts
from vaefast.experiments.papers.cell import Row, Study
from vaefast.experiments.papers.gamix import paths, pictures
from vaefast.experiments.papers.gamix.cell import Images, load, run_cell
from vaefast.experiments.papers.gamix.page import write_page
from vaefast.experiments.papers.gamix.protocol import DRAWN, NAMES, TABLES, budget_of
from vaefast.experiments.papers.gamix.tables import COLUMNS, table
from vaefast.experiments.papers.page import about_data
from vaefast.experiments.papers.tables import write_table
from vaefast.training.storage import write_json

PARTS = ("ablation", "weights", "dimensions", "moments", "latent", "interpolate", "baselines")
DATA = ("lfw", "cifar10")


def reproduce(part: str, data_names: Sequence[str], study: Study, models: Sequence[str] | None = None) -> Path:
    """Run `part` ("all" of them, or one) on each data set; returns the report's path.

    What is there already from an earlier call is kept, so that a call that was cut off goes on, and parts and trials can be
    added one by one. calls.jsonl gets a line for each call that came to its end: what it was asked, and how long it took.

    Args:
        part: one of `PARTS`, or "all". "ablation" goes from the standard ELBO to GAMIX-VAE one term at a time; "weights",
            "dimensions" and "moments" are sweeps of GAMIX-VAE; "latent" and "interpolate" draw codes of the first and the last
            row of the ablation, which they train where need be; "baselines" are other VAEs, and second stages.
        data_names: sets of square images of a side of 32, 64, ... ("lfw", "cifar10"), or of 28, which are padded.
        study: folders, preset, trials.
        models: rows to train (`vaefast.experiments.papers.gamix.protocol.NAMES`); None for all.

    Raises:
        ArgumentError: no such part, preset or model, trials below 1, or images that the networks do not take.
        DataError: a data set cannot be read.
    """
    check_models(models, NAMES)
    budget_of(study.preset)
    wanted, began = wanted_parts(part, PARTS, study), time.monotonic()
    for name in data_names:
        images = load(study, name)
        (study.out / name).mkdir(parents=True, exist_ok=True)
        about = about_data(images.train, images.test)
        write_json(study.out / name / "data.json", {"about": about, "digest": images.train.digest})
        for one in wanted:
            study.say(f"--- {one} on {name}, preset {study.preset}")
            if one in TABLES:
                _table(study, one, images, models)
            else:
                _train(study, images, DRAWN, models, trials=1)
                paths.run(study, one, images)
            write_page(study)
    record_call(study, part, data_names, time.monotonic() - began)
    return write_page(study)


def _table(study: Study, part: str, images: Images, models: Sequence[str] | None) -> None:
    rows = TABLES[part]
    for row in rows:
        _train(study, images, [row], models, study.trials)
        write_table(table(study, part, images.name, rows), study.out / images.name / part, COLUMNS[part])
    pictures.draw(study, part, images.name, rows, images.train)


def _train(study: Study, images: Images, rows: Sequence[Row], models: Sequence[str] | None, trials: int) -> None:
    for row in rows:
        if models is None or row.name in models:
            for trial in range(1, trials + 1):
                run_cell(study, images, row.training, trial)
