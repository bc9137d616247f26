"""A training run from the command line's words to a folder with a model, pictures and a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vaefast import api, data
from vaefast.errors import ArgumentError, RunFolderError
from vaefast.experiments.curves import draw_curves
from vaefast.experiments.pictures import image_grid, reconstruction_grid, save_png
from vaefast.experiments.presets import preset
from vaefast.experiments.report import write_report
from vaefast.experiments.snapshots import SampleGrids
from vaefast.training import Callback
from vaefast.training.distributed import world
from vaefast.training.loggers import TensorBoard, WeightsAndBiases
from vaefast.training.run_folder import RunFolder

GRID = 10
PAIRS = 48


def load_data(name: str, root: str | None, split: str, **options: Any) -> data.ImageSet:
    """The named data set; "digits" needs no root."""
    return data.load(name, root, split=split, **options)


def train(kind: str, *, data_name: str, data_root: str | None, out: str, preset_name: str = "quick",
          epochs: tuple[float, ...] | None = None, steps: tuple[int, ...] | None = None,
          stage_overrides: dict[str, Any] | None = None, model_overrides: dict[str, Any] | None = None, seed: int = 0,
          device: str = "auto", precision: str = "auto", resume: bool = False, command: str = "",
          data_options: dict[str, Any] | None = None, sample_every: float | None = None, tensorboard: bool = False,
          wandb: str | None = None, trainer: dict[str, Any] | None = None,
          progress: bool = True) -> tuple[api.TwoStageVAE, RunFolder]:
    """Train `kind` on a data set into run folder `out`, and draw its pictures and report.

    `epochs` and `steps` hold one value for all stages or one each; they and the overrides replace what the preset
    says. `trainer` holds options of `vaefast.Trainer`. Raises the package's errors, each with one clear sentence; nothing
    is overwritten.
    """
    chosen = preset(kind, preset_name)
    images = load_data(data_name, data_root, "train", **(data_options or {}))
    stages = chosen.stages
    for name, values in (("epochs", epochs), ("steps", steps)):
        if values is not None:
            if len(values) not in (1, len(stages)):
                raise ArgumentError(f"{name} has {len(values)} values; {kind} has {len(stages)} stages: give 1 or {len(stages)}.")
            other = "steps" if name == "epochs" else "epochs"
            stages = tuple(replace(s, **{name: values[i if len(values) > 1 else 0], other: None})
                           for i, s in enumerate(stages))
    stages = tuple(replace(s, **(stage_overrides or {})) for s in stages)
    torch.manual_seed(seed)
    model = api.MODELS[kind](images.image_shape, **{**chosen.model, **(model_overrides or {})})
    info = {"preset": preset_name, "data_name": data_name, "data_options": data_options or {},
            "data_root": str(Path(data_root).resolve()) if data_root else None, "command": command}
    model.fit(images, settings=stages, out=out, resume=resume, seed=seed, device=device, precision=precision,
              progress=progress, callbacks=_callbacks(sample_every, tensorboard, wandb), info=info, **(trainer or {}))
    run = RunFolder.open(out)
    if world().writes:
        draw_pictures(model, images, run)
    return model, run


def _callbacks(sample_every: float | None, tensorboard: bool, wandb: str | None) -> list[Callback]:
    found: list[Callback] = []
    if sample_every is not None:
        found.append(SampleGrids(sample_every))
    if tensorboard:
        found.append(TensorBoard())
    if wandb is not None:
        found.append(WeightsAndBiases(wandb))
    return found


@torch.no_grad()
def draw_pictures(model: api.TwoStageVAE, images: data.ImageSet, run: RunFolder, seed: int = 1) -> None:
    """samples_stage1.png, samples_stage2.png, reconstructions.png, curves.png and report.html in the run folder."""
    device = model.first.log_gamma.device
    generator = torch.Generator(device).manual_seed(seed)
    for stage in (1, 2):
        samples = model.sample(GRID * GRID, stage=stage, generator=generator)
        save_png(run.path / f"samples_stage{stage}.png", image_grid(samples.cpu(), GRID, GRID))
    originals = data.to_float(images.images[:PAIRS]).to(device)
    save_png(run.path / "reconstructions.png",
             reconstruction_grid(originals.cpu(), model.reconstruct(originals, generator).cpu()))
    draw_curves(run.read_metrics(), run.path / "curves.png")
    write_report(run.path)


@torch.no_grad()
def sample_images(model: api.TwoStageVAE, n: int, *, stage: int = 2, seed: int = 0, batch_size: int = 1000) -> torch.Tensor:
    """n samples as uint8 [n, C, H, W] on the CPU, drawn in batches; the same for every batch size that divides."""
    device = model.first.log_gamma.device
    generator = torch.Generator(device).manual_seed(seed)
    parts = []
    for start in range(0, n, batch_size):
        x = model.sample(min(batch_size, n - start), stage=stage, generator=generator)
        parts.append(to_uint8(x))
    return torch.cat(parts)


def to_uint8(x: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1] as uint8 on the CPU, rounded to the nearest level."""
    return x.mul(255).round_().clamp_(0, 255).to(torch.uint8).cpu()


def finished(path: str) -> RunFolder:
    """The run folder at `path`, if its training has ended; `RunFolderError` otherwise."""
    run = RunFolder.open(path)
    if not (run.path / "model.json").is_file():
        raise RunFolderError(f"{path} has not finished training; go on with it first (--resume).")
    return run
