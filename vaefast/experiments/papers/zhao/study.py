"""`vaefast reproduce zhao`: figures 2 to 5, part by part, and one page with all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from vaefast.experiments.papers.calls import check_models, record_call, wanted_parts
from vaefast.experiments.papers.cell import Study
from vaefast.experiments.papers.zhao import chains, pixels, variance
from vaefast.experiments.papers.zhao.cell import load
from vaefast.experiments.papers.zhao.page import write_page
from vaefast.experiments.papers.zhao.protocol import NAMES, ROWS, budget_of

PARTS = tuple(ROWS)
DATA_OF = {"fig2": ("mnist",), "fig3": ("lfw",), "fig4": ("lfw",), "fig5": ("mnist",)}
OF_GREY = ("fig2", "fig5")
"""Parts that "all" has for grey images alone, as it has the others for images in colour; by name they run on any."""


def reproduce(part: str, data_names: Sequence[str], study: Study, models: Sequence[str] | None = None) -> Path:
    """Run `part` ("all" of them, or one) on each data set; returns the report's path.

    What is there already from an earlier call is kept, so that a call that was cut off goes on, and parts and trials can be
    added one by one. calls.jsonl gets a line for each call that came to its end: what it was asked, and how long it took.

    Args:
        part: one of `PARTS`, or "all". "fig2" is the map of pixel variance, "fig3" the Sequential VAE beside infusion, "fig4" the
            Sequential VAE step by step, "fig5" the PixelCNN VAE.
        data_names: data sets, such as "mnist" (figures 2 and 5) and "lfw" (3 and 4).
        study: folders, preset, trials.
        models: rows to train (`vaefast.experiments.papers.zhao.protocol.NAMES`); None for the preset's.

    Raises:
        ArgumentError: no such part, preset or model, trials below 1, or images that a part's network cannot draw.
        DataError: a data set cannot be read.
    """
    check_models(models, NAMES)
    budget_of(study.preset)
    wanted, began = wanted_parts(part, PARTS, study), time.monotonic()
    for name in data_names:
        grey = load(study, "fig4", name, "test").image_shape[0] == 1
        (study.out / name).mkdir(parents=True, exist_ok=True)
        for one in wanted:
            if part == "all" and (one in OF_GREY) != grey:
                continue
            study.say(f"--- {one} on {name}, preset {study.preset}")
            if one == "fig2":
                variance.run(study, name, models)
            elif one == "fig5":
                pixels.run(study, name, models)
            else:
                chains.run(study, one, name, models)
            write_page(study)
    record_call(study, part, data_names, time.monotonic() - began)
    return write_page(study)
