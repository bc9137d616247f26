import numpy as np
import pytest
import torch

from vaefast.data import ImageSet, about, load, names, to_float
from vaefast.errors import ArgumentError, DataError


def make(n=6):
    images = torch.arange(n * 2 * 3 * 4).reshape(n, 2, 3, 4).to(torch.uint8)
    return ImageSet(images, torch.arange(n) % 3, name="toy", split="test", classes=("a", "b", "c"))


def test_basics():
    s = make()
    assert len(s) == 6 and s.image_shape == (2, 3, 4) and s.num_classes == 3
    assert repr(s) == "ImageSet(toy/test, 6 images 2x3x4, uint8, 3 classes)"
    image, label = s[4]
    assert torch.equal(image, s.images[4]) and label == 1 and type(label) is int
    assert torch.equal(ImageSet(s.images)[-1], s.images[5])
    batch = next(iter(torch.utils.data.DataLoader(s, batch_size=4)))
    assert batch[0].shape == (4, 2, 3, 4) and batch[1].tolist() == [0, 1, 2, 0]
    assert len(list(s)) == 6
    with pytest.raises(AttributeError):
        s.name = "other"


def test_digest_depends_on_content_alone():
    s = make()
    assert len(s.digest) == 64 and s.digest == make().digest == s.digest
    assert ImageSet(s.images, s.labels, name="x").digest == s.digest
    assert ImageSet(s.images).digest != s.digest
    assert ImageSet(s.images.reshape(6, 2, 4, 3), s.labels).digest != s.digest
    other = s.images.clone()
    other[5, 1, 2, 3] += 1
    assert ImageSet(other, s.labels).digest != s.digest
    assert s.subset([0, 1]).digest != s.digest  # not inherited


@pytest.mark.parametrize("indices, expected", [
    (slice(1, 4), [1, 2, 3]), (slice(None, None, -2), [5, 3, 1]), ([3, -1], [3, 5]), (np.array([2]), [2]),
    (torch.tensor([True, False, False, False, False, True]), [0, 5]),
])
def test_subset(indices, expected):
    s = make()
    part = s.subset(indices)
    assert torch.equal(part.images, s.images[expected]) and torch.equal(part.labels, s.labels[expected])
    assert (part.name, part.split, part.classes) == ("toy", "test", ("a", "b", "c"))


@pytest.mark.parametrize("indices", [[6], [-7], [], slice(3, 3), [0.5], torch.zeros(5, dtype=torch.bool)])
def test_subset_refuses(indices):
    with pytest.raises(ArgumentError):
        make().subset(indices)


@pytest.mark.parametrize("images, labels, word", [
    (torch.zeros(2, 1, 2, 2, dtype=torch.int64), None, "int64"),
    (np.zeros((2, 1, 2, 2), np.uint8), None, "ndarray"),
    (torch.zeros(2, 2, 2), None, r"\[2, 2, 2\]"),
    (torch.zeros(0, 1, 2, 2), None, "size 0"),
    (torch.zeros(2, 1, 2, 2), torch.zeros(3, dtype=torch.int64), "3 labels for 2 images"),
    (torch.zeros(2, 1, 2, 2), torch.zeros(2), "int64"),
])
def test_refuses(images, labels, word):
    with pytest.raises(DataError, match=word):
        ImageSet(images, labels)


def test_to_float():
    x = to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert x.dtype == torch.float32 and torch.allclose(x, torch.tensor([0.0, 0.2, 1.0]))
    half = torch.rand(3).half()
    assert to_float(half) is half
    with pytest.raises(ArgumentError, match="int64"):
        to_float(torch.arange(3))


def test_catalog_names_what_it_knows():
    assert {"digits", "mnist", "fashion-mnist", "cifar10", "lfw", "folder", "npz"} <= set(names())
    assert all(about(name) for name in names())
    with pytest.raises(ArgumentError, match="no data set 'mnits'.*fashion-mnist"):
        load("mnits")
    with pytest.raises(ArgumentError, match="'digits' has no option 'crop'"):
        load("digits", crop=3)
    with pytest.raises(ArgumentError, match="its options are verify"):
        load("mnist", crop=3)
    with pytest.raises(ArgumentError, match="split 'val' is unknown"):
        load("digits", split="val")
    for name in ("folder", "lfw", "npz"):
        with pytest.raises(ArgumentError, match="root is missing"):
            load(name)


def test_digits():
    train, test = load("digits"), load("digits", split="test")
    assert train.images.shape == (1442, 1, 32, 32) and len(test) == 355 and len(load("digits", split="all")) == 1797
    assert train.images.dtype == torch.uint8 and train.images.max() == 255 and train.images.min() == 0
    counts = torch.bincount(test.labels)
    assert torch.equal(counts, torch.bincount(load("digits", split="all").labels) // 5)
    assert train.digest == load("digits").digest
    changed = load("digits")
    changed.images.zero_()
    changed.labels.zero_()
    assert load("digits").digest == train.digest  # each call's arrays are its own
    assert load("digits", size=28).image_shape == (1, 28, 28)
    raw = load("digits", split="all", size=8).images
    sklearn = pytest.importorskip("sklearn.datasets").load_digits()
    assert np.array_equal(raw[:, 0].numpy(), np.rint(sklearn.images * 255 / 16))
    with pytest.raises(ArgumentError, match="below the 8x8"):
        load("digits", size=4)
    with pytest.raises(ArgumentError, match="positive"):
        load("digits", size=0)
