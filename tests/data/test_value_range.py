"""What values stand for black and white: told from the images or given, and back again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from vaefast.data import as_image_set, to_range
from vaefast.data.value_range import checked_range, pixel_range
from vaefast.errors import ArgumentError, DataError

LEVELS = torch.tensor([0, 1, 77, 128, 254, 255]).view(6, 1, 1, 1).expand(6, 1, 5, 5).contiguous()
"""Images of one value each."""
UNIT = LEVELS / 255


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint32])
def test_integers_up_to_255_become_uint8(dtype):
    taken = as_image_set(LEVELS.to(dtype), value_range="auto").images
    assert taken.dtype == torch.uint8 and torch.equal(taken, LEVELS.to(torch.uint8))


@pytest.mark.parametrize(("images", "pair", "unit"), [
    (UNIT, (0, 1), UNIT), (UNIT.double(), (0, 1), UNIT), (2 * UNIT - 1, (-1, 1), UNIT), ((2 * UNIT - 1).half(), (-1, 1), UNIT),
    ((LEVELS * 257).numpy().astype(np.uint16), (0, 65535), UNIT), (LEVELS > 100, (0, 1), (LEVELS > 100).float())])
def test_the_range_is_told_from_the_values(images, pair, unit):
    found = pixel_range(torch.as_tensor(images))
    assert found.pair == pair
    assert bool(found.told()) == (pair not in ((0, 1), (0, 255)))
    taken = as_image_set(images, value_range="auto").images
    torch.testing.assert_close(taken.float() / (255 if taken.dtype == torch.uint8 else 1), unit, atol=1e-3, rtol=0)


def test_what_lies_within_the_range_is_taken_to_the_last_bit():
    memory = as_image_set(UNIT.contiguous(), value_range="auto").images
    assert torch.equal(memory, as_image_set(UNIT).images)
    big = (LEVELS * 257).int()
    assert torch.equal(as_image_set(big, value_range=(0, 65535)).images, (big.double() / 65535).float())
    assert torch.equal(as_image_set(LEVELS.float(), value_range=(0, 255)).images, UNIT.float())
    assert as_image_set((LEVELS > 9).to(torch.uint8), value_range=(0, 1)).images.unique().tolist() == [0, 255]
    edge = as_image_set(torch.tensor([[[[-1 - 1e-6, 1 + 1e-6]]]]), value_range="auto").images
    assert edge.flatten().tolist() == [0.0, 1.0]


def spoiled(value, like=2 * UNIT - 1):
    images = like.clone()
    images[3, 0, 1, 2] = value
    return images


@pytest.mark.parametrize(("images", "value_range", "message"), [
    (LEVELS.clamp(max=1), "auto", r"int64 and all 0 or 1; give value_range=\(0, 1\) if 1 is white"),
    (LEVELS.clamp(max=1).to(torch.uint8), "auto", "uint8 and all 0 or 1"),
    (LEVELS.numpy().astype(np.uint16), "auto", r"uint16 with values up to 255, .* give value_range=\(0, 255\) or"),
    (LEVELS * 4, "auto", r"int64 with values from 0 to 1020; .* give value_range"),
    (LEVELS - 4, "auto", "from -4 to 251"),
    (LEVELS.float(), "auto", r"image 1 holds 1|image 2 holds 77 .*divide by 255 or pass uint8. Or give value_range=\(0, 255\)"),
    (spoiled(1.5), "auto", r"lie in \[0, 1\].* Or give value_range=\(lo, hi\)"),
    (spoiled(float("nan")), "auto", "image 3 holds nan at channel 0, row 1, column 2; every value must be finite"),
    (spoiled(float("inf")), (-1, 1), "image 3 holds inf"),
    (spoiled(1.5), (-1, 1), r"image 3 holds 1.5 .*go from -1 to 1, as value_range says"),
    (LEVELS, (0, 1), "image 2 holds 77 .*go from 0 to 1"),
    (spoiled(1.5, UNIT), (0, 1), r"image 3 holds 1.5 .*must lie in \[0, 1\]"),
    (UNIT.to(torch.complex64), "auto", "complex64"),
])
def test_ranges_that_cannot_be_told_are_asked_for(images, value_range, message):
    with pytest.raises(DataError, match=message):
        as_image_set(images, value_range=value_range)


@pytest.mark.parametrize("value_range", ["0..1", (1, 0), (0, 0), (0,), (0, float("nan")), (False, True), 255, ("a", "b")])
def test_what_is_no_range_is_refused(value_range):
    with pytest.raises(ArgumentError, match="value_range is"):
        checked_range(value_range)


def test_without_a_range_the_rule_of_the_doors_holds():
    for images in (2 * UNIT - 1, LEVELS, LEVELS.numpy().astype(np.uint16)):
        with pytest.raises(DataError):
            as_image_set(images)


def test_outputs_in_the_form_of_the_users_images(tmp_path):
    assert torch.equal(to_range(UNIT, "uint8"), LEVELS.to(torch.uint8)) and torch.equal(to_range(LEVELS.to(torch.uint8), "uint8"),
                                                                                       LEVELS.to(torch.uint8))
    torch.testing.assert_close(to_range(UNIT, (-1, 1)), 2 * UNIT - 1)
    torch.testing.assert_close(to_range(LEVELS.to(torch.uint8), (0, 255)), LEVELS.float())
    assert to_range(UNIT[None], "uint8").shape == (1, 6, 1, 5, 5)
    grey, colour = to_range(UNIT, "pil"), to_range(UNIT.expand(6, 3, 5, 5)[0], "pil")
    assert len(grey) == 6 and grey[2].mode == "L" and grey[2].getpixel((0, 0)) == 77 and colour[0].mode == "RGB"
    assert torch.equal(as_image_set(grey).images, LEVELS.to(torch.uint8))
    for images, form in ((UNIT, "png"), (UNIT.numpy(), "pil"), (LEVELS, "uint8"), (UNIT[0, 0], "pil"), (UNIT, (1, 0))):
        with pytest.raises(ArgumentError):
            to_range(images, form)


@pytest.fixture
def pandas():
    return pytest.importorskip("pandas")


def test_frames_of_files_and_labels(tmp_path, picture, pandas):
    pixels = np.stack([picture(tmp_path / f"{i}.png", seed=i) for i in range(4)])
    files = [str(tmp_path / f"{i}.png") for i in range(4)]
    found = as_image_set(pandas.DataFrame({"path": files, "label": [2, 0, 1, 2]}))
    assert np.array_equal(found.images.numpy(), pixels.transpose(0, 3, 1, 2)) and found.labels.tolist() == [2, 0, 1, 2]
    words = as_image_set(pandas.DataFrame({"kind": ["b", "a", "b", "a"], "file": files}))
    assert words.labels.tolist() == [1, 0, 1, 0] and words.classes == ("a", "b")
    assert as_image_set(pandas.DataFrame({"file": files, "title": list("abcd"), "size": [1.0] * 4})).labels is None
    pictures = pandas.DataFrame({"image": [Image.open(f) for f in files], "label": range(4)})
    assert as_image_set(pictures).digest == as_image_set(pandas.DataFrame({"file": files, "label": range(4)})).digest


@pytest.mark.parametrize(("columns", "message"), [
    ({"x": [1.0, 2.0]}, "no column of pictures or names of files among x"), ({"path": []}, "no rows"),
    ({"a": ["a.png", "b.png"], "b": ["a.png", "b.png"], "label": [0, 1]}, "2 columns of pictures"),
    ({"path": ["nowhere.png", "none.png"]}, "nowhere.png, which the data frame names, does not exist .nor 1 others"),
    ({"path": ["nowhere.png", None]}, "row 1 of the data frame has"),
    ({"path": [__file__], "label": [0]}, "test_value_range.py"),
    ({"path": [__file__], "label": [0.5]}, "row 0 of the column label is"),
])
def test_frames_that_name_no_pictures(columns, message, pandas):
    with pytest.raises(DataError, match=message):
        as_image_set(pandas.DataFrame(columns))
