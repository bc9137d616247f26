"""The second stage for anyone's latents."""

from __future__ import annotations

import signal
import warnings

import numpy as np
import pytest
import torch

import vaefast
from vaefast.errors import ArgumentError, CheckpointError, DataError

FAST = {"batch_size": 256, "lr": 3e-3, "schedule": "cosine", "device": "cpu", "progress": False}
SHORT = {"steps": 1, "batch_size": 8, "device": "cpu", "progress": False}
CENTRES = torch.tensor([[-1.5, 0.0], [1.5, 0.0]])


def latents(n: int) -> torch.Tensor:
    return CENTRES[torch.randint(2, (n,))] + 0.15 * torch.randn(n, 2)


def test_the_papers_networks():
    model = vaefast.SecondStage(64)
    assert sum(p.numel() for p in model.parameters()) == 2_305_152 + 2_235_457
    assert model.defaults[0].epochs == 800
    assert model.config() == {"latent_dim": 64, "kind": "vae", "classes": None, "condition_dim": None, "gamma": "learned",
                              "gamma_init": 1.0, "width": 1024, "depth": 3}


def test_a_standard_normal_costs_its_entropy():
    k = 5
    model = vaefast.SecondStage(k, width=64)
    history = model.fit((torch.zeros(2048, k), torch.ones(2048, k)), steps=1000, **FAST)
    last = history.of("stage2")[-3:]
    assert sum(r["loss"] for r in last) / 3 == pytest.approx(1.41894 * k, rel=0.02)
    z = model.sample(20_000)
    assert z.mean(0).abs().max() < 0.12 and (z.T.cov() - torch.eye(k)).abs().max() < 0.15


@pytest.mark.slow
def test_samples_match_a_mixture():
    model = vaefast.SecondStage(2, width=64)
    model.fit(latents(20_000), steps=2500, **FAST)
    z = model.sample(10_000, torch.Generator().manual_seed(0))
    assert (torch.cdist(z, CENTRES).min(1).values < 0.6).float().mean() > 0.93  # of N(0, I) about a tenth
    assert 0.4 < (z[:, 0] < 0).float().mean() < 0.6
    u = model.encode(latents(5000)).sample()
    assert u.mean(0).abs().max() < 0.2 and (u.var(0) - 1).abs().max() < 0.3
    assert model.reconstruct(z).shape == z.shape and model.decode(u).shape == u.shape


def test_posteriors_are_drawn_afresh_and_points_are_not(monkeypatch):
    seen = []
    original = vaefast.models.VAE.loss

    def loss(self, z, generator=None):
        seen.append(z.clone())
        return original(self, z, generator)

    monkeypatch.setattr(vaefast.models.VAE, "forward", loss)
    mu, std = torch.randn(8, 3), torch.tensor([0.0, 0.5, 1.0]).expand(8, 3)
    for data in (mu, (mu, std)):
        seen.clear()
        vaefast.SecondStage(3, width=8).fit(data, epochs=400, batch_size=8, lr=1e-6, device="cpu", progress=False)
        # the order differs an epoch: sort by a column that has no noise
        z = torch.stack([batch[batch[:, 0].argsort()] for batch in seen]) - mu[mu[:, 0].argsort()]
        want = torch.zeros(3) if data is mu else std[0]
        assert (z.square().mean((0, 1)).sqrt() - want).abs().max() < 0.05


def test_resume_save_and_load(tmp_path):
    data = (torch.randn(96, 3), torch.full((96, 3), 0.1))

    def fit(out, resume=False, callbacks=()):
        torch.manual_seed(1)
        model = vaefast.SecondStage(3, width=16)
        model.fit(data, epochs=4, batch_size=16, device="cpu", progress=False, out=out, resume=resume, callbacks=callbacks)
        return model

    class Stop(vaefast.training.Callback):
        def step(self, trainer):
            if trainer.done == 7:
                signal.raise_signal(signal.SIGINT)

    whole = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", callbacks=[Stop()])
    resumed = fit(tmp_path / "cut", resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters()))
    loaded = vaefast.load(tmp_path / "whole")
    assert isinstance(loaded, vaefast.SecondStage) and loaded.config() == whole.config()
    g = [torch.Generator().manual_seed(1) for _ in range(2)]
    assert torch.equal(loaded.sample(5, g[0]), whole.sample(5, g[1]))
    with pytest.raises(vaefast.errors.RunFolderError, match="other settings"):
        data[0].add_(1)
        fit(tmp_path / "cut", resume=True)


def test_the_scale_is_looked_at():
    options = {"steps": 1, "batch_size": 8, "device": "cpu", "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vaefast.SecondStage(2, width=8).fit(torch.randn(32, 2), **options)
    for factor in (20.0, 0.02):
        with pytest.warns(UserWarning, match="mean standard deviation"):
            vaefast.SecondStage(2, width=8).fit(factor * torch.randn(32, 2), **options)


def test_what_cannot_work_is_refused(tmp_path):
    for arguments in ({"latent_dim": 0}, {"width": 0}, {"depth": 1.5}, {"gamma": -1.0}):
        with pytest.raises(ArgumentError):
            vaefast.SecondStage(**{"latent_dim": 2, **arguments})
    model = vaefast.SecondStage(2, width=8)
    with pytest.raises(ArgumentError, match="latent_dim = 2"):
        model.fit(torch.randn(32, 3))
    with pytest.raises(DataError, match="NaN"):
        model.fit(torch.full((32, 2), torch.nan))
    with pytest.raises(ArgumentError, match="2 values"):
        model.fit(torch.randn(32, 2), epochs=(1, 2))
    with pytest.raises(ArgumentError, match="epochs is 1 and steps is 1"):
        model.fit(torch.randn(32, 2), epochs=1, steps=1)
    model.save(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError):
        vaefast.load(tmp_path / "m")


@pytest.mark.parametrize("shift", [50.0, torch.tensor([0.0, -30.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.0, 8.0])])
def test_latents_far_from_0_are_told_of(shift):
    latents = torch.randn(256, 4) + shift
    with pytest.warns(UserWarning, match="Subtract the mean of each dimension"):
        vaefast.SecondStage(4, width=8).fit(latents, **SHORT)
    with pytest.warns(UserWarning, match="Subtract the mean of each dimension"):
        vaefast.SecondStage(4, width=8).fit((latents, torch.full((256, 4), 0.1)), **SHORT)


def test_latents_of_usual_place_and_scale_are_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for latents in (torch.randn(256, 4), torch.randn(256, 4).relu(), 0.3 * torch.randn(256, 4) + 1):
            vaefast.SecondStage(4, width=8).fit(latents, **SHORT)


class Frame:
    """A data frame, as far as it counts."""

    def __init__(self, values):
        self.values = values

    def to_numpy(self):
        return self.values


@pytest.mark.parametrize("dtype", ["float64", "int64", ">f4", "object"])
def test_frames_and_a_y(dtype):
    values = (10 * np.random.default_rng(0).standard_normal((64, 3))).round().astype(dtype)
    for data in (Frame(values), values, (Frame(values), Frame(np.abs(values)))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            second = vaefast.SecondStage(3, width=8)
            second.fit(data, np.zeros(64), **SHORT)
            assert second.encode(Frame(values)).mean.shape == (64, 3)
    with pytest.raises(ArgumentError, match="latents is of type Frame"):
        vaefast.SecondStage(1).fit(Frame(np.array([["a"]], dtype=object)), **SHORT)
