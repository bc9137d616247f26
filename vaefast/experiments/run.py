"""A training run from what is asked for to a folder with a model, pictures and a report."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from vaefast import api, data
from vaefast.api.general import PIXEL_NETS
from vaefast.api.own_networks import networks_from
from vaefast.data.array_files import ARRAYS, load_arrays
from vaefast.data.catalog import options_of
from vaefast.errors import ArgumentError, BadFileError, DataError, DivergenceError, RunFolderError, VaefastError
from vaefast.experiments.pictures.arrays import POINTS, draw_arrays
from vaefast.experiments.pictures.curves import draw_curves
from vaefast.experiments.pictures.grids import image_grid, reconstruction_grid, save_png
from vaefast.experiments.pictures.report import write_report
from vaefast.experiments.pictures.snapshots import SampleGrids
from vaefast.experiments.presets import PRESETS, Preset
from vaefast.experiments.request import Request
from vaefast.experiments.scoring.codes import encodes, infers, spread_over, told_batches
from vaefast.experiments.scoring.draws import class_sampler, known_classes, sampling_seed
from vaefast.experiments.scoring.information_log import InformationLog
from vaefast.experiments.scoring.latent_page import write_latents
from vaefast.experiments.scoring.score_curve import ScoreCurve
from vaefast.experiments.scoring.steps import draw_steps, stepwise, write_steps
from vaefast.training import Callback
from vaefast.training.device import resolve_device
from vaefast.training.distributed import world
from vaefast.training.loggers import CSV, MLflow, TensorBoard, WeightsAndBiases
from vaefast.training.run_folder import RunFolder
from vaefast.training.settings import StageSettings

GRID = 10
PAIRS = 48


def load_data(name: str, root: str | None, split: str, *, pad: int | None = None, limit: int | None = None,
              **options: Any) -> Any:
    """The named data set, an `ImageSet`; "digits" needs no root. Of "arrays", the examples in the file `root`, an `ArraySet`.

    With `pad`, images stand in a black square of that side; with `limit`, only so many are taken, spread over the set; a loader
    that has this option itself is left to do it its way.
    """
    if name == ARRAYS:
        known = {"data_shape", "test_fraction"}
        if unknown := [option for option in options if option not in known] + ["pad"] * (pad is not None):
            raise ArgumentError(f"{unknown[0]} is an option of images; examples of a NumPy file have {', '.join(sorted(known))} "
                                "and limit.")
        arrays = load_arrays(root, split, **options)
        if limit is None or limit >= len(arrays):
            return arrays
        return arrays.subset(torch.linspace(0, len(arrays) - 1, limit).long())
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
    if name != ARRAYS and "on_bad" in options_of(name) and options.get("held_out") is None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # told when the images are used
                load_data(name, root, "test", **options)
        except BadFileError:
            raise
        except VaefastError:
            pass  # such as no test images at all, which training does without


@dataclass(frozen=True)
class Plan:
    """What a request comes to: the training images (or other examples), the model with its first weights, and its stages'
    settings."""

    images: data.ImageSet | data.ArraySet
    model: api.ImageModel
    stages: tuple[StageSettings, ...]


def plan(asked: Request) -> Plan:
    """Load the data and build the model; raises what is wrong with them, or with the settings."""
    images = load_data(asked.data_name, asked.data_root, "train", **asked.data_options)
    check_test_files(asked.data_name, asked.data_root, **asked.data_options)
    overrides = dict(asked.model_overrides)
    if asked.condition is not None:
        if images.labels is None:
            raise DataError(f"condition is 'labels', but {images.name} has no labels; leave it out.")
        overrides.setdefault("classes", images.num_classes)
    torch.manual_seed(asked.seed)
    model = build(asked.kind, asked.preset, _shape(images), overrides)
    if asked.score_every is not None and not isinstance(images, data.ImageSet):
        raise ArgumentError(f"score_every is {asked.score_every!r}; it scores images, and these are examples of shape "
                            f"{_shape(images)}: leave it out, and keep_best with it.")
    if asked.mi_every is not None and not model.infers:
        raise ArgumentError(f"mi_every is {asked.mi_every!r}; it is of codes with a density q(z|x), which {asked.kind} has not: "
                            "leave it out.")
    return Plan(images, model, asked.stages_from(asked.preset.stages_of(model)))


def _shape(images: data.ImageSet | data.ArraySet) -> tuple[int, ...]:
    return images.image_shape if isinstance(images, data.ImageSet) else images.data_shape


def train(asked: Request, *, callbacks: Sequence[Callback] = (), progress: bool = True) -> tuple[api.ImageModel, RunFolder]:
    """Train what is asked for into its run folder, and draw its pictures and report.

    Raises the package's errors, each with one clear sentence; nothing is overwritten.
    """
    planned = plan(asked)
    model, images, noise = planned.model, planned.images, sampling_seed(asked.seed)
    scored: dict[str, Any] = {}
    if asked.score_every is not None and isinstance(images, data.ImageSet):
        test = load_data(asked.data_name, asked.data_root, "test", **asked.data_options)
        curve = ScoreCurve(images, test, device=resolve_device(asked.device), seed=noise)
        scored = {"evaluate": partial(curve, model), "evaluate_every": asked.score_every, "best": curve.name}
    if asked.score_every is not None or asked.validation is not None:
        scored |= {"validation": asked.validation, "keep_best": asked.keep_best, "patience": asked.patience}
    info = {"preset": asked.preset_name, "data_name": asked.data_name, "data_options": dict(asked.data_options),
            "data_root": str(Path(asked.data_root).resolve()) if asked.data_root else None, "command": asked.command}
    try:
        model.fit(images, settings=planned.stages, out=asked.out, resume=asked.resume, seed=asked.seed, device=asked.device,
                  precision=asked.precision, progress=progress, callbacks=[*_callbacks(asked, images), *callbacks],
                  start_from=asked.start_from, augment=asked.augment, info=info, **scored, **asked.trainer)
    except DivergenceError:
        if world().writes and Path(asked.out).is_dir():
            with after_training("the report", Path(asked.out)):
                write_report(asked.out)  # which shows the warning
        raise
    run = RunFolder.open(asked.out)
    if world().writes:
        draw_pictures(model, images, run, noise, asked.coded)
    return model, run


def build(kind: str, chosen: Preset, shape: tuple[int, ...], overrides: Mapping[str, Any]) -> api.ImageModel:
    """The preset's model of examples of that shape, with some arguments in the place of the preset's; `ArgumentError` for one
    that it does not take.

    `networks` among them names what makes networks of the user's own, with `network_options`; see
    `vaefast.api.own_networks.networks_from`.
    """
    model = api.MODELS[chosen.kind]
    taken = inspect.signature(model).parameters
    overrides, images = dict(overrides), len(shape) == 3
    if not images and "data_shape" not in taken:
        able = [name for name, presets in PRESETS.items() for one in list(presets.values())[:1]
                if "data_shape" in inspect.signature(api.MODELS[one.kind]).parameters and one.model.get("nets") not in PIXEL_NETS]
        raise ArgumentError(f"{kind} takes images, and these are examples of shape {shape}; {', '.join(able)} take them.")
    spec, options = overrides.pop("networks", None), overrides.pop("network_options", None)
    if spec is None and options is not None:
        raise ArgumentError("network_options were given without networks; name what makes them, as networks=\"MODULE:FUNCTION\".")
    if spec is not None:
        if not model.networks or model.networks[0] not in taken:
            raise ArgumentError(f"networks is {spec!r}; {kind} takes none of your own.")
        latent_dim = chosen.arguments(overrides, shape if images else None).get("latent_dim", taken["latent_dim"].default)
        overrides |= networks_from(spec, model.networks, shape, latent_dim, options)
    for name, value in overrides.items():
        if name not in taken:
            called = "chain-steps" if name == "steps" else name.rstrip("_")
            raise ArgumentError(f"{called} is {value!r}; {kind} has no such setting.")
    try:
        of_shape = {"image_shape" if images else "data_shape": shape}
        built = model(**of_shape, **chosen.arguments(overrides, shape if images else None))
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            raise ArgumentError(f"a {kind} model of these settings does not fit into memory; choose fewer latent dimensions, or "
                                "narrower networks.") from error
        raise
    assert isinstance(built, api.ImageModel)
    return built


def _callbacks(asked: Request, images: data.ImageSet | data.ArraySet) -> list[Callback]:
    callbacks: list[Callback] = []
    if asked.mi_every is not None:
        callbacks.append(InformationLog(asked.mi_every, images, seed=asked.seed))
    if asked.sample_every is not None:
        callbacks.append(SampleGrids(asked.sample_every, sampling_seed(asked.seed)))
    if asked.tensorboard:
        callbacks.append(TensorBoard())
    if asked.wandb is not None:
        callbacks.append(WeightsAndBiases(asked.wandb))
    if asked.mlflow is not None:
        callbacks.append(MLflow(asked.mlflow))
    if asked.csv:
        callbacks.append(CSV())
    return callbacks


@torch.no_grad()
def draw_pictures(model: api.ImageModel, images: data.ImageSet | data.ArraySet, run: RunFolder, seed: int = 1,
                  coded: int | None = None) -> None:
    """The pictures of `draw_model` of a run, curves.png and report.html."""
    draw_model(model, images, run.path, seed, coded)
    with after_training("curves.png", run.path):
        draw_curves(run.read_metrics(), run.path / "curves.png")
    with after_training("report.html", run.path):
        write_report(run.path)


@torch.no_grad()
def draw_model(model: api.ImageModel, images: data.ImageSet | data.ArraySet, path: Path, seed: int = 1,
               coded: int | None = None) -> None:
    """samples_stage1.png, samples_stage2.png (of a two-stage model), reconstructions.png and latents.png (where there is an
    encoder) in the folder `path`. One that cannot be made is told of, and the others are."""
    generator = torch.Generator(model.device).manual_seed(seed)
    for stage, draw in enumerate(model.samplers().values(), start=1):
        with after_training(f"samples_stage{stage}.png", path):
            if isinstance(images, data.ArraySet):
                draw_arrays(path / f"samples_stage{stage}.png", draw(POINTS, generator), beside_samples(images))
            else:
                save_png(path / f"samples_stage{stage}.png", image_grid(draw(GRID * GRID, generator).cpu(), GRID, GRID))
    if getattr(model, "classes", 0) and not isinstance(images, data.ArraySet):
        with after_training("samples_classes.png", path):
            rows = [label for label in known_classes(model)[:GRID] for _ in range(GRID)]
            save_png(path / "samples_classes.png",
                     image_grid(class_sampler(model, rows)(len(rows), generator).cpu(), len(rows) // GRID, GRID))
    if encodes(model):
        with after_training("reconstructions.png", path):
            batch, given = next(told_batches(model, spread_over(images, PAIRS)))
            originals = data.to_float(batch)
            again = model.reconstruct(originals, generator, **given)
            if isinstance(images, data.ArraySet):
                draw_arrays(path / "reconstructions.png", again, originals, called=("reconstructions", "training data"))
            else:
                save_png(path / "reconstructions.png", reconstruction_grid(originals.cpu(), again.cpu()))
    if infers(model):
        with after_training("latents.png", path):
            write_latents(model, spread_over(images, coded), path, seed, _labels(images, coded))
    if stepwise(model):
        with after_training("the pictures of its steps", path):
            draw_steps(model, images.images, path, seed)
            write_steps(model, images.images, path, split="training")


@contextmanager
def after_training(what: str, path: Path) -> Iterator[None]:
    """What fails inside comes after the training, which it must not cost: it is told of in a sentence."""
    try:
        yield
    except Exception as error:
        print(f"vaefast: {what} could not be made ({type(error).__name__}: {error}); what was trained is safe in {path}.",
              file=sys.stderr, flush=True)


def beside_samples(arrays: data.ArraySet) -> torch.Tensor | None:
    """What samples are drawn beside: vectors of the data. Curves and slices of samples are not those of any one example."""
    return data.to_float(spread_over(arrays.values, POINTS)) if len(arrays.data_shape) not in (2, 4) else None


def _labels(images: data.ImageSet | data.ArraySet, count: int | None) -> torch.Tensor | None:
    """The labels of `count` images spread over the set."""
    return None if images.labels is None else spread_over(images.labels, count)


def finished(path: str) -> RunFolder:
    """The run folder at `path`, if its training has ended; `RunFolderError` otherwise."""
    run = RunFolder.open(path)
    if not (run.path / "model.json").is_file():
        raise RunFolderError(f"{path} has not finished training; go on with it first (resume=True).")
    return run


def image_model(path: str | os.PathLike[str], device: torch.device, networks: str | bool | None = None) -> api.ImageModel:
    """The model in a folder; `networks` as for `vaefast.load`.

    Raises ArgumentError for one that draws no images, besides what `vaefast.load` raises.
    """
    model = drawing_model(path, device, networks)
    if not model.draws_images:
        raise ArgumentError(f"{path} holds a model of data that are no images; it is not scored as one of images is.")
    return model


def drawing_model(path: str | os.PathLike[str], device: torch.device, networks: str | bool | None = None) -> api.ImageModel:
    """The model in a folder, of images or of other data; `networks` as for `vaefast.load`.

    Raises ArgumentError for one that draws codes alone, besides what `vaefast.load` raises.
    """
    model = api.load(path, device=device, networks=networks)
    if not isinstance(model, api.ImageModel):
        raise ArgumentError(f"{path} holds a model of kind {model.kind!r}, which draws no images; use its sample() in Python.")
    return model


def run_data(run: RunFolder, data_root: str | None = None, more: dict[str, Any] | None = None) -> Callable[[str], Any]:
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

    def split(which: str) -> Any:
        images = load_data(name, root, which, **options)
        if which == "train" and images.digest != run.config["data"]["digest"]:
            raise DataError(f"{name} in {root} is not the data that {run.path} was trained on (its digest differs); "
                            "name the right folder as data_root.")
        return images

    return split
