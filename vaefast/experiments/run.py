"""A training run from the command line's words to a folder with a model, pictures and a report."""

from __future__ import annotations

import inspect
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from vaefast import api, data
from vaefast.api.own_networks import networks_from
from vaefast.data.catalog import options_of
from vaefast.errors import ArgumentError, BadFileError, DataError, DivergenceError, RunFolderError, VaefastError
from vaefast.experiments.pictures.curves import draw_curves
from vaefast.experiments.pictures.grids import image_grid, reconstruction_grid, save_png
from vaefast.experiments.pictures.report import write_report
from vaefast.experiments.pictures.snapshots import SampleGrids
from vaefast.experiments.presets import Preset, preset
from vaefast.experiments.scoring.codes import spread_over
from vaefast.experiments.scoring.draws import sampling_seed
from vaefast.experiments.scoring.information_log import InformationLog
from vaefast.experiments.scoring.latent_page import write_latents
from vaefast.experiments.scoring.score_curve import ScoreCurve
from vaefast.experiments.scoring.steps import draw_steps, write_steps
from vaefast.training import Callback
from vaefast.training.device import resolve_device
from vaefast.training.distributed import world
from vaefast.training.loggers import TensorBoard, WeightsAndBiases
from vaefast.training.run_folder import RunFolder
from vaefast.training.settings import override

GRID = 10
PAIRS = 48


def load_data(name: str, root: str | None, split: str, *, pad: int | None = None, limit: int | None = None,
              **options: Any) -> data.ImageSet:
    """The named data set; "digits" needs no root. With `pad`, images stand in a black square of that side; with `limit`, only
    so many are taken, spread over the set; a loader that has this option itself is left to do it its way."""
    if "limit" in options_of(name):
        options, limit = {**options, "limit": limit}, None
    images = data.load(name, root, split=split, **options)
    if limit is not None and limit < len(images):
        images = images.subset(torch.linspace(0, len(images) - 1, limit).long())
    if pad is not None:
        height, width = images.image_shape[1:]
        left, top = (pad - width) // 2, (pad - height) // 2
        images = replace(images, images=F.pad(images.images, (left, pad - width - left, top, pad - height - top)))
    return images


def check_test_files(name: str, root: str | None, **options: Any) -> None:
    """Raise for a bad file among the test images, which would be found after training only; decoded now, they are in the cache.

    Raises:
        BadFileError: there is one.
    """
    if "on_bad" in options_of(name) and options.get("held_out") is None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # told when the images are used
                load_data(name, root, "test", **options)
        except BadFileError:
            raise
        except VaefastError:
            pass  # such as no test images at all, which training does without


