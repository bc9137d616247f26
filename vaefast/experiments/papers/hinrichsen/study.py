"""`vaefast reproduce hinrichsen`: the paper's table and claims, part by part, and one page with all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from vaefast import data
from vaefast.experiments.papers.calls import check_models, record_call, wanted_parts
from vaefast.experiments.papers.cell import Study, metrics_of
from vaefast.experiments.papers.hinrichsen import pictures
from vaefast.experiments.papers.hinrichsen.cell import run_cell
from vaefast.experiments.papers.hinrichsen.page import write_page
from vaefast.experiments.papers.hinrichsen.paper import DATA
from vaefast.experiments.papers.hinrichsen.protocol import TABLES, data_options
from vaefast.experiments.papers.hinrichsen.tables import COLUMNS, table
from vaefast.experiments.papers.page import about_data
from vaefast.experiments.papers.tables import write_table
from vaefast.experiments.run import load_data
from vaefast.experiments.scoring.evaluate import own_metric, own_network
from vaefast.training.device import resolve_device
from vaefast.training.storage import write_json

PARTS = (*TABLES, "interpolations")
OF_FACES = "latents"
"""The part that the paper has for faces alone: "all" leaves it out for other sets, by name it runs on any."""


def reproduce(part: str, data_names: Sequence[str], study: Study, models: Sequence[str] | None = None) -> Path:
    """Run `part` ("all" of them, or one) on each data set; returns the report's path.

    What is there already from an earlier call is kept, so that a call that was cut off goes on, and parts and trials can be
    added one by one. calls.jsonl gets a line for each call that came to its end: what it was asked, and how long it took.

    Args:
        part: one of `PARTS`, or "all". "table" is the result table, "latents" the VAE's latent dimensions, "rates" the GAN's
            learning rates, "activation" ReLU against leaky ReLU; "interpolations" draws the table's models, which are trained.
        data_names: "cifar10" and "lfw" (at 45x45, which see `vaefast.data.lfw.load_lfw45`), or another set of square images.
        study: folders, preset, trials.
        models: rows to train (names as in `vaefast.experiments.papers.hinrichsen.protocol.TABLES`); None for all.

    Raises:
        ArgumentError: no such part or model, or trials below 1.
        DataError: a data set cannot be read.
    """
    check_models(models, [row.name for rows in TABLES.values() for row in rows])
    wanted, began = wanted_parts(part, PARTS, study), time.monotonic()
    for name in data_names:
        parts = [one for one in wanted if part != "all" or one != OF_FACES or name == "lfw"]
        train, test = (load_data(DATA.get(name, name), study.data_root, split,
                                 **{**data_options(study.preset), **study.data_options}) for split in ("train", "test"))
        (study.out / name).mkdir(parents=True, exist_ok=True)
        write_json(study.out / name / "data.json", {"about": about_data(train, test), "digest": train.digest})
        for one in parts:
            study.say(f"--- {one} on {name}, preset {study.preset}")
            _run(study, one, name, train, test, models)
            write_page(study)
    record_call(study, part, data_names, time.monotonic() - began)
    return write_page(study)


def _run(study: Study, part: str, data_name: str, train: data.ImageSet, test: data.ImageSet,
         models: Sequence[str] | None) -> None:
    rows, own = TABLES["table" if part == "interpolations" else part], own_metric(train)
    which = metrics_of(study, train)
    for row in rows:
        if models is not None and row.name not in models:
            continue
        for trial in range(1, study.trials + 1):
            run_cell(study, data_name, row.training, trial, which)
            if part != "interpolations":
                write_table(table(study, part, data_name, rows), study.out / data_name / part, COLUMNS)
    if part == "interpolations":
        pictures.interpolations(study, data_name, test)
        return
    pictures.samples(study, data_name, part, rows, train if part == "table" else None)
    if part == "rates":
        pictures.rates(study, data_name)
    if part == "table" and own:
        network = own_network(own, train, test, None, resolve_device(study.device), study.say)
        assert network is not None
        pictures.neighbours(study, data_name, train, network)
