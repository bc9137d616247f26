"""Samples of a trained run as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaefast.errors import ArgumentError, RunFolderError, VaefastError
from vaefast.experiments.pictures.arrays import POINTS, draw_arrays
from vaefast.experiments.pictures.grids import image_grid, save_png
from vaefast.experiments.pictures.report import write_report
from vaefast.experiments.run import GRID, beside_samples, drawing_model, run_data
from vaefast.experiments.scoring.arrays import sample_arrays
from vaefast.experiments.scoring.codes import Aggregate, aggregate, encodes, infers
from vaefast.experiments.scoring.draws import class_sampler, image_sampler, sample_images, to_uint8
from vaefast.files import write_atomically
from vaefast.training.device import resolve_device
from vaefast.training.run_folder import RunFolder


def sample_to_file(run: str, out: Path, n: int, *, sampler: str | None = None, data_root: str | None = None, seed: int = 0,
                   device: str = "auto", chain: int | None = None, start: str | None = None,
                   pixel_noise: bool = False, networks: str | bool | None = None, condition: Sequence[int] | None = None,
                   guidance: float | None = None) -> list[Path]:
    """Draw n images, or other examples, from the run (or saved model) in folder `run`; returns the files written.

    A `.npz` holds `images`, uint8 [n, C, H, W] (and `labels` [n] with `condition`), and a PNG grid of the first 100 goes
    beside it; a `.png` is the grid alone. Of other data it holds `x`, float32 [n, *data_shape], and the picture is of curves,
    slices or points, as they are. `sampler` says where codes come from (`vaefast.experiments.scoring.draws.SAMPLERS`): the
    second stage by default, or the prior of a model that has none. A mixture is fitted to the codes of the run's training
    images, which it needs then (from `data_root`, if they moved). With `chain`, images are the ends of chains of so many
    transitions instead (`vaefast.models.chain`), from `start` "noise" (default) or "data", the run's training images.

    `networks` is that of `vaefast.load`. With `condition`, images are of these classes in turn, by the model's own way to draw; a
    flow leads away from what is of no class by `guidance` above 1, with or without `condition`.

    A picture that is written into the run's own folder, such as RUN/samples_chain.png, appears in its report.

    Raises:
        ArgumentError: n below 1, another kind of file, a sampler that the model has not, or options of chains without `chain`.
        RunFolderError: a file of that name exists.
    """
    if n < 1:
        raise ArgumentError(f"n is {n}; expected 1 or more.")
    if out.suffix not in (".npz", ".png"):
        raise ArgumentError(f"out is {str(out)!r}; expected a name that ends in .npz or .png.")
    grid_path = out.with_suffix(".png")
    files = [out] if out == grid_path else [out, grid_path]
    for path in files:
        if path.exists():
            raise RunFolderError(f"{path} exists already; choose another out.")
    if chain is None and (start is not None or pixel_noise):
        raise ArgumentError(f"{'start' if start else 'pixel_noise'} was given without a chain; say how long it is.")
    model = drawing_model(run, resolve_device(device), networks)

    def training_images() -> Any:
        return run_data(RunFolder.open(run), data_root)("train")

    def training_codes() -> Aggregate:
        assert infers(model)
        return aggregate(model, training_images(), seed)

    asked = [name for name, value in (("condition", condition), ("guidance", guidance)) if value is not None]
    if asked and (chain is not None or sampler is not None):
        raise ArgumentError(f"{' and '.join(asked)} cannot be had with {'a chain' if chain is not None else 'a sampler'}; leave "
                            "one out.")
    shown = GRID * GRID if model.draws_images else POINTS
    count = n if out.suffix == ".npz" else min(n, shown)
    if chain is None:
        draw = class_sampler(model, condition, guidance) if asked else image_sampler(model, sampler, training_codes, seed)
        images = (sample_images if model.draws_images else sample_arrays)(model, draw, count, seed=seed)
    elif encodes(model):
        images = model.chain(count, chain, start or "noise", data=training_images().images if start == "data" else None,
                             pixel_noise=pixel_noise, generator=torch.Generator(model.device).manual_seed(seed))
        images = to_uint8(images) if model.draws_images else images.float().cpu()
    else:
        raise ArgumentError(f"chain is {chain}; a {model.kind} model has no encoder, and so no chain.")
    if out.suffix == ".npz":
        labels: dict[str, Any] = {} if condition is None else {"labels": np.resize(np.asarray(condition, dtype=np.int64), count)}

        def write(path: Path) -> None:
            with open(path, "wb") as file:
                arrays: dict[str, Any] = {"images" if model.draws_images else "x": images.numpy(), **labels}
                np.savez_compressed(file, **arrays)

        write_atomically(out, write)
    if model.draws_images:
        side = min(GRID, max(1, round(len(images) ** 0.5)))
        save_png(grid_path, image_grid(images[: side * GRID], -(-min(len(images), side * GRID) // side), side))
    else:
        draw_arrays(grid_path, images[:POINTS], _beside(run, data_root))
    if (folder := grid_path.resolve().parent) == Path(run).resolve():
        write_report(folder)
    return files


def _beside(run: str, data_root: str | None) -> Tensor | None:
    """The run's data, where they are at hand and samples are drawn beside them."""
    try:
        return beside_samples(run_data(RunFolder.open(run), data_root)("train"))
    except VaefastError:
        return None
