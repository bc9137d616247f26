"""The Inception path against pytorch-fid's own pipeline, with the same random weights in both."""

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional as F

from benchmarks.inception import peer, pictures, write_pngs
from vaefast import data, metrics
from vaefast.errors import ArgumentError, CheckpointError, DataNotFoundError
from vaefast.metrics import (
    FrechetInceptionDistance,
    Inception,
    extract_features,
    fid,
    image_statistics,
    inception_score,
    kernel_inception_distance,
    kid,
)
from vaefast.metrics import inception_weights as weights
from vaefast.metrics.inception_input import network_input
from vaefast.metrics.inception_network import InceptionNetwork

QUIET = {"notice": lambda _: None}


@pytest.fixture(scope="module")
def two_folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("pngs")
    return tuple(write_pngs(pictures(6, 37, seed), base / str(seed)) for seed in (1, 2))


@pytest.fixture(scope="module")
def theirs(inception_state, two_folders):
    """pytorch-fid's features of both folders and its distance."""
    from pytorch_fid import fid_score

    model = peer(inception_state)
    files = [sorted(folder.glob("*.png")) for folder in two_folders]
    features = [fid_score.get_activations(f, model, 7, 2048, "cpu", 0) for f in files]
    moments = [(f.mean(0), np.cov(f, rowvar=False)) for f in features]
    value = sum((moments[0][0] - moments[1][0]) ** 2)
    # The matrix square root of two covariances of rank 5, taken in the 10 dimensions that they span.
    basis = np.linalg.qr(np.concatenate([f - f.mean(0) for f in features]).T)[0]
    small = [basis.T @ c @ basis for _, c in moments]
    roots = np.linalg.eigvals(small[0] @ small[1]).real.clip(0)
    return features, value + small[0].trace() + small[1].trace() - 2 * np.sqrt(roots).sum()


def test_features_and_distance_are_those_of_pytorch_fid(inception, two_folders, theirs):
    features, distance = theirs
    for folder, expected in zip(two_folders, features, strict=True):
        found = extract_features(inception, folder).double().numpy()
        assert np.abs(found - expected).max() < 1e-5 * expected.max()  # both are that far from float64
    assert expected.std(0).mean() > 0.01  # the random network keeps pictures apart
    result = fid(*two_folders, extractor=inception, cache=False, **QUIET)
    assert float(result) == pytest.approx(distance, rel=1e-3)
    assert (result.real, result.fake) == (6, 6)
    assert "6 real, 6 generated" in str(result) and "pytorch-fid" in str(result)


def test_the_network_is_exact(inception_state):
    images = pictures(2, 40, 9).double() / 255
    network = InceptionNetwork.from_state(inception_state, torch.float64)
    expected = peer(inception_state).double()(images)[0].flatten(1)
    torch.testing.assert_close(network(network_input(images, "pytorch-fid", torch.float64)), expected, rtol=1e-10, atol=1e-11)


def test_batches_forms_and_grey_images_make_no_difference(inception):
    images = pictures(3, 32, 3)
    whole = extract_features(inception, images)
    assert whole.shape == (3, 2048) and bool((whole >= 0).all())
    for other in (images.split(2), data.as_image_set(images), images / 255):
        torch.testing.assert_close(extract_features(inception, other), whole, rtol=1e-5, atol=5e-5)
    grey = images[:1, :1]
    torch.testing.assert_close(inception(grey), inception(grey.repeat(1, 3, 1, 1)), rtol=1e-5, atol=5e-5)


def test_streams_and_merges(inception):
    a, b = pictures(4, 24, 4), pictures(3, 24, 5)
    first, second = FrechetInceptionDistance(inception), FrechetInceptionDistance(inception)
    first.update(a[:3], real=True).update(b[:1], real=False)
    second.update(a[3:], real=True).update(b[1:], real=False)
    merged = first.merge(second)
    for found, images in ((merged.real, a), (merged.fake, b)):
        expected = image_statistics(inception, images)
        assert found.n == expected.n
        torch.testing.assert_close(found.mean, expected.mean, rtol=1e-5, atol=5e-5)
        torch.testing.assert_close(found.cov, expected.cov, rtol=1e-3, atol=1e-4)
    with pytest.raises(ArgumentError, match="real and generated"):
        FrechetInceptionDistance(inception).compute()


