"""The Sequential VAE as users meet it."""

from __future__ import annotations

import pytest
import torch

import vaefast
from vaefast.errors import ArgumentError
from vaefast.models import InfusionChain
from vaefast.training.schedule import Ramp

SHAPE = (1, 12, 12)
X = torch.rand(60, *SHAPE, generator=torch.Generator().manual_seed(0))
VARIANTS = {
    "plain": {"steps": 3},
    "shared": {"steps": 4, "shared": True},
    "predicted": {"steps": 3, "variant": "celeba-pred", "denoise_train": True},
    "last": {"steps": 2, "variant": "lsun-final", "gated": False},
    "single": {"variant": "single", "rungs": (1, 2, 2, 2)},
    "infusion": {"steps": 3, "inference": "infusion", "reveal": 0.1},
}


def make(name: str) -> vaefast.SequentialVAE:
    torch.manual_seed(3)
    return vaefast.SequentialVAE(SHAPE, **{"width": 1 / 12, **VARIANTS[name]})


def fit(model, **options):
    return model.fit(X, **{"steps": 4, "batch_size": 20, "device": "cpu", "progress": False, "log_every": 2, **options})


@pytest.mark.parametrize("name", VARIANTS)
def test_train_use_save_load_and_resume(name, tmp_path, stop_at):
    whole = make(name)
    record = fit(whole, out=tmp_path / "whole").last("stage1")
    steps = whole.num_steps
    by_step = {f"{kind}_{t}" for kind in ("rec", "kl") for t in range(1, steps + 1)}
    assert by_step | {"loss", "reconstruction", "kl"} <= set(record)
    assert f"rec_{steps + 1}" not in record and int(whole.first.batch) == 20
    with torch.no_grad():
        chains = whole.steps(5), whole.reconstruct_steps(X[:5]), whole.decode_steps(whole.sample_codes(5))
        for images in chains:
            assert images.shape == (steps, 5, *SHAPE) and images.min() >= 0 and images.max() <= 1
        assert whole.sample(45).shape == (45, *SHAPE) == whole.reconstruct(X[:45]).shape

    loaded = vaefast.load(tmp_path / "whole")
    assert type(loaded) is vaefast.SequentialVAE and loaded.config() == whole.config() and int(loaded.first.batch) == 20
    g = [torch.Generator().manual_seed(5) for _ in range(4)]
    with torch.no_grad():
        assert torch.equal(loaded.sample(7, generator=g[0]), whole.sample(7, generator=g[1]))
        torch.testing.assert_close(loaded.sample(7, generator=g[2]), whole.steps(7, generator=g[3])[-1])

    with pytest.raises(KeyboardInterrupt):
        fit(make(name), out=tmp_path / "cut", callbacks=[stop_at(2)])
    resumed = make(name)
    fit(resumed, out=tmp_path / "cut", resume=True)
    state = resumed.state_dict()
    assert all(torch.equal(t, state[key]) for key, t in whole.state_dict().items())


def test_the_papers_settings():
    (stage,) = vaefast.SequentialVAE.defaults
    assert (stage.lr, stage.batch_size, stage.schedule, stage.betas) == (2e-4, 100, "constant", (0.9, 0.999))
    ramp = stage.ramps["kl_weight"]
    assert ramp.at(0) == 0 and ramp.at(10_000) == pytest.approx(1 - 2.718281828459045**-1)
    with torch.device("meta"):
        model = vaefast.SequentialVAE((3, 64, 64))
    assert model.num_steps == 8 and sum(p.numel() for p in model.parameters()) == 160_109_663


def test_the_weight_of_the_kl_rises(tmp_path):
    model = make("single")
    fit(model, settings=vaefast.StageSettings(steps=4, batch_size=20, ramps={"kl_weight": Ramp(0, 1, 2, shape="exponential")}),
        steps=None, batch_size=None)
    assert float(model.first.kl_weight) == pytest.approx(1 - 2.718281828459045**-1.5)


def test_infusion_is_a_kind_of_inference():
    model = make("infusion")
    assert isinstance(model.first, InfusionChain) and not model.first.infers
    assert model.encode(X[:3]).sample().shape == (3, model.latent_dim)


@pytest.mark.parametrize("options, message", [
    ({"variant": "faces"}, "variant is 'faces'"), ({"variant": "single", "steps": 2}, "has one step"),
    ({"steps": 0}, "steps is 0"), ({"width": -1.0}, "width is -1.0"), ({"rungs": (1, 2)}, "rungs has 2"),
    ({"inference": "none"}, "inference is 'none'"),
    ({"inference": "infusion", "denoise_train": True}, "infusion has no codes"),
    ({"inference": "infusion", "reveal": 0.5}, "reveal is 0.5")])
def test_arguments_that_cannot_work_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        vaefast.SequentialVAE(SHAPE, **{"width": 1 / 12, **options})
