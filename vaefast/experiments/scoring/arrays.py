"""Scores of a model of data that are no images, in the data's own units: what applies to vectors, sequences and volumes alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaefast import api, metrics
from vaefast.data import ArraySet, to_float
from vaefast.errors import ArgumentError
from vaefast.experiments.scoring.codes import aggregate, spread_over, told_batches
from vaefast.experiments.scoring.draws import scored_samplers
from vaefast.experiments.scoring.latent_page import write_latents
from vaefast.experiments.scoring.latent_scores import latent_scores
from vaefast.experiments.scoring.registry import entry
from vaefast.models.draws import Sampler
from vaefast.training.storage import write_json

SAMPLES = 10_000


@torch.no_grad()
def sample_arrays(model: api.ImageModel, draw: Sampler, n: int, *, seed: int = 0, batch_size: int = 1000) -> Tensor:
    """n examples that `draw` gives, float32 [n, *data_shape] on the CPU, drawn in batches on the model's device."""
    generator = torch.Generator(model.device).manual_seed(seed)
    sizes = [min(batch_size, n - start) for start in range(0, n, batch_size)]
    return torch.cat([draw(size, generator).float().cpu() for size in sizes])


@torch.no_grad()
def score_arrays(model: api.ImageAutoencoder, train: ArraySet, test: ArraySet, out: Path, *, samples: int = SAMPLES,
                 seed: int = 0, which: Sequence[str] | None = None, weights: str | os.PathLike[str] | None = None,
                 coded: int | None = None, features: Any = None, against: str = "test", guidance: float | None = None,
                 say: Callable[[str], None] = print,
                 about: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Score a model against test examples; writes evaluation.json, and latents.json and latents.png, into folder `out`.

    Taken are the sliced Wasserstein distance of `samples` samples of each stage, of reconstructions and of training examples to
    the test examples, the error of reconstructions, and of the codes what images' codes are scored by. Scores of images are left
    out, and `say` is told so.

    Raises:
        ArgumentError: fewer than 2 samples, or metrics, weights or features of images.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 2:
        raise ArgumentError(f"{samples!r} samples were asked for; expected 2 or more, as a distance needs their spread.")
    for name, given in (("metrics", which), ("weights", weights), ("features", features)):
        if given is not None:
            raise ArgumentError(f"{name} {'are' if name != 'weights' else 'of an image network were'} given for data of shape "
                                f"{model.data_shape}, which are no images; leave them out.")
    if against != "test":
        raise ArgumentError(f"against is {against!r}; data of shape {model.data_shape} are compared with test examples alone.")
    samplers = scored_samplers(model, guidance)
    say(f"scoring {out if about is None else f'a {model.kind} model'}: {samples:,} samples of each kind against "
        f"{min(samples, len(test)):,} test examples of shape {'x'.join(map(str, model.data_shape))}; scores of images (FID and "
        "its kin, sharpness) are left out")
    scored = spread_over(test, samples)  # sets can be sorted
    real = to_float(scored.values)
    result: dict[str, Any] = {"samples": samples, "real": len(real), "against": "test", "seed": seed,
                              "data_shape": list(model.data_shape)}

    def add(kind: str, values: Tensor) -> None:
        result[entry("sliced_values", kind)] = metrics.sliced_wasserstein(real, values, seed=seed) / real[0].numel() ** 0.5

    for kind, (draw, more) in samplers.items():
        add(kind, sample_arrays(model, draw, samples, seed=seed + more))
    result |= {} if guidance is None else {"guidance": guidance}
    generator = torch.Generator(model.device).manual_seed(seed)
    again = torch.cat([model.reconstruct(to_float(batch), generator, **given).cpu()
                       for batch, given in told_batches(model, scored)])
    add("reconstructions", again)
    error, spread = (x.double().square().mean().item() for x in (again - real, real - real.mean(0)))
    result |= {"value_error": error, "unexplained": error / spread if spread else 0.0}
    if test is not train:
        chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:samples]
        add("test_vs_train", to_float(train.values[chosen]))
    if model.infers:
        of_codes = latent_scores(model, aggregate(model, spread_over(train, coded), seed), samples, seed)
        if "gamma_x" in of_codes:
            of_codes["gamma_values"] = of_codes.pop("gamma_x")
        result |= of_codes
        write_latents(model, spread_over(test, coded), out, seed,
                      None if test.labels is None else spread_over(test.labels, coded))
    write_json(out / "evaluation.json", {**result, **(about or {})})
    return result
