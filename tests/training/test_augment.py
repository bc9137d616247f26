"""Random changes of batches on the device."""

from __future__ import annotations

import pytest
import torch

from vaefast.errors import ArgumentError, DataError
from vaefast.training.augment import AUGMENTATIONS, augmentation, colour, crop, cutout, described, flip

SHAPES = [(5, 1, 8, 8), (4, 3, 7, 10), (3, 4, 6, 6), (2, 3, 1, 1)]


def images(shape, dtype=torch.uint8):
    x = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return x if dtype == torch.uint8 else x / 255


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_form_and_range_stay_and_the_random_state_says_what_comes(name, shape, dtype):
    x = images(shape, dtype)
    kept, change = x.clone(), augmentation(name)
    torch.manual_seed(0)
    first, other = change(x), change(x)
    torch.manual_seed(0)
    assert torch.equal(first, change(x)) and torch.equal(x, kept)
    assert first.shape == x.shape and first.dtype == dtype
    assert 0 <= float(first.min()) and float(first.max()) <= (255 if dtype == torch.uint8 else 1)
    assert shape[-1] == 1 or shape[0] < 4 or not torch.equal(first, other)


def test_each_image_is_changed_on_its_own():
    x = images((1, 1, 16, 16)).expand(400, 1, 16, 16)
    mirrored = (flip(x) == x.flip(-1)).flatten(1).all(1)
    assert 150 < int(mirrored.sum()) < 250 and bool(((flip(x) == x) | (flip(x) == x.flip(-1))).any())
    moved = crop(x)
    moves = {(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)
             if (moved[:, 0, 2:14, 2:14] == x[:, 0, 2 + dy:14 + dy, 2 + dx:14 + dx]).flatten(1).all(1).any()}
    assert len(moves) == 25  # an eighth of 16 pixels each way
    assert set(moved.unique().tolist()) <= set(x.unique().tolist())  # no black edge
    holes = (cutout(images((400, 1, 16, 16), torch.float32)) == 0.5).flatten(1).sum(1)
    assert int(holes.max()) == 64 and int(holes.min()) < 64
    grey = torch.full((400, 3, 4, 4), 0.5)
    bright = colour(grey)[:, 0, 0, 0]
    assert 0.39 < float(bright.min()) < 0.42 and 0.58 < float(bright.max()) < 0.61


def test_lists_and_functions():
    x = images((6, 1, 8, 8))
    change = augmentation(["flip", lambda batch: 255 - batch])
    torch.manual_seed(3)
    found = change(x)
    torch.manual_seed(3)
    assert torch.equal(found, 255 - flip(x))
    assert augmentation(None) is None and augmentation([]) is None
    assert described(["flip", abs]) == ["flip", "custom"] and described("crop") == ["crop"] and described(None) is None


@pytest.mark.parametrize(("wanted", "message"), [("rotate", "augment is 'rotate'; expected names of flip"), (3, "augment is 3"),
                                                 (["flip", None], "augment is"), ("", "augment is ''")])
def test_what_is_no_augmentation_is_refused(wanted, message):
    with pytest.raises(ArgumentError, match=message):
        augmentation(wanted)


@pytest.mark.parametrize(("function", "error", "message"), [
    (lambda x: x[:, :, 1:], ArgumentError, r"augment returned \[4, 1, 7, 8\] for images \[4, 1, 8, 8\]"),
    (lambda x: None, ArgumentError, "augment returned a NoneType"), (lambda x: x.long(), ArgumentError, "images of torch.int64"),
    (lambda x: x.float(), DataError, "image 0 holds")])
def test_what_a_function_returns_is_looked_at(function, error, message):
    with pytest.raises(error, match=message):
        augmentation(function)(images((4, 1, 8, 8)))


def test_training_sees_the_changed_images(train, Line, points):
    seen = []

    class Watching(Line):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    train(Watching(), steps=6, data=points(8), stage={"augment": augmentation(lambda x: 1 - x)})
    assert torch.equal(seen[0].flatten().sort().values, (1 - points(8)).flatten().sort().values)
    runs = [Line(), Line(), Line()]
    for model, stage in zip(runs, ({"augment": augmentation("flip")}, {"augment": augmentation("flip")}, {})):
        train(model, stage=stage)
    assert torch.equal(runs[0].layer.weight, runs[1].layer.weight) and not torch.equal(runs[0].layer.weight, runs[2].layer.weight)
