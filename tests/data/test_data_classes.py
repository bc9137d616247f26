"""Some classes of a data set, images held out, and LFW as the comparison of GANs and VAEs has it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from vaefast.data import ImageSet, load, to_float
from vaefast.data.binary import binarized
from vaefast.data.classes import hold_out, of_classes
from vaefast.errors import ArgumentError, DataError


@pytest.mark.parametrize("classes", ["7,1", [7, 1], ("7", 1)])
def test_classes_are_taken_alone_and_numbered_in_the_order_named(classes):
    whole, some = load("digits"), load("digits", classes=classes)
    assert torch.equal(some.images, whole.images[(whole.labels == 7) | (whole.labels == 1)])
    seven = whole.labels[(whole.labels == 7) | (whole.labels == 1)] == 7
    assert torch.equal(some.labels, (~seven).long()) and some.num_classes == 2 and some.classes == ("7", "1")
    assert "Classes 7, 1 alone" in some.note and some.split == "train"
    assert set(load("digits", split="test", classes=classes).labels.tolist()) == {0, 1}


def test_classes_by_name_and_what_is_no_class():
    images = ImageSet(torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1), torch.tensor([0, 1, 2, 2, 1, 0]), name="three",
                      classes=("cat", "dog", "ox"))
    found = of_classes(images, "ox, cat")
    assert found.images.flatten().tolist() == [0, 2, 3, 5] and found.labels.tolist() == [1, 0, 0, 1]
    assert of_classes(images, 1).images.flatten().tolist() == [1, 4]
    for wrong in ("cow", 3, -1, True, 1.5):
        with pytest.raises(ArgumentError, match="there is no class"):
            of_classes(images, [wrong])
    for wrong in ("", [], "cat,0"):
        with pytest.raises(ArgumentError, match="different classes"):
            of_classes(images, wrong)
    with pytest.raises(DataError, match="no image of class 'ox'"):
        of_classes(images.subset([0, 1]), "cat,ox")
    with pytest.raises(DataError, match="has no labels"):
        of_classes(ImageSet(images.images), "cat")


def test_held_out_images_are_the_test_split_and_nothing_is_in_both():
    whole = load("digits", classes="0,1")
    train, test = (load("digits", split=split, classes="0,1", held_out=20) for split in ("train", "test"))
    assert len(test) == 20 and len(train) == len(whole) - 20 and (train.split, test.split) == ("train", "test")
    rows = sorted(x.numpy().tobytes() for part in (train, test) for x in part.images)
    assert rows == sorted(x.numpy().tobytes() for x in whole.images)
    assert torch.equal(load("digits", split="test", classes="0,1", held_out=20).images, test.images) and "held out" in test.note
    for wrong in (0, len(whole), -1, 2.5, True):
        with pytest.raises(ArgumentError, match="held_out is"):
            hold_out(whole, wrong, "train")
    with pytest.raises(ArgumentError, match="does not go with it"):
        load("digits", split="all", held_out=20)


@pytest.mark.slow
def test_the_two_classes_of_the_published_code(real_data):
    root = real_data("cifar10-jpeg")
    train, test = (load("cifar10", root, split, classes="1,7", held_out=520) for split in ("train", "test"))
    assert (len(train), len(test)) == (9480, 520) and train.classes == ("automobile", "horse")


@pytest.mark.slow
def test_real_lfw45(real_data):
    train, test = (load("lfw45", real_data("lfw"), split) for split in ("train", "test"))
    assert train.image_shape == (3, 45, 45) and len(train) + len(test) == 13_233
    assert train.name == "lfw45" and "central 38x38" in train.note
    wide = load("lfw", real_data("lfw"))
    assert len(wide) == len(train)
    middle = wide.images[:200, :, 13:51, 13:51].float()  # the same people, the same view
    enlarged = torch.nn.functional.interpolate(middle, (45, 45), mode="bicubic").round().clamp(0, 255)
    assert (enlarged - train.images[:200].float()).abs().mean() < 1


@pytest.mark.parametrize(("side", "crop", "note"), [(250, 90, ""), (64, 38, "45x45 enlarged")])
def test_lfw45_is_the_central_90_of_the_original(tmp_path, side, crop, note):
    for person in ("A_B", "C_D"):
        (tmp_path / person).mkdir()
        pixels = np.zeros((side, side, 3), np.uint8)
        first = (side - crop) // 2
        pixels[first : first + crop, first : first + crop] = 200
        Image.fromarray(pixels).save(tmp_path / person / f"{person}_0001.png")
    s = load("lfw45", tmp_path, "all")
    assert s.image_shape == (3, 45, 45) and torch.all(s.images == 200) and s.note.startswith(note) and bool(s.note) == bool(note)
    assert load("lfw45", tmp_path, "all", size=28).image_shape == (3, 28, 28)


def test_lfw45_of_another_size_is_refused(tmp_path):
    for person in ("A_B", "C_D"):
        (tmp_path / person).mkdir()
        Image.fromarray(np.zeros((80, 80, 3), np.uint8)).save(tmp_path / person / f"{person}_0001.png")
    with pytest.raises(DataError, match="80x80"):
        load("lfw45", tmp_path)


@pytest.mark.parametrize("pixels", [torch.tensor([0, 127, 128, 255], dtype=torch.uint8), torch.tensor([0.0, 0.49, 0.5, 1.0])])
def test_binarized_images_are_black_and_white(pixels):
    images = ImageSet(pixels.view(1, 1, 2, 2), torch.tensor([3]), name="mine", split="test")
    found = binarized(images)
    assert found.images.dtype == pixels.dtype and to_float(found.images).flatten().tolist() == [0, 0, 1, 1]
    assert (found.name, found.split, found.labels.tolist()) == ("mine", "test", [3]) and "binarised" in found.note
    assert found.digest != images.digest


def test_binarize_goes_with_every_set():
    found = load("digits", binarize=True)
    assert set(found.images.unique().tolist()) == {0, 255} and len(found) == 1442
    with pytest.raises(ArgumentError, match="binarize is 'no'"):
        load("digits", binarize="no")
