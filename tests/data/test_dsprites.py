"""dSprites by name, from a small file of the authors' layout; factors that go with their images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vaefast
from vaefast import metrics
from vaefast.data import ImageSet, load
from vaefast.errors import ArgumentError, DataError, DataNotFoundError
from vaefast.experiments.scoring import factors as scoring

COUNT = 640


@pytest.fixture
def file(tmp_path):
    """Bars whose place is position x and whose length is the scale; metadata as an object array, which nothing may unpickle."""
    path = tmp_path / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
    random = np.random.default_rng(0)
    latents = np.stack([np.zeros(COUNT, np.int64), *(random.integers(0, n, COUNT) for n in (3, 6, 40, 32, 32))], 1)
    imgs = np.zeros((COUNT, 64, 64), np.uint8)
    for image, (_, _, scale, _, x, _) in zip(imgs, latents):
        image[: 8 * (scale + 1), 2 * x: 2 * x + 2] = 1
    np.savez_compressed(path, imgs=imgs, latents_classes=latents, metadata=np.array({"title": "x"}, object))
    return path


def test_images_come_with_their_factors(file):
    whole, train, test = (load("dsprites", file.parent, split) for split in ("all", "train", "test"))
    assert (len(whole), len(train), len(test)) == (COUNT, 576, 64) and whole.image_shape == (1, 64, 64)
    assert whole.factor_names == ("shape", "scale", "orientation", "position x", "position y") and whole.classes[2] == "heart"
    with np.load(file) as source:
        assert np.array_equal(whole.images[:, 0].numpy(), 255 * source["imgs"])
        assert np.array_equal(whole.factors.numpy(), source["latents_classes"][:, 1:])
    assert torch.equal(test.labels, test.factors[:, 0])
    for images in (train, test.subset([5, 3]), load("dsprites", file, classes="heart", binarize=True, held_out=9)):
        scale, x = images.factors[:, 1], images.factors[:, 3]
        assert torch.equal((images.images[:, 0].sum((1, 2)) // 255).long(), 16 * (scale + 1))
        assert torch.equal(images.images[:, 0].amax(1).argmax(1), 2 * x)


def test_a_part_is_the_same_part_in_every_run(file):
    few = load("dsprites", file, "all", limit=50)
    assert len(few) == 50 and few.digest == load("dsprites", file, "all", limit=50).digest
    assert len(load("dsprites", file, "test", limit=50)) == 5 and len(load("dsprites", file, limit=None)) == 576


def test_other_files_are_refused_in_a_sentence(file, tmp_path):
    with pytest.raises(DataNotFoundError, match="dsprites_ndarray"):
        load("dsprites", tmp_path / "nowhere")
    for options, words in (({"limit": 3}, "10 or more"), ({"limit": True}, "10 or more"), ({"size": 32}, "64x64")):
        with pytest.raises(ArgumentError, match=words):
            load("dsprites", file, **options)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="download it again"):
        load("dsprites", file)
    np.savez(file, imgs=np.zeros((4, 64, 64), np.uint8))
    with pytest.raises(DataError, match="latents_classes"):
        load("dsprites", file)
    np.savez(file, imgs=np.zeros((40, 32, 64), np.uint8), latents_classes=np.zeros((40, 6), np.int64))
    with pytest.raises(DataError, match=r"\[40, 32, 64\]"):
        load("dsprites", file)
    np.savez(file, imgs=np.full((40, 64, 64), 7, np.uint8), latents_classes=np.zeros((40, 6), np.int64))
    with pytest.raises(DataError, match="up to 7"):
        load("dsprites", file)
    with pytest.raises(DataError, match="factors"):
        ImageSet(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), factors=torch.zeros(3, 2, dtype=torch.long), factor_names=("one",))


def test_codes_are_scored_by_factors(file, monkeypatch):
    test = load("dsprites", file, "all")
    model = vaefast.VAE((1, 64, 64), 2, nets="residual", net_options={"width": 4, "hidden": 16})
    codes = test.factors[:, [1, 3]].double()  # each dimension is one factor
    monkeypatch.setattr(scoring, "aggregate", lambda *_: type("Codes", (), {"mean": codes}))
    scores = scoring.factor_scores(model, test.subset(slice(None)), 0)
    assert list(scores) == ["mig", "sap", "dci_disentanglement", "dci_completeness", "dci_informativeness"]
    assert 0.35 < scores["mig"] < 0.45 and scores["dci_completeness"] == metrics.dci(codes, test.factors).completeness  # 2 of 5
    still = ImageSet(test.images, factors=torch.zeros(COUNT, 1, dtype=torch.long), factor_names=("none",))
    assert scoring.factor_scores(model, still, 0) == {}
    assert scoring.factor_scores(model, ImageSet(test.images), 0) == {}


def test_an_evaluation_shows_them(file, tmp_path):
    test = load("dsprites", file, "all", limit=300)
    model = vaefast.VAE((1, 64, 64), 3, nets="residual", net_options={"width": 4, "hidden": 16})
    model.fit(test, steps=5, batch_size=32)
    scores = vaefast.evaluate(model, test, out=tmp_path / "out", samples=64, metrics=["sharpness"])
    assert 0 <= scores["mig"] <= 1 and "DCI completeness" in (tmp_path / "out" / "report.html").read_text()
