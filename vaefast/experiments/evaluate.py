"""Scores of a trained run: Fréchet distances in classifier features, and MMD of its latents to the prior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vaefast import api, data, metrics
from vaefast.errors import DataError, RunFolderError
from vaefast.experiments.report import write_report
from vaefast.experiments.run import finished, load_data, sample_images, to_uint8
from vaefast.models.mode import evaluating
from vaefast.training.device import resolve_device
from vaefast.training.sources import ImageSource, PosteriorSource
from vaefast.training.storage import write_json

SAMPLES = 10_000


def evaluate(path: str, *, data_root: str | None = None, samples: int = SAMPLES, seed: int = 0, device: str = "auto",
             say: Callable[[str], None] = print) -> dict[str, Any]:
    """Score the run at `path` against its data set's test images; writes evaluation.json and the report.

    Distances are taken between `samples` generated images and as many real test images (all, where there are fewer): stage
    1's and stage 2's samples, test images reconstructed (by stage 1 alone, and with their codes passed through stage 2), and,
    as the best that can be asked for, real training images. The features are those of a classifier trained on the data
    set's own labels.

    Raises:
        DataError: the data set has no labels, or is not the one that the run was trained on.
        RunFolderError: no finished run there.
    """
    run = finished(path)
    chosen = resolve_device(device)
    model = api.load(run.path, device=chosen)
    name, root = run.config.get("data_name"), data_root or run.config.get("data_root")
    if name is None:
        raise RunFolderError(f"{path} was not trained on a named data set; score it in Python with vaefast.metrics.")
    options = run.config.get("data_options", {})
    train, test = (load_data(name, root, split, **options) for split in ("train", "test"))
    if train.digest != run.config["data"]["digest"]:
        raise DataError(f"{name} in {root} is not the data that {path} was trained on (its digest differs); "
                        "name the right folder with --data-root.")
    say(f"scoring {path}: {samples:,} samples of each stage against {min(samples, len(test)):,} {name} test images")
    classifier = metrics.classifier_for(train, test_set=test, device=chosen, notice=say)
    real = test.images[:samples]
    statistics = metrics.classifier_statistics(classifier, real)

    def distance(images: Tensor) -> float:
        return statistics.distance(metrics.classifier_statistics(classifier, images))

    result: dict[str, Any] = {"samples": samples, "real": len(real), "seed": seed,
                              "classifier/version": classifier.info["version"],
                              "classifier/test_accuracy": classifier.info["test_accuracy"]}
    for stage in (1, 2):
        result[f"fd_classifier/stage{stage}"] = distance(sample_images(model, samples, stage=stage, seed=seed + stage))
    once, twice, error = _reconstruct(model, real, chosen, seed)
    result["fd_classifier/reconstructions"] = distance(once)
    result["fd_classifier/reconstructions_both_stages"] = distance(twice)
    result["fd_classifier/test_vs_train"] = distance(train.images[torch.randperm(
        len(train), generator=torch.Generator().manual_seed(seed))[:samples]])
    result["reconstruction_error"] = error
    result |= _latents(model, train, chosen, samples, seed)
    write_json(run.path / "evaluation.json", result)
    write_report(run.path)
    return result


@torch.no_grad()
def _reconstruct(model: api.TwoStageVAE, images: Tensor, device: torch.device, seed: int) -> tuple[Tensor, Tensor, float]:
    """Reconstructions as uint8, with codes of stage 1 and with codes that went through stage 2; squared error of the first.

    The second kind differs from stage 2's samples in u alone, drawn from q(u|z) and not from N(0, I).
    """
    generator = torch.Generator(device).manual_seed(seed)
    once: list[Tensor] = []
    twice: list[Tensor] = []
    error = 0.0
    for batch in images.split(1000):
        x = data.to_float(batch.to(device))
        z = model.encode(x).sample(generator)
        x_hat = model.decode(z)
        error += (x - x_hat).square().sum().item()
        once.append(to_uint8(x_hat))
        twice.append(to_uint8(model.decode(model.recode(z, generator))))
    return torch.cat(once), torch.cat(twice), error / images.numel()


@torch.no_grad()
def _latents(model: api.TwoStageVAE, train: data.ImageSet, device: torch.device, samples: int, seed: int) -> dict[str, Any]:
    """MMD to N(0, I) of draws from q(z) and q(u), active dimensions, and the gammas."""
    source = PosteriorSource.of(model.first, ImageSource(train.images, device), device)
    index = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:samples].to(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []), evaluating(model.second):
        torch.manual_seed(seed)
        (z,) = source.ready(source.raw(index))
        u = model.second.encode(z).sample()
    result: dict[str, Any] = {}
    for stage, codes in (("stage1", z), ("stage2", u)):
        found = metrics.latent_mmd(codes, seed=seed)
        result |= {f"mmd/{stage}": found["value"], f"mmd/{stage}_standard_error": found["standard_error"]}
    result["mmd/reference"] = found["reference"]
    variance = source.posterior.std.square().mean(0)
    result |= {"active_dimensions": metrics.active_dimensions(variance), "latent_dim": model.latent_dim,
               "gamma_x": float(model.first.gamma), "gamma_z": float(model.second.gamma)}
    return result
