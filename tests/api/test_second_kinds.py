"""The kinds of second stages: a flow and a mixture beside the paper's VAE."""

from __future__ import annotations

import math
import signal

import pytest
import torch

import vaefast
from vaefast.errors import ArgumentError, DataError
from vaefast.models import Mixture
from vaefast.nets import VelocityMaps
from vaefast.training import Callback

SMALL = {"width": 16, "depth": 1}
QUIET = {"device": "cpu", "progress": False}
CODES = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 1.0, 20.0]) + 5


def second(kind: str) -> vaefast.SecondStage:
    torch.manual_seed(0)
    return vaefast.SecondStage(3, kind=kind, **({} if kind == "mixture" else SMALL))


def fitted(kind: str, **options) -> vaefast.SecondStage:
    model = second(kind)
    model.fit(CODES, **QUIET, **options, **({} if kind == "mixture" else {"steps": 30, "batch_size": 64}))
    return model


@pytest.mark.parametrize("kind", ["flow", "mixture"])
def test_a_second_stage_comes_back_as_it_was(kind, tmp_path):
    model = fitted(kind, out=str(tmp_path / "run"))
    again = vaefast.load(tmp_path / "run")
    assert again.config()["kind"] == kind
    draw = [m.sample(7, torch.Generator().manual_seed(1)) for m in (model, again)]
    assert torch.equal(*draw) and draw[0].isfinite().all()
    torch.testing.assert_close(model.log_prob(CODES[:4].double() if kind == "mixture" else CODES[:4]).float(),
                               again.log_prob(CODES[:4]).float())


