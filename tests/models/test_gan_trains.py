"""GANs do what GANs are for: modes of a ring, digits, and what a generator that says one thing looks like."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from vaefast.models import GAN
from vaefast.training import Stage, StageSettings, Trainer
from vaefast.training.sources import ImageSource

MODES, RADIUS, STD = 8, 2.0, 0.05
HALF_WIDTH = 2.5
"""Of the square that a GAN gets as [0, 1]^2, since DRAGAN's penalty is taken in the image range alone."""
CPU = torch.device("cpu")


def _centres() -> Tensor:
    angles = torch.arange(MODES) * (2 * math.pi / MODES)
    return RADIUS * torch.stack([angles.cos(), angles.sin()], 1)


def _ring(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return _centres()[torch.randint(MODES, (n,), generator=generator)] + STD * torch.randn(n, 2, generator=generator)


def _scaled(points: Tensor) -> Tensor:
    return 0.5 + points / (2 * HALF_WIDTH)


def _mlp(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, outputs))


def _fit(model: GAN, points: Tensor, **settings) -> list[dict]:
    stage = Stage("gan", model, lambda: ImageSource(points, CPU, scale=False), StageSettings(schedule="constant", **settings))
    return Trainer(model, [stage], device="cpu", precision="fp32").fit().records


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("loss", "k", "beta1", "steps", "options"), [
    ("ns", 2, 0.0, 6000, {}), ("wgan-gp", 4, 0.5, 4000, {"lambda_": 1.0}),
    ("dragan", 4, 0.5, 6000, {"penalty": "dragan-v3", "lambda_": 1.0})], ids=["ns", "wgan-gp", "dragan"])
def test_all_modes_of_a_ring_are_covered(loss, k, beta1, steps, options, seed):
    torch.manual_seed(seed)
    generator = _mlp(k, 2)
    generator.image_range = (-1, 1)
    model = GAN(generator, _mlp(2, 1), image_shape=(2,), latent_dim=k, loss=loss, z="normal", disc_iters=3, **options)
    _fit(model, _scaled(_ring(8192)), steps=steps, batch_size=256, lr=1e-3, betas=(beta1, 0.9))
    samples = HALF_WIDTH * (2 * model.eval().sample(4000, torch.Generator().manual_seed(2)).detach() - 1)
    distance, nearest = torch.cdist(samples, _centres()).min(1)
    near = distance < 0.3
    counts = torch.bincount(nearest[near], minlength=MODES)
    assert counts.min() >= 0.005 * len(samples), counts
    if loss != "ns":  # which holds all of them, but not evenly
        assert counts.min() > 0.5 * len(samples) / MODES, counts
    assert near.double().mean() > 0.7


def test_a_generator_that_says_one_thing_has_no_diversity():
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image = nn.Parameter(torch.zeros(2))

        def forward(self, z: Tensor) -> Tensor:
            return self.image.expand(len(z), 2)

    model = GAN(Constant(), _mlp(2, 1), image_shape=(2,), latent_dim=2)
    records = _fit(model, _ring(256), steps=100, batch_size=32, lr=1e-3)
    assert [r["generator/diversity"] for r in records] == [0.0, 0.0]
    free = GAN(nn.Linear(2, 2), _mlp(2, 1), image_shape=(2,), latent_dim=2)
    assert all(r["generator/diversity"] > 0.05 for r in _fit(free, _ring(256), steps=100, batch_size=32, lr=1e-3))


@pytest.mark.slow
def test_samples_of_digits_get_better(tmp_path, monkeypatch):
    """LSGAN with its authors' settings on the UCI digits: FD-classifier falls within its first hundred steps."""
    import vaefast
    from vaefast.experiments.run import load_data
    from vaefast.experiments.scoring.score_curve import ScoreCurve

    monkeypatch.setenv("VAEFAST_CACHE", str(tmp_path))
    train, test = (replace(images, images=images.images[..., 2:30, 2:30].contiguous())
                   for images in (load_data("digits", None, which) for which in ("train", "test")))
    torch.manual_seed(0)
    model = vaefast.GAN(train.image_shape, "lsgan")
    curve = ScoreCurve(train, test, device=CPU)
    first = curve(model, "stage1")["fd_classifier"]
    history = model.fit(train, steps=100, device="cpu", precision="fp32", progress=False,
                        evaluate=lambda stage: curve(model, stage), evaluate_every=2)
    scores = [r["fd_classifier"] for r in history.records if "fd_classifier" in r]
    falling = [first, *scores]  # after 2 epochs, 4, and at the end
    assert len(scores) == 3 and falling == sorted(falling, reverse=True) and scores[-1] < 0.6 * first, falling
