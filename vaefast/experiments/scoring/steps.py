"""What a Sequential VAE's chain does step by step: pictures, and whether the images get closer and sharper."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from vaefast import api, data, metrics
from vaefast.experiments.pictures.figures import COLOURS, GREY, label, panels, save_figure
from vaefast.experiments.pictures.grids import image_grid, save_png
from vaefast.experiments.scoring.codes import spread_over
from vaefast.experiments.scoring.registry import entry
from vaefast.files import write_atomically
from vaefast.training.storage import write_json

ROWS = 8
GIF_SIDE = 6
FRAME_MS, LAST_MS = 500, 2000
SCORED = 500
"""Samples, and images reconstructed, for the scores."""


@torch.no_grad()
def stepwise(model: api.ImageModel) -> TypeGuard[api.SequentialVAE]:
    """Whether the model draws images step by step."""
    return model.stepwise


def draw_steps(model: api.SequentialVAE, images: Tensor, run: Path, seed: int = 1) -> None:
    """samples_steps.png, samples_steps.gif and reconstructions_steps.png, of images [N, C, H, W]."""
    generator = torch.Generator(model.device).manual_seed(seed)
    samples = model.steps(GIF_SIDE**2, generator).cpu()
    save_png(run / "samples_steps.png", columns(samples[:, :ROWS]))
    save_gif(run / "samples_steps.gif", samples)
    some = spread_over(images, max(2, int(model.first.batch)))  # a batch as large as those of the training
    x = data.to_float(some).to(model.device)
    chains = model.reconstruct_steps(x, generator)[:, :ROWS].cpu()
    save_png(run / "reconstructions_steps.png", columns(torch.cat([chains, x[None, :ROWS].cpu()])))


def columns(chains: Tensor) -> Any:
    """Chains [T, n, C, H, W] as a picture: a row for each, a column for each step."""
    return image_grid(chains.transpose(0, 1).flatten(0, 1), chains.shape[1], chains.shape[0])


def save_gif(path: Path, chains: Tensor) -> Path:
    """Chains [T, n, C, H, W] as a grid that goes through the steps, the last one standing longer, over and over."""
    from PIL import Image

    side = round(chains.shape[1] ** 0.5)
    grids = [image_grid(frame, cols=side) for frame in chains]
    frames = [Image.fromarray(grid.squeeze(2) if grid.shape[2] == 1 else grid) for grid in grids]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], loop=0,
                   duration=[FRAME_MS] * (len(frames) - 1) + [LAST_MS])
    return write_atomically(path, buffer.getvalue())


@torch.no_grad()
def score_steps(model: api.SequentialVAE, images: Tensor, *, split: str, seed: int = 0) -> dict[str, Any]:
    """Sharpness of samples and reconstructions, and the reconstructions' error, of every step.

    Args:
        images: real ones [N, C, H, W]; up to 500 of them are reconstructed, and as many samples drawn.
        split: what they are, for the record.

    Returns:
        Lists of T numbers: `sharpness_samples` and `sharpness_reconstructions` (`metrics.sharpness`, mean over images) and
        `reconstruction_error` (mean squared error per pixel on the [0, 1] scale); `sharpness_data`, the images' own;
        `samples`, `images`, `split`, `seed`, and `batch`, by whose statistics the networks normalised.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    x = spread_over(images, SCORED)
    count, size, steps = len(x), int(model.first.batch), model.num_steps
    sharp, sharp_again, error = (torch.zeros(steps, dtype=torch.float64) for _ in range(3))
    for start in range(0, count, size):
        n = min(size, count - start)
        sharp += _sharpness(model.steps(size, generator)[:, :n])
        first = max(0, min(start, count - size))  # the last batch is as large as the others
        batch = data.to_float(x[first:first + size].to(model.device))
        chains, batch = (t[..., -n:, :, :, :] for t in (model.reconstruct_steps(batch, generator), batch))
        sharp_again += _sharpness(chains)
        error += (chains - batch).double().square().mean((2, 3, 4)).sum(1).cpu()
    return {"sharpness_data": metrics.sharpness(x).mean().item(), "sharpness_samples": (sharp / count).tolist(),
            "sharpness_reconstructions": (sharp_again / count).tolist(), "reconstruction_error": (error / count).tolist(),
            "samples": count, "images": count, "split": split, "batch": size, "seed": seed}


def _sharpness(chains: Tensor) -> Tensor:
    """Sum over images of the sharpness of each step, [T]."""
    return torch.stack([metrics.sharpness(images.cpu()).sum() for images in chains])


def write_steps(model: api.SequentialVAE, images: Tensor, run: Path, *, split: str, seed: int = 0) -> dict[str, Any]:
    """Scores of every step into steps.json, and drawn in steps.png and steps.svg."""
    scores = score_steps(model, images, split=split, seed=seed)
    write_json(run / "steps.json", scores)
    draw_scores(scores, run / "steps")
    return scores


def by_step(scores: dict[str, Any]) -> dict[str, float]:
    """What `write_steps` returned, as the entries of an evaluation, by name and step."""
    entries = {entry("step_sharpness", "data"): scores["sharpness_data"]}
    for name, values in (("step_error", scores["reconstruction_error"]), ("step_sharpness", scores["sharpness_samples"])):
        entries |= {entry(name, f"step{t}"): value for t, value in enumerate(values, 1)}
    return entries


def draw_scores(scores: dict[str, Any], stem: Path) -> list[Path]:
    """Reconstruction error and sharpness against the step."""
    figure, (left, right) = panels(2)
    steps = range(1, len(scores["reconstruction_error"]) + 1)
    left.plot(steps, scores["reconstruction_error"], marker="o", color=COLOURS[0])
    left.set_ylim(bottom=0)
    label(left, f"reconstructions of {scores['images']:,} {scores['split']} images", "step t", "mean squared error per pixel")
    for name, colour in (("samples", COLOURS[1]), ("reconstructions", COLOURS[0])):
        right.plot(steps, scores[f"sharpness_{name}"], marker="o", color=colour, label=name)
    right.axhline(scores["sharpness_data"], color=GREY, linestyle="--", label="data")
    right.set_yscale("log")
    label(right, "sharpness", "step t", "variance of the Laplacian")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    return save_figure(figure, stem)
