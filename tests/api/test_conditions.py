"""Samples of a class that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vaefast
from vaefast.errors import ArgumentError, DataError
from vaefast.models import Mixture

QUIET = {"device": "cpu", "progress": False}
LABELS = torch.arange(300) % 3
CENTRES = torch.tensor([[-4.0, 0.0], [0.0, 4.0], [4.0, 0.0]])
CODES = CENTRES[LABELS] + 0.3 * torch.randn(300, 2, generator=torch.Generator().manual_seed(0))


def fitted(kind: str, **options) -> vaefast.SecondStage:
    torch.manual_seed(0)
    model = vaefast.SecondStage(2, kind=kind, classes=3, **({} if kind == "mixture" else {"width": 32, "depth": 1}))
    model.fit(CODES, LABELS, **QUIET, **({} if kind == "mixture" else {"steps": 400, "batch_size": 64, "lr": 3e-3}), **options)
    return model


def nearest(z: torch.Tensor) -> torch.Tensor:
    return torch.cdist(z, CENTRES).argmin(1)


@pytest.mark.parametrize("kind", ["flow", "mixture"])
def test_a_second_stage_draws_the_class_asked_for(kind, tmp_path):
    model = fitted(kind, out=str(tmp_path / "run"))
    asked = torch.tensor([0, 1, 2]).repeat(50)
    assert (nearest(model.sample(150, torch.Generator().manual_seed(1), condition=asked)) == asked).float().mean() > 0.97
    assert (nearest(model.sample(40, condition=2)) == 2).float().mean() > 0.97
    assert (nearest(model.sample(4, condition=[0, 0, 1, 1])) == torch.tensor([0, 0, 1, 1])).all()
    shares = nearest(model.sample(600, torch.Generator().manual_seed(1))).bincount(minlength=3) / 600
    assert ((shares - 1 / 3).abs() < 0.08).all()  # of no class: of all, as often as they come
    again = vaefast.load(tmp_path / "run")
    draw = [m.sample(9, torch.Generator().manual_seed(1), condition=np.arange(9) % 3) for m in (model, again)]
    assert torch.equal(*draw)
    assert model.sample(0, condition=1).shape == (0, 2) and model.sample(0).shape == (0, 2)


def test_classes_that_come_seldom_are_drawn_seldom():
    labels = (torch.arange(300) % 10 == 0).long()
    for kind, options in (("flow", {"steps": 20, "width": 8, "depth": 1}), ("mixture", {})):
        model = vaefast.SecondStage(2, kind=kind, classes=2, **{k: v for k, v in options.items() if k != "steps"})
        model.fit(CODES, labels, **QUIET, **({"steps": 20, "batch_size": 64} if kind == "flow" else {}))
        share = model.second.shares[1] if kind == "flow" else model.second.weights[model.second.component_class == 1].sum()
        assert float(share) == pytest.approx(0.1)


def test_guidance_leads_to_the_class():
    model = fitted("flow")
    spread = [model.sample(200, torch.Generator().manual_seed(2), condition=1, guidance=g)[:, 1].mean() for g in (1.0, 2.0)]
    assert spread[1] > spread[0]


def test_the_mixture_of_classes_has_the_density_of_its_draws():
    model = Mixture(2, 1, classes=3).fit(CODES, LABELS)
    z = model.sample(2000, torch.Generator().manual_seed(0))
    inside = model.log_prob(z)
    for label in range(3):  # one Gaussian each
        own = CODES[LABELS == label].double()
        torch.testing.assert_close(model.means[model.component_class == label][0], own.mean(0), atol=1e-6, rtol=0)
    assert float(inside.mean()) > float(model.log_prob(CODES + 2).mean()) + 5


def images() -> vaefast.data.ImageSet:
    x = torch.zeros(120, 1, 6, 6)
    labels = torch.arange(120) % 2
    x[labels == 0, :, :3] = 0.9
    x[labels == 1, :, 3:] = 0.9
    return vaefast.data.as_image_set((x + 0.05 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1),
                                     labels=labels)


@pytest.mark.parametrize("second, labels", [("mixture", "own"), ("flow", "given")])
def test_a_two_stage_model_draws_images_of_a_class(second, labels, tmp_path):
    torch.manual_seed(0)
    data = images()
    model = vaefast.TwoStageVAE((1, 6, 6), 2, nets="residual", gamma="optimal", second=second, classes=2,
                                **({} if second == "mixture" else {"second_width": 32, "second_depth": 1}),
                                net_options={"width": 4, "depth": 1, "hidden": 16})
    given = {} if labels == "own" else {"condition": data.labels.numpy()}
    model.fit(data if labels == "own" else data.images, steps=200 if second == "mixture" else (200, 300), lr=5e-3,
              batch_size=40, out=tmp_path / "run", **given, **QUIET)
    for label in (0, 1):
        x = model.sample(30, torch.Generator().manual_seed(1), condition=label)
        upper = x[:, :, :3].mean((1, 2, 3)) > x[:, :, 3:].mean((1, 2, 3))
        assert (upper == (label == 0)).float().mean() > 0.9
    again = vaefast.load(tmp_path / "run")
    assert torch.equal(*(m.sample(4, torch.Generator().manual_seed(1), condition=[0, 1, 0, 1]) for m in (model, again)))


@pytest.mark.parametrize("call, error, words", [
    (lambda: vaefast.SecondStage(2, kind="vae", classes=3), ArgumentError, "classes is 3, but the second VAE"),
    (lambda: vaefast.SecondStage(2, kind="flow", classes=0), ArgumentError, "classes is 0; expected a whole number above 0"),
    (lambda: vaefast.SecondStage(2, kind="mixture", classes=3).fit(CODES, **QUIET), DataError, "has no labels"),
    (lambda: vaefast.SecondStage(2, kind="mixture", classes=2).fit(CODES, LABELS, **QUIET), DataError, "go from 0 to 2"),
    (lambda: vaefast.SecondStage(2, kind="mixture", classes=3).fit(CODES, LABELS[:9], **QUIET), DataError, "one label"),
    (lambda: vaefast.SecondStage(2, kind="mixture").fit(CODES, **QUIET), None, ""),
    (lambda: vaefast.SecondStage(2, kind="mixture").sample(3, condition=1), ArgumentError, "knows no classes"),
    (lambda: vaefast.SecondStage(2, kind="vae").sample(3, condition=1), ArgumentError, "knows no classes"),
    (lambda: vaefast.SecondStage(2, kind="flow", classes=3).sample(3, condition=3), ArgumentError, "knows 0 to 2"),
    (lambda: vaefast.SecondStage(2, kind="flow", classes=3).sample(3, condition=[0, 1]), ArgumentError, "or 3 of them"),
    (lambda: vaefast.SecondStage(2, kind="flow", classes=3).sample(3, condition=1.5), ArgumentError, "expected a class"),
    (lambda: vaefast.SecondStage(2, kind="flow", classes=3).sample(3, condition="cat"), ArgumentError, "expected a class"),
    (lambda: vaefast.SecondStage(2, kind="flow").sample(3, guidance=2.0), ArgumentError, "without a condition"),
    (lambda: vaefast.SecondStage(2, kind="mixture").sample(3, guidance=2.0), ArgumentError, "that is a flow"),
    (lambda: vaefast.VAE((1, 6, 6), 2, nets="residual").fit(images(), condition=LABELS[:120], steps=1, **QUIET), ArgumentError,
     "this model is not conditioned: leave it out"),
])
def test_what_cannot_be_a_condition_is_refused_in_a_sentence(call, error, words):
    if error is None:
        call()
        return
    with pytest.raises(error, match=words):
        call()


def test_the_command_line_trains_and_draws_by_class(tmp_path, monkeypatch):
    from vaefast.cli import main

    monkeypatch.chdir(tmp_path)
    assert main(["train", "two-stage", "--preset", "demo", "--data", "digits", "--condition", "labels", "--epochs", "1",
                 "--out", "run"]) in (0, None)
    assert (tmp_path / "run" / "samples_classes.png").is_file()
    assert main(["sample", "run", "-n", "25", "--condition", "3,7", "--out", "some.npz"]) in (0, None)
    with np.load("some.npz") as file:
        assert file["images"].shape == (25, 1, 32, 32) and file["labels"].tolist() == [3, 7] * 12 + [3]
