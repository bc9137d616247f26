"""The network that learns features of a data set without labels."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from vaefast import data, metrics
from vaefast.errors import ArgumentError, DataError
from vaefast.metrics import exemplars
from vaefast.metrics.exemplars import view


@pytest.fixture(scope="module")
def images():
    """Smooth colour images, each a class of its own."""
    generator = torch.Generator().manual_seed(3)
    small = torch.rand(40, 3, 5, 5, generator=generator)
    return (torch.nn.functional.interpolate(small, (31, 29), mode="bicubic").clamp(0, 1) * 255).round().to(torch.uint8)


@pytest.fixture(scope="module")
def network(images):
    return metrics.train_exemplar_network(images, steps=40)


def test_it_tells_its_exemplars_apart_in_views_it_has_not_seen(network, images):
    assert network.classes == len(images) and network.info["version"] == metrics.EXEMPLAR_RECIPE
    assert network.info["test_accuracy"] > 0.9 and network.info["steps"] == 40
    assert not network.training and not network.head.weight.requires_grad


def test_distance_grows_with_what_is_wrong(network, images):
    real = metrics.classifier_statistics(network, images)

    def distance(x):
        return real.distance(metrics.classifier_statistics(network, x))

    x = images.float() / 255
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    noisy = [distance((x + s * noise).clamp(0, 1)) for s in (0.02, 0.1, 0.4)]
    assert distance(images) < 1e-3 < noisy[0] < noisy[1] < noisy[2]
    mixed = [distance((1 - s) * x + s * x.mean(0, keepdim=True)) for s in (0.1, 0.5, 0.9)]
    assert mixed[0] < mixed[1] < mixed[2]
    assert distance(images[:2].repeat(20, 1, 1, 1)) > distance(images[:20].repeat(2, 1, 1, 1))


def test_the_same_seed_gives_the_same_network(images):
    first, second = (metrics.train_exemplar_network(images, steps=10, seed=5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))
    other = metrics.train_exemplar_network(images, steps=10, seed=6)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_views_are_random_windows_in_random_colours(images):
    generator = torch.Generator().manual_seed(0)
    first, second = view(images, generator), view(images, generator)
    assert first.shape == images.shape and first.dtype == torch.float32 and 0 <= first.min() and first.max() <= 1
    assert not torch.equal(first, second) and torch.equal(first, view(images, torch.Generator().manual_seed(0)))
    flat = torch.full((3, 1, 28, 28), 0.5, dtype=torch.float64)
    seen = view(flat, generator)
    assert seen.dtype == torch.float64  # brightness alone changes what has one colour
    torch.testing.assert_close(seen, seen[:, :, :1, :1].expand_as(seen))
    assert ((seen / 0.5 - 1).abs() <= exemplars._COLOUR + 1e-9).all()


def test_only_some_images_of_a_large_set_are_exemplars(images, monkeypatch):
    monkeypatch.setattr(exemplars, "EXEMPLARS", 7)
    assert metrics.train_exemplar_network(images, steps=10).classes == 7


def test_it_is_kept(images, monkeypatch, tmp_path):
    monkeypatch.setattr(exemplars, "_STEPS", 10)
    colours = SimpleNamespace(images=images, digest="d1", name="colours")
    first = metrics.exemplar_network_for(colours, cache_dir=tmp_path)
    monkeypatch.setattr("vaefast.metrics.classifier_cache.train_exemplar_network", lambda *a, **k: pytest.fail("trained again"))
    second = metrics.exemplar_network_for(colours, cache_dir=tmp_path)
    assert torch.equal(first.features(images), second.features(images)) and first.info == second.info
    assert first.info["data"] == "colours" and first.info["train_seconds"] > 0
    assert all("exemplar" in path.name for path in tmp_path.iterdir())


def test_what_it_does_not_take(images):
    for wrong in (images.float(), images[0]):
        with pytest.raises(ArgumentError, match="uint8"):
            metrics.train_exemplar_network(wrong)
    with pytest.raises(DataError, match="2 images or more"):
        metrics.train_exemplar_network(images[:1])
    with pytest.raises(ArgumentError, match="at least 10"):
        metrics.train_exemplar_network(images, steps=1)
    with pytest.raises(ArgumentError, match="pixels a side"):
        metrics.train_exemplar_network(images[:, :, :20, :20])


def test_logits_of_features_are_those_of_the_images(network, images):
    torch.testing.assert_close(network.logits(metrics.classifier_features(network, images)), network(images).cpu())


@pytest.mark.slow
def test_on_faces_distance_and_score_follow_what_a_person_sees(data_root, cache):
    faces = data.load("lfw45", data_root / "lfw", "all")
    network = metrics.exemplar_network_for(faces)
    order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))
    real = metrics.classifier_statistics(network, faces.images[order[:5000]])
    x = faces.images[order[5000:7000]].float() / 255
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))

    def scores(changed):
        features = metrics.classifier_features(network, changed)
        distance = real.distance(metrics.GaussianStatistics(features.shape[1]).update(features))
        return distance, metrics.InceptionScore(10).update(network.logits(features)).compute().mean

    same, score = scores(x)
    blurred = [scores(gaussian_blur(x, width))[0] for width in (0.6, 1.0, 2.0)]
    noisy = [scores((x + width * noise).clamp(0, 1)) for width in (0.03, 0.1)]
    few = [scores(x[:n].repeat(2000 // n, 1, 1, 1)) for n in (200, 20)]
    assert same < blurred[0] < blurred[1] < blurred[2]
    assert same < noisy[0][0] < noisy[1][0] and score > noisy[0][1] > noisy[1][1]
    assert same < few[0][0] < few[1][0] and score > few[0][1] > few[1][1]
    assert scores(x.mean(1, keepdim=True).expand_as(x))[0] > 10 * same and network.info["test_accuracy"] > 0.95


def gaussian_blur(x, width):
    at = torch.arange(-4.0, 5.0)
    line = torch.exp(-0.5 * (at / width) ** 2)
    kernel = (line[:, None] * line[None] / line.sum() ** 2).expand(3, 1, 9, 9)
    return torch.nn.functional.conv2d(torch.nn.functional.pad(x, (4,) * 4, mode="reflect"), kernel, groups=3)