def test_a_flow_that_was_stopped_goes_on_bit_for_bit(tmp_path):
    class Stop(Callback):
        def step(self, trainer) -> None:
            if trainer.done == 13:
                signal.raise_signal(signal.SIGINT)

    whole = fitted("flow")
    with pytest.raises(KeyboardInterrupt):
        fitted("flow", out=str(tmp_path / "run"), callbacks=[Stop()])
    again = fitted("flow", out=str(tmp_path / "run"), resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize("data", ["points", "posteriors"])
def test_codes_of_any_scale_are_met(data):
    codes = CODES if data == "points" else (CODES, torch.full_like(CODES, 0.05))
    model = second("flow")
    model.fit(codes, **QUIET, steps=200, batch_size=128, lr=3e-3)
    drawn = model.sample(2000, torch.Generator().manual_seed(0))
    assert ((drawn.mean(0) - CODES.mean(0)).abs() < 0.3 * CODES.std(0)).all()
    assert ((drawn.std(0) / CODES.std(0) - 1).abs() < 0.3).all()


def test_a_mixtures_number_is_what_held_out_latents_ask_for():
    one = Mixture(3, "auto").fit(CODES)
    assert len(one.weights) == 1
    g = torch.Generator().manual_seed(0)
    centres = 10 * torch.randn(20, 3, generator=g)
    many = centres[torch.randint(20, (4000,), generator=g)] + 0.1 * torch.randn(4000, 3, generator=g)
    found = Mixture(3, "auto").fit(many)
    assert len(found.weights) in (20, 50)
    assert found.log_prob(many).mean() > Mixture(3, 5).fit(many).log_prob(many).mean() + 1
    assert len(Mixture(3, "auto").fit(CODES[:2]).weights) == 1  # fewer latents than any number of components


@pytest.mark.parametrize("kind", ["flow", "mixture"])
def test_a_two_stage_model_draws_by_it(kind, tmp_path):
    images = torch.randint(0, 256, (64, 1, 12, 12), dtype=torch.uint8)
    model = vaefast.TwoStageVAE((1, 12, 12), 3, nets="residual", net_options={"width": 4, "depth": 1, "hidden": 8}, second=kind,
                                gamma="optimal", **({} if kind == "mixture" else {"second_width": 8, "second_depth": 1}))
    model.fit(images, steps=4, batch_size=16, out=str(tmp_path / "run"), **QUIET)
    again = vaefast.load(tmp_path / "run")
    draw = [m.sample(5, torch.Generator().manual_seed(2)) for m in (model, again)]
    assert draw[0].shape == (5, 1, 12, 12) and torch.equal(*draw) and list(model.samplers()) == ["prior", "second"]
    z = model.sample_codes(40)
    if kind == "flow":
        torch.testing.assert_close(model.recode(z), z, rtol=0.1, atol=0.1)
    else:
        with pytest.raises(ArgumentError, match="no latents u"):
            model.recode(z)


@pytest.mark.parametrize("kind", ["vae", "flow", "mixture"])
def test_codes_that_are_maps(kind, tmp_path):
    images = torch.randint(0, 256, (64, 3, 16, 16), dtype=torch.uint8)
    model = vaefast.TwoStageVAE((3, 16, 16), (2, 4, 4), nets="residual", net_options={"width": 4, "depth": 1}, second=kind,
                                gamma="optimal", **({} if kind == "mixture" else {"second_width": 8, "second_depth": 1}))
    model.fit(images, steps=4, batch_size=16, out=str(tmp_path / "run"), **QUIET)
    again = vaefast.load(tmp_path / "run")
    assert isinstance(getattr(again.second, "velocity", None), VelocityMaps) == (kind == "flow")
    assert again.latent_dim == 32 and again.encode(images[:3]).mean.shape == (3, 32)
    draw = [m.sample(5, torch.Generator().manual_seed(2)) for m in (model, again)]
    assert draw[0].shape == (5, 3, 16, 16) and torch.equal(*draw)


def test_a_flow_on_maps_learns_where_codes_have_neighbours():
    """Maps that are smooth: the differences of neighbours that it draws are as small as theirs."""
    g = torch.Generator().manual_seed(0)
    maps = torch.nn.functional.avg_pool2d(torch.randn(2000, 1, 10, 10, generator=g), 3, 1)
    torch.manual_seed(0)
    second = vaefast.SecondStage((1, 8, 8), kind="flow", width=16, depth=1)
    second.fit(maps.flatten(1), steps=200, batch_size=64, lr=3e-3, **QUIET)

    def roughness(z: torch.Tensor) -> float:
        return float(z.view(-1, 8, 8).diff(dim=2).square().mean() / z.var())

    assert roughness(second.sample(500, torch.Generator().manual_seed(1))) < 1.5 * roughness(maps.flatten(1))


@pytest.mark.parametrize("call, error, words", [
    (lambda: vaefast.TwoStageVAE((1, 16, 16), (2, 4, 4)), ArgumentError, "codes without places. Choose nets='residual'"),
    (lambda: vaefast.TwoStageVAE((1, 16, 16), (2, 4, 4), encoder=torch.nn.Identity(), decoder=torch.nn.Identity()),
     ArgumentError, "networks of your own give flat codes"),
    (lambda: vaefast.VAE((1, 16, 16), (2, 3, 3), nets="residual"), ArgumentError, "4x4 or 2x2 or 1x1"),
    (lambda: vaefast.SecondStage(3, kind="gmm"), ArgumentError, "kind is 'gmm'; expected one of vae, flow, mixture"),
    (lambda: vaefast.TwoStageVAE((1, 12, 12), 3, second="x"), ArgumentError, "second is 'x'"),
    (lambda: second("mixture").fit(CODES, epochs=3), ArgumentError, "epochs is a setting of training"),
    (lambda: second("mixture").fit(CODES[:1], **QUIET), DataError, "2 latents"),
    (lambda: second("flow").fit(CODES * math.nan, **QUIET), DataError, "NaN"),
    (lambda: second("flow").fit(CODES[:, :2], **QUIET), ArgumentError, "2 dimensions"),
    (lambda: second("flow").sample(2, steps=0), ArgumentError, "steps is 0"),
    (lambda: second("vae").sample(2, steps=5), ArgumentError, "steps is for a second stage that is a flow"),
    (lambda: second("vae").log_prob(CODES), ArgumentError, "no log density"),
    (lambda: second("mixture").decode(CODES), ArgumentError, "no latents u"),
    (lambda: second("mixture").encode(CODES), ArgumentError, "no latents u")])
def test_what_cannot_work_is_said(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("kind", ["flow", "mixture"])
def test_a_dimension_that_does_not_vary(kind):
    codes = CODES.clone()
    codes[:, 1] = 2.0
    model = second(kind)
    model.fit(codes, **QUIET, **({} if kind == "mixture" else {"steps": 60, "batch_size": 64, "lr": 3e-3}))
    drawn = model.sample(50, torch.Generator().manual_seed(0))
    assert drawn.isfinite().all() and (kind == "flow" or (drawn[:, 1] - 2).abs().max() < 0.02)


@pytest.mark.parametrize("kind", ["vae", "flow"])
def test_codes_are_not_mirrored(kind):
    from dataclasses import replace

    model = second(kind)
    for data in (CODES, (CODES, torch.ones_like(CODES))):
        with pytest.raises(ArgumentError, match="flip is set for stage2, whose data are no images"):
            model.fit(data, settings=replace(model.defaults[0], epochs=None, steps=1, batch_size=32, flip=True), **QUIET)
