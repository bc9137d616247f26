"""`vaefast.VAE` and `vaefast.WAE` that are conditioned on classes or vectors: samples of what is asked for, files, doors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import vaefast
from vaefast.errors import ArgumentError, DataError
from vaefast.models.condition import conditions_for
from vaefast.nets import ConditionalDecoder, ConditionalEncoder, ResidualVectorDecoder, ResidualVectorEncoder, told_codes

QUIET = {"device": "cpu", "progress": False}
DRAW = torch.Generator().manual_seed(0)
LABELS = torch.arange(240) % 4 // 2 + (torch.arange(240) % 4 == 3)  # half are of class 0, a quarter of 1 and of 2
LEVELS = torch.tensor([0.2, 0.5, 0.8])
IMAGES = (LEVELS[LABELS].view(-1, 1, 1, 1) + 0.03 * torch.randn(240, 1, 9, 11, generator=DRAW)).clamp(0, 1)
MATRIX = torch.randn(3, 5, generator=DRAW)
VECTORS = 4 + torch.tensor([1.0, 50.0, 0.1]) * torch.randn(400, 3, generator=DRAW)
ROWS = VECTORS @ MATRIX + 0.1 * torch.randn(400, 5, generator=DRAW)


class Labelled(Dataset):
    """The first 64 images, one at a time."""

    def __len__(self):
        return 64

    def __getitem__(self, index):
        return IMAGES[index], int(LABELS[index])


def of_images(kind=vaefast.VAE, **options):
    torch.manual_seed(0)
    return kind((1, 9, 11), 3, nets="residual", classes=3, **options)


def of_vectors(**options):
    torch.manual_seed(0)
    return vaefast.VAE(data_shape=(5,), latent_dim=2, condition_dim=3, **options)


@pytest.mark.parametrize(("kind", "tolerance"), [(vaefast.VAE, 0.05), (vaefast.WAE, 0.15)])
def test_samples_of_a_class_have_its_brightness(kind, tolerance):
    model = of_images(kind)
    model.fit(IMAGES, condition=LABELS, steps=80, batch_size=32, lr=3e-3, **QUIET)
    draw = torch.Generator().manual_seed(1)
    for label, level in enumerate(LEVELS):
        assert abs(model.sample(30, draw, condition=label).mean() - level) < tolerance
    asked = np.array([2, 0, 1, 0])
    levels = model.sample(4, draw, condition=asked).mean((1, 2, 3))
    assert ((levels - LEVELS[asked]).abs() < 2 * tolerance).all()
    assert torch.equal(model.first.shares, torch.tensor([0.5, 0.25, 0.25]))
    assert model.sample(5).shape == (5, 1, 9, 11)
    drawn = conditions_for(model.first, 400, None, draw).bincount(minlength=3) / 400
    assert ((drawn - model.first.shares).abs() < 0.08).all()


def test_vectors_are_recovered_from_samples():
    model = of_vectors()
    model.fit(ROWS, condition=VECTORS, steps=150, batch_size=64, lr=5e-3, **QUIET)
    samples = model.sample(400, torch.Generator().manual_seed(1), condition=VECTORS)
    errors = (samples - VECTORS @ MATRIX).square().mean(0) / ROWS.var(0)
    assert (errors < 0.02).all()
    one = model.sample(3, condition=VECTORS[0].numpy())
    assert ((one - VECTORS[0] @ MATRIX).abs() < 0.6 * ROWS.std(0)).all()
    again = model.reconstruct(ROWS[:6], condition=VECTORS[:6])
    assert ((again - ROWS[:6]).square().mean(0) / ROWS.var(0) < 0.02).all()


@pytest.mark.parametrize("kind", [vaefast.VAE, vaefast.WAE])
def test_a_run_goes_on_to_the_same_bits_and_is_loaded(kind, tmp_path):
    options = {"batch_size": 32, "validation": 0.2, "schedule": "constant", **QUIET}
    whole = of_images(kind)
    whole.fit(IMAGES, condition=LABELS, steps=12, **options)
    of_images(kind).fit(IMAGES, condition=LABELS, steps=7, out=str(tmp_path / "run"), **options)
    parts = of_images(kind)
    parts.fit(IMAGES, condition=LABELS, steps=12, out=str(tmp_path / "run"), resume=True, **options)
    again = vaefast.load(tmp_path / "run")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]) and torch.equal(value, again.state_dict()[name])
    pictures = [m.sample(4, torch.Generator().manual_seed(1), condition=2) for m in (whole, again)]
    assert torch.equal(*pictures)


def test_labels_come_with_sets_and_streams():
    data = Labelled()
    held, streamed = of_images(), of_images()
    held.fit(data, steps=4, batch_size=16, materialize=True, **QUIET)
    streamed.fit(data, steps=4, batch_size=16, validation=data, **QUIET)
    assert torch.equal(next(held.parameters()), next(streamed.parameters()))
    assert streamed.first.shares.tolist() == pytest.approx([1 / 3] * 3)  # which no one has counted
    images = vaefast.data.as_image_set(IMAGES, labels=LABELS)
    assert torch.equal(held.encode(images).mean, held.encode(IMAGES, condition=LABELS).mean)
    pretrained = of_images(vaefast.WAE, pretrain=True)
    pretrained.fit(data, steps=1, batch_size=16, **QUIET)


def test_ways_through_codes_are_of_a_condition():
    model = of_images()
    x, labels = IMAGES[:4], LABELS[:4]
    path = model.interpolate(x[:2], x[2:], steps=3, condition=torch.tensor([2, 0]))
    ends = model.decode(model.encode(x[:2], torch.tensor([2, 0])).mean, condition=[2, 0])
    torch.testing.assert_close(path[:, 0], ends)
    assert model.traverse(x[:1], dims=[0, 2], steps=3, condition=1).shape == (2, 3, 1, 9, 11)
    assert model.nearest(x, IMAGES, 1, condition=labels, among_condition=LABELS).flatten().tolist() == [0, 1, 2, 3]
    assert model.chain(3, 2, condition=[0, 1, 2]).shape == (3, 1, 9, 11)
    score = model.score(IMAGES, LABELS)
    assert np.isfinite(score)
    for call in (lambda: model.interpolate(x[:2], x[2:]), lambda: model.traverse(x[:1]), lambda: model.nearest(x, IMAGES),
                 lambda: model.encode(x), lambda: model.reconstruct(x), lambda: model.transform(x)):
        with pytest.raises(ArgumentError, match="conditioned on 3 classes; give it condition="):
            call()


def test_networks_of_your_own_take_the_condition():
    encoder = ConditionalEncoder(ResidualVectorEncoder((5 + 3,), 2), condition_dim=3)
    decoder = ConditionalDecoder(ResidualVectorDecoder((5,), told_codes(2, 3)), condition_dim=3)
    model = of_vectors(encoder=encoder, decoder=decoder)
    model.fit(ROWS, condition=VECTORS, steps=2, batch_size=64, **QUIET)
    assert model.sample(2, condition=VECTORS[:2]).shape == (2, 5)
    maps = vaefast.VAE((1, 16, 16), (2, 4, 4), nets="residual", classes=3)
    assert maps.sample(2, condition=1).shape == (2, 1, 16, 16)


@pytest.mark.slow
def test_a_compiled_loss_is_the_same():
    losses = []
    for mode in ("on", "off"):
        model = of_vectors(net_options={"width": 8, "depth": 1})
        losses.append(model.fit(ROWS, condition=VECTORS, steps=2, batch_size=64, compile=mode, **QUIET).last("stage1")["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_what_does_not_fit_is_said():
    classes, vectors, plain = of_images(), of_vectors(), vaefast.VAE((1, 9, 11), 3, nets="residual")
    fit = {"steps": 1, **QUIET}
    with pytest.raises(DataError, match="conditioned on 3 classes, but array has no labels; give them"):
        classes.fit(IMAGES, **fit)
    with pytest.raises(DataError, match="go from 0 to 3; this model has classes=3"):
        classes.fit(IMAGES, condition=torch.arange(240) % 4, **fit)
    with pytest.raises(DataError, match="has no labels"):
        classes.fit(IMAGES, condition=LABELS, validation=IMAGES, **fit)
    with pytest.raises(DataError, match=r"array has no condition; give them as condition=, \[400, 3\]"):
        vectors.fit(ROWS, **fit)
    for condition, error, says in ((VECTORS[:, :2], ArgumentError, "expected 400 vectors of 3 numbers"),
                                   (VECTORS[:9], ArgumentError, r"float32 \[9, 3\]; expected 400 vectors"),
                                   (VECTORS[0], ArgumentError, "expected 400 vectors of 3 numbers"),
                                   (VECTORS / 0 * 0, DataError, "row 0 of condition holds NaN")):
        with pytest.raises(error, match=says):
            vectors.fit(ROWS, condition=condition, **fit)
    with pytest.raises(ArgumentError, match="this model is not conditioned: leave it out, or build one with classes=N"):
        plain.sample(2, condition=1)
    with pytest.raises(ArgumentError, match=r"a Tensor of int64 \[240\], but this model is not conditioned"):
        plain.fit(IMAGES, condition=LABELS, **fit)
    with pytest.raises(ArgumentError, match=r"compare model.sample\(n, condition=vectors\)"):
        vaefast.evaluate(vectors, ROWS)
    with pytest.raises(ArgumentError, match="this model is not conditioned"):
        plain.encode(IMAGES, condition=LABELS)
    with pytest.raises(ArgumentError, match="conditioned on vectors of 3 numbers"):
        vectors.sample(2)
    with pytest.raises(ArgumentError, match="a condition is a class or a vector: give one of the two"):
        vaefast.VAE((1, 9, 11), 3, nets="residual", classes=2, condition_dim=2)
    with pytest.raises(ArgumentError, match="classes is 0"):
        vaefast.WAE((1, 9, 11), 3, nets="residual", classes=0)


@pytest.mark.parametrize("second", ["flow", "mixture"])
def test_both_stages_of_a_two_stage_vae_know_the_class(second, tmp_path):
    torch.manual_seed(0)
    flow = {"second_width": 16, "second_depth": 1} if second == "flow" else {}
    model = vaefast.TwoStageVAE((1, 9, 11), 3, nets="residual", classes=3, conditioned="both", second=second, **flow)
    steps = (60, 40) if flow else 60
    model.fit(IMAGES, condition=LABELS, steps=steps, batch_size=32, lr=3e-3, out=str(tmp_path / "run"), **QUIET)
    asked, draw = torch.tensor([2, 0, 1, 0, 2, 1]), torch.Generator().manual_seed(1)
    for stage in (1, 2, None):
        levels = model.sample(6, draw, stage=stage, condition=asked).mean((1, 2, 3))
        assert ((levels - LEVELS[asked]).abs() < 0.1).all()
    assert model.sample(3).shape == model.reconstruct(IMAGES[:3], condition=LABELS[:3]).shape
    again = vaefast.load(tmp_path / "run")
    pictures = [m.sample(4, torch.Generator().manual_seed(1), condition=2) for m in (model, again)]
    assert torch.equal(*pictures)
    with pytest.raises(ArgumentError, match="conditioned on 3 classes; give it condition="):
        model.encode(IMAGES)


def test_how_two_stages_are_conditioned_is_checked():
    for options in ({"conditioned": "both"}, {"conditioned": "first", "classes": 3, "second": "flow"}):
        with pytest.raises(ArgumentError, match="expected 'second', or 'both' of a model with classes"):
            vaefast.TwoStageVAE((1, 9, 11), 3, nets="residual", **options)


def test_a_flow_of_codes_takes_vectors():
    torch.manual_seed(0)
    second = vaefast.SecondStage(5, kind="flow", condition_dim=3, width=32, depth=1)
    second.fit(ROWS, VECTORS, steps=300, batch_size=64, lr=5e-3, **QUIET)
    samples = second.sample(400, torch.Generator().manual_seed(1), condition=VECTORS)
    assert ((samples - VECTORS @ MATRIX).square().mean(0) / ROWS.var(0) < 0.25).all()
    assert second.sample(2, condition=VECTORS[0], guidance=1.5).shape == (2, 5)
    assert second.log_prob(ROWS[:3], condition=VECTORS[:3]).isfinite().all()
    with pytest.raises(ArgumentError, match="conditioned on vectors of 3 numbers"):
        second.sample(2)
    with pytest.raises(DataError, match=r"give them as condition=, \[400, 3\]"):
        second.fit(ROWS, steps=1, **QUIET)
    for kind in ("vae", "mixture"):
        with pytest.raises(ArgumentError, match="knows no vectors; choose the kind 'flow'"):
            vaefast.SecondStage(5, kind=kind, condition_dim=3)


@pytest.mark.parametrize("conditioned", ["second", "both"])
def test_a_two_stage_vae_takes_vectors(conditioned, tmp_path):
    torch.manual_seed(0)
    model = vaefast.TwoStageVAE(data_shape=(5,), latent_dim=3, condition_dim=3, conditioned=conditioned, second="flow",
                                second_width=32, second_depth=1)
    model.fit(ROWS, condition=VECTORS, steps=(400, 400), batch_size=64, lr=5e-3, out=str(tmp_path / "run"), **QUIET)
    samples = model.sample(400, torch.Generator().manual_seed(1), condition=VECTORS)
    assert ((samples - VECTORS @ MATRIX).square().mean(0) / ROWS.var(0) < 0.3).all()
    again = vaefast.load(tmp_path / "run")
    pair = [m.sample(4, torch.Generator().manual_seed(1), condition=VECTORS[:4]) for m in (model, again)]
    assert torch.equal(*pair)
    with pytest.raises(ArgumentError, match="conditioned on vectors of 3 numbers"):
        model.sample(2)
    with pytest.raises(DataError, match=r"conditioned on vectors of 3 numbers, but .* has no condition"):
        model.fit(ROWS, steps=1, **QUIET)
    for second in ("vae", "mixture"):
        with pytest.raises(ArgumentError, match="knows no vectors; choose the kind 'flow'"):
            vaefast.TwoStageVAE(data_shape=(5,), latent_dim=3, condition_dim=3, second=second)