def train(kind: str, *, data_name: str, data_root: str | None, out: str, preset_name: str = "quick",
          epochs: tuple[float, ...] | None = None, steps: tuple[int, ...] | None = None,
          stage_overrides: dict[str, Any] | Sequence[dict[str, Any]] | None = None,
          model_overrides: dict[str, Any] | None = None, seed: int = 0, device: str = "auto", precision: str = "auto",
          resume: bool | str = False, command: str = "",
          data_options: dict[str, Any] | None = None, sample_every: float | None = None, score_every: float | None = None,
          keep_best: bool = False, mi_every: float | None = None, tensorboard: bool = False, wandb: str | None = None,
          trainer: dict[str, Any] | None = None, start_from: str | None = None, callbacks: Sequence[Callback] = (),
          progress: bool = True, coded: int | None = None) -> tuple[api.ImageModel, RunFolder]:
    """Train `kind` on a data set into run folder `out`, and draw its pictures and report.

    `epochs` and `steps` hold one value for all stages or one each; they and the overrides (of stages: those of all, or one
    mapping each) replace what the preset says. With `score_every` (epochs), samples are scored as training goes, and the best
    weights kept as checkpoints/best-STAGE; with `keep_best` they are the model's in the end, too. `trainer` holds options of
    `vaefast.Trainer`; `start_from` names weights to begin with (see `Model.fit`); `coded` images, spread over the set, are
    those of the latents page (None: up to 10,000). Raises the package's errors, each with one clear
    sentence; nothing is overwritten.
    """
    chosen = preset(kind, preset_name)
    images = load_data(data_name, data_root, "train", **(data_options or {}))
    check_test_files(data_name, data_root, **(data_options or {}))
    torch.manual_seed(seed)
    model = build(kind, chosen, images.image_shape, model_overrides or {})
    base = chosen.stages_of(model)
    count = len(base)
    for name, values in (("epochs", epochs), ("steps", steps)):
        if values is not None and len(values) not in (1, count):
            raise ArgumentError(f"{name} has {len(values)} values; {kind} has {count} stage{'s' * (count > 1)}: give 1"
                                f"{f' or {count}' * (count > 1)}.")
    if isinstance(stage_overrides, list | tuple) and len(stage_overrides) != count:
        raise ArgumentError(f"stage_overrides has {len(stage_overrides)} entries; {kind} has {count} stage{'s' * (count > 1)}.")
    stages = tuple(override(s, {**_for_stage(i, stage_overrides or {}), **budget(i, epochs, steps)}) for i, s in enumerate(base))
    scored: dict[str, Any] = {}
    if keep_best and score_every is None:
        raise ArgumentError("keep_best was given without score_every; say how often to score (--score-every E).")
    if score_every is not None:
        if not 0 < score_every < math.inf:
            raise ArgumentError(f"score_every is {score_every!r}; expected a number of epochs above 0.")
        test = load_data(data_name, data_root, "test", **(data_options or {}))
        curve = ScoreCurve(images, test, device=resolve_device(device), seed=sampling_seed(seed))
        scored = {"evaluate": partial(curve, model), "evaluate_every": score_every, "best": curve.name, "keep_best": keep_best}
    info = {"preset": preset_name, "data_name": data_name, "data_options": data_options or {},
            "data_root": str(Path(data_root).resolve()) if data_root else None, "command": command}
    watching = _callbacks(sample_every, tensorboard, wandb, mi_every, images, seed)
    try:
        model.fit(images, settings=stages, out=out, resume=resume, seed=seed, device=device, precision=precision,
                  progress=progress, callbacks=[*watching, *callbacks],
                  start_from=start_from, info=info, **scored, **(trainer or {}))
    except DivergenceError:
        if world().writes and Path(out).is_dir():
            with _told("the report", Path(out)):
                write_report(out)  # which shows the warning
        raise
    run = RunFolder.open(out)
    if world().writes:
        draw_pictures(model, images, run, sampling_seed(seed), coded)
    return model, run


def build(kind: str, chosen: Preset, image_shape: tuple[int, int, int], overrides: dict[str, Any]) -> api.ImageModel:
    """The preset's model with some arguments in the place of the preset's; `ArgumentError` for one that it does not take.

    `networks` among them names what makes networks of the user's own, with `network_options`; see
    `vaefast.api.own_networks.networks_from`.
    """
    model = api.MODELS[chosen.kind]
    taken = inspect.signature(model).parameters
    overrides = dict(overrides)
    spec, options = overrides.pop("networks", None), overrides.pop("network_options", None)
    if spec is None and options is not None:
        raise ArgumentError("network_options were given without networks; name what makes them (--networks MODULE:FUNCTION).")
    if spec is not None:
        if not model.networks or model.networks[0] not in taken:
            raise ArgumentError(f"networks is {spec!r}; {kind} takes none of your own.")
        latent_dim = chosen.arguments(overrides).get("latent_dim", taken["latent_dim"].default)
        overrides |= networks_from(spec, model.networks, image_shape, latent_dim, options)
    for name, value in overrides.items():
        if name not in taken:
            called = "chain-steps" if name == "steps" else name.rstrip("_")
            raise ArgumentError(f"{called} is {value!r}; {kind} has no such setting.")
    try:
        return model(image_shape, **chosen.arguments(overrides))
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            raise ArgumentError(f"a {kind} model of these settings does not fit into memory; choose fewer latent dimensions, or "
                                "narrower networks.") from error
        raise