def test_switches(inception):
    images = pictures(2, 20, 6)
    dull = (images / 255) * 0.4 + 0.3
    full = (dull - dull.amin((1, 2, 3), keepdim=True)) / (dull.amax((1, 2, 3), keepdim=True) - dull.amin((1, 2, 3), keepdim=True))
    torch.testing.assert_close(extract_features(inception, dull, stretch=True), inception(full))
    torch.testing.assert_close(extract_features(inception, dull, rounded=True), inception((dull * 255).round().byte()))
    assert not torch.equal(extract_features(inception, dull, rounded=True), inception(dull))
    even = extract_features(inception, torch.full((1, 1, 20, 20), 0.5), stretch=True)
    assert bool(torch.isfinite(even).all())
    # Generated images alone are stretched.
    both = FrechetInceptionDistance(inception, stretch=True).update(dull, real=True).update(dull, real=False)
    torch.testing.assert_close(both.real.mean, inception(dull).double().mean(0))
    torch.testing.assert_close(both.fake.mean, inception(full).double().mean(0), rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("side", [28, 45, 299, 301])
def test_tf_resize_by_its_definition(side):
    x = pictures(1, side, 7)
    grid = np.arange(299, dtype=np.float32) * np.float32(side / 299)
    low = np.floor(grid).astype(int)
    high, share = np.minimum(low + 1, side - 1), (grid - low)
    image = x[0].double().numpy()
    rows = image[:, low] * (1 - share)[None, :, None] + image[:, high] * share[None, :, None]
    expected = rows[:, :, low] * (1 - share) + rows[:, :, high] * share
    found = network_input(x, "tf", torch.float64)
    np.testing.assert_allclose(found[0].numpy(), (expected - 128) / 128, atol=1e-4)
    torch.testing.assert_close(network_input(x / 255.0, "tf", torch.float64), found, rtol=0, atol=1e-5)
    if side == 28:  # between pixel centres it is another picture, half an input pixel away
        other = network_input(x, "pytorch-fid", torch.float64)
        torch.testing.assert_close(other, F.interpolate(x.double() / 255, size=(299, 299), mode="bilinear") * 2 - 1)
        assert (other - found).abs().max() > 0.1


def test_kid_and_inception_score_of_images(inception, inception_state, theirs):
    a, b = pictures(6, 37, 1), pictures(6, 37, 2)
    found = kernel_inception_distance(a, b, extractor=inception, subsets=4)
    features = [torch.from_numpy(f).float() for f in theirs[0]]
    assert found.mean == pytest.approx(kid(*features, subsets=4, subset_size=6).mean, rel=1e-3)
    assert (found.real, found.fake, found.subset_size) == (6, 6, 6)
    notices = []
    score = inception_score(b, splits=2, extractor=inception, notice=notices.append)
    p = (theirs[0][1] @ inception_state["fc.weight"].double().numpy().T)
    p = np.exp(p - p.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    of = metrics.InceptionScore(2)._split_of(torch.arange(6)).numpy()
    splits = [np.exp((q * (np.log(q) - np.log(q.mean(0)))).sum(1).mean()) for q in (p[of == 0], p[of == 1])]
    assert score.mean == pytest.approx(np.mean(splits), rel=1e-4) and score.std == pytest.approx(np.std(splits), rel=1e-2)
    assert score.n == 6 and "6 generated images in 2 splits" in str(score) and "few" in notices[0]


def test_weights_as_safetensors(inception, inception_state, tmp_path):
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(inception_state, file)
    with pytest.warns(UserWarning, match="not pytorch-fid's"):
        again = Inception(file)
    images = pictures(2, 16, 8)
    assert torch.equal(again(images), inception(images)) and again.identity != inception.identity


def test_no_weights_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(weights, "URL", "http://127.0.0.1:9/nothing.pth")
    with pytest.raises(DataNotFoundError) as error:
        Inception()
    text = str(error.value)
    assert all(part in text for part in (weights.NAME, weights.SHA256, weights.URL, "--inception-weights", str(tmp_path)))
    assert "\n" not in text and not list(tmp_path.rglob("*.part"))


def test_unsound_weights(tmp_path, monkeypatch, inception_state):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    cached = weights.cached_file()
    cached.parent.mkdir()
    cached.write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match="damaged"):
        Inception()
    with pytest.raises(DataNotFoundError, match="nowhere"):
        Inception(tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        Inception(cached, **QUIET)
    torch.save({"state": [1, 2]}, cached)
    with pytest.raises(CheckpointError, match="no mapping"):
        Inception(cached, **QUIET)
    torch.save({"fc.weight": torch.zeros(3)}, cached)
    with pytest.raises(CheckpointError, match="Conv2d_1a_3x3"):
        Inception(cached, **QUIET)
    torch.save({**inception_state, "fc.weight": torch.zeros(3, 5)}, cached)
    with pytest.raises(CheckpointError, match="2015"):
        Inception(cached, **QUIET)


@pytest.mark.parametrize("images, words", [
    (torch.zeros(2, 2, 9, 9), "channels"), (torch.zeros(3, 9, 9), "channels"), (torch.zeros(1, 3, 9, 9).long(), "int64"),
    (torch.full((1, 3, 9, 9), 3.0), "0, 1"), (torch.full((1, 3, 9, 9), float("nan")), "finite"), (3, "int"),
])  # fmt: skip
def test_bad_images(inception, images, words):
    with pytest.raises(ArgumentError, match=words):
        extract_features(inception, images)


def test_bad_settings(inception, tmp_path):
    with pytest.raises(ArgumentError, match="resize"):
        Inception(resize="bicubic")
    with pytest.raises(ArgumentError, match="precision"):
        Inception(precision="bf16")
    with pytest.raises(ArgumentError, match="no images"):
        fid([], pictures(2, 9, 0), extractor=inception)