def _for_stage(stage: int, overrides: dict[str, Any] | Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Overrides that concern a stage: images, which are mirrored, are the first one's alone."""
    if not isinstance(overrides, dict):
        return overrides[stage]
    return {name: value for name, value in overrides.items() if stage == 0 or name != "flip"}


def budget(stage: int, epochs: tuple[float, ...] | None, steps: tuple[int, ...] | None) -> dict[str, Any]:
    """`epochs` or `steps` of a stage, where they are given."""
    given = {"epochs": epochs, "steps": steps}
    return {name: values[stage if len(values) > 1 else 0] for name, values in given.items() if values is not None}


def _callbacks(sample_every: float | None, tensorboard: bool, wandb: str | None, mi_every: float | None,
               images: data.ImageSet, seed: int) -> list[Callback]:
    found: list[Callback] = []
    if mi_every is not None:
        found.append(InformationLog(mi_every, images.images, seed=seed))
    if sample_every is not None:
        found.append(SampleGrids(sample_every, sampling_seed(seed)))
    if tensorboard:
        found.append(TensorBoard())
    if wandb is not None:
        found.append(WeightsAndBiases(wandb))
    return found


@torch.no_grad()
def draw_pictures(model: api.ImageModel, images: data.ImageSet, run: RunFolder, seed: int = 1, coded: int | None = None) -> None:
    """The pictures of `draw_model` of a run, curves.png and report.html."""
    draw_model(model, images, run.path, seed, coded)
    with _told("curves.png", run.path):
        draw_curves(run.read_metrics(), run.path / "curves.png")
    with _told("report.html", run.path):
        write_report(run.path)


@torch.no_grad()
def draw_model(model: api.ImageModel, images: data.ImageSet, path: Path, seed: int = 1, coded: int | None = None) -> None:
    """samples_stage1.png, samples_stage2.png (of a two-stage model), reconstructions.png and latents.png (where there is an
    encoder) in the folder `path`. One that cannot be made is told of, and the others are."""
    generator = torch.Generator(model.device).manual_seed(seed)
    for stage, draw in enumerate(model.samplers().values(), start=1):
        with _told(f"samples_stage{stage}.png", path):
            save_png(path / f"samples_stage{stage}.png", image_grid(draw(GRID * GRID, generator).cpu(), GRID, GRID))
    if model.encodes:
        with _told("reconstructions.png", path):
            originals = data.to_float(images.images[:PAIRS]).to(model.device)
            save_png(path / "reconstructions.png",
                     reconstruction_grid(originals.cpu(), model.reconstruct(originals, generator).cpu()))
    if model.infers:
        with _told("latents.png", path):
            write_latents(model, spread_over(images.images, coded), path, seed, _labels(images, coded))
    if model.stepwise:
        with _told("the pictures of its steps", path):
            draw_steps(model, images.images, path, seed)
            write_steps(model, images.images, path, split="training")


@contextmanager
def _told(what: str, path: Path) -> Iterator[None]:
    """What fails inside comes after the training, which it must not cost: it is told of in a sentence."""
    try:
        yield
    except Exception as error:
        print(f"vaefast: {what} could not be made ({type(error).__name__}: {error}); what was trained is safe in {path}.",
              file=sys.stderr, flush=True)


def _labels(images: data.ImageSet, count: int | None) -> torch.Tensor | None:
    """The labels of `count` images spread over the set."""
    return None if images.labels is None else spread_over(images.labels, count)


def finished(path: str) -> RunFolder:
    """The run folder at `path`, if its training has ended; `RunFolderError` otherwise."""
    run = RunFolder.open(path)
    if not (run.path / "model.json").is_file():
        raise RunFolderError(f"{path} has not finished training; go on with it first (--resume).")
    return run


def image_model(path: str | os.PathLike[str], device: torch.device, networks: str | bool | None = None) -> api.ImageModel:
    """The model in a folder; `networks` as for `vaefast.load`.

    Raises ArgumentError for one that draws no images, besides what `vaefast.load` raises.
    """
    model = api.load(path, device=device, networks=networks)
    if not model.draws_images:
        raise ArgumentError(f"{path} holds a model of kind {model.kind!r}, which draws no images; use its sample() in Python.")
    return model


def run_data(run: RunFolder, data_root: str | None = None, more: dict[str, Any] | None = None) -> Callable[[str], data.ImageSet]:
    """A function that loads a split ("train", "test") of the data set that `run` was trained on; `more` are loader options in
    place of the run's.

    Raises:
        RunFolderError: it was not trained on a named data set.
    """
    name, root = run.config.get("data_name"), data_root or run.config.get("data_root")
    if name is None:
        raise RunFolderError(f"{run.path} was not trained on a named data set, so that its images are not at hand here; in "
                             "Python, vaefast.evaluate(model, images, out=...) scores it.")
    options = {**run.config.get("data_options", {}), **(more or {})}

    def split(which: str) -> data.ImageSet:
        images = load_data(name, root, which, **options)
        if which == "train" and images.digest != run.config["data"]["digest"]:
            raise DataError(f"{name} in {root} is not the data that {run.path} was trained on (its digest differs); "
                            "name the right folder with --data-root.")
        return images

    return split
