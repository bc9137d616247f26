"""Which files are the images of a path and of its splits, and what is said about the others."""

import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from vaefast.data import as_image_set, load, memory
from vaefast.errors import DataError


def make(root, *names):
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), i).save(root / name)


def told(*arguments, **options):
    """A set, and the warnings about it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = load(*arguments, **options)
    assert found.note == " ".join(str(w.message) for w in caught)
    return found, [str(w.message) for w in caught]


@pytest.mark.parametrize("form", ["folder", "zip", "tar"])
@pytest.mark.parametrize("third", ["val", "dev", "Validation", "extra"])
def test_all_are_all_and_splits_say_what_they_leave_out(tmp_path, form, third):
    names = [f"d/{part}/{animal}/{i}.png" for part in ("Train", "test", third) for animal in ("cat", "dog") for i in range(2)]
    make(tmp_path / "in", *names)
    where = tmp_path / "in"
    if form != "folder":
        where = shutil.make_archive(str(tmp_path / "packed"), form, where)
    whole, said = told("folder", where, "all", cache=False)
    assert len(whole) == 12 and not said and whole.classes == ("cat", "dog")
    for split in ("train", "test"):
        part, said = told("folder", where, split, cache=False)
        assert len(part) == 4 and part.classes == ("cat", "dog") and len(said) == 1
        assert f"4 images lie outside Train/ and test/ (in {third}/)" in said[0] and 'the split "all" has all images' in said[0]
    make(tmp_path / "in", "preview.png", "d/loose.png")  # the splits lie a folder down, and stay
    train, said = told("folder", tmp_path / "in", "train", cache=False)
    assert len(train) == 4 and train.classes == ("cat", "dog") and "6 images lie outside" in said[0]
    whole, said = told("folder", tmp_path / "in", "all", cache=False)
    assert len(whole) == 14 and whole.labels is None and "no labels, as d/loose.png lies in no class" in said[0]


def test_held_out_folders_by_other_names(tmp_path):
    make(tmp_path, "train/a.png", "train/b.png", "dev/c.png")
    assert [len(told("folder", tmp_path, split)[0]) for split in ("train", "test", "all")] == [2, 1, 3]


def test_splits_in_every_class_are_not_taken_and_told(tmp_path):
    make(tmp_path, *(f"{animal}/{part}/{i}.png" for animal in ("cat", "dog") for part in ("train", "test") for i in range(5)))
    found, said = told("folder", tmp_path, "all")
    assert len(found) == 20 and found.classes == ("cat", "dog") and "not taken for the splits" in said[0]


def test_one_loose_image_costs_the_labels_and_is_told(tmp_path):
    make(tmp_path, *(f"{animal}/{i}.png" for animal in ("cat", "dog") for i in range(5)), "cover.png")
    found, said = told("folder", tmp_path, "all")
    assert found.labels is None and len(found) == 11 and "as cover.png lies in no class" in said[0]


def test_several_pictures_in_one_file(tmp_path):
    frames = [Image.new("L", (4, 4), v) for v in (10, 20, 30)]
    for name in ("a.gif", "b.png", "c.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "d.png")
    for _ in range(2):  # decoded, then from the cache
        found, said = told("folder", tmp_path, "all")
        assert set(found.images.flatten().tolist()) == {10}
        assert "3 files hold several pictures, the first of which was taken: a.gif, b.png, c.tif" in said[0]


def test_npz_parts(tmp_path):
    rng = np.random.default_rng(0)
    x = {name: rng.integers(0, 256, (n, 5, 6), dtype=np.uint8) for name, n in (("X_train", 5), ("x_test", 3), ("x_val", 4))}
    y = {"Y_train": np.arange(5), "y_test": np.arange(3), "y_val": np.arange(4)}
    np.savez(tmp_path / "a.npz", **x, **y)
    whole, said = told("npz", tmp_path / "a.npz", "all")
    assert len(whole) == 12 and whole.labels.tolist() == [*range(5), *range(3), *range(4)] and not said
    train, said = told("npz", tmp_path / "a.npz", "train")
    assert train.labels.tolist() == [*range(5)] and "x_val [4, 5, 6] in a.npz was left out" in said[0]
    np.savez(tmp_path / "b.npz", train_images=x["X_train"], train_labels=y["Y_train"], masks=x["x_val"])
    whole, said = told("npz", tmp_path / "b.npz", "all")
    assert whole.labels.tolist() == [*range(5)] and "masks [4, 5, 6]" in said[0]
    with open(tmp_path / "c.npy", "wb") as file:  # np.load would read the first alone
        np.save(file, x["x_test"])
        np.save(file, x["x_val"])
    with pytest.raises(DataError, match="bytes after the array"):
        load("npz", tmp_path / "c.npy")


class Endless:
    def __len__(self):
        return 10**9

    def __getitem__(self, i):
        return np.zeros((64, 64, 3), np.uint8), i % 10


def test_more_than_memory_holds(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="Endless is held whole.*GB of memory for 1,000,000,000 images of 3x64x64"):
        as_image_set(Endless())
    make(tmp_path, "a.png", "b.png")
    monkeypatch.setattr(memory, "_SMALL", 0)
    monkeypatch.setattr(memory, "available_bytes", lambda: 10)
    with pytest.raises(DataError, match="the set needs .* for 2 images of 1x4x4"):
        load("folder", tmp_path, "all", cache=False)
    assert len(load("folder", tmp_path, "all")) == 2  # in a file of the cache it fits


def test_half_labelled_items_are_refused():
    items = [(np.zeros((4, 4), np.uint8), i if i else None) for i in range(3)]
    with pytest.raises(DataError, match="2 of 3 items have an integer label"):
        as_image_set(items)


def test_no_home_folder(tmp_path):
    make(tmp_path, "a.png", "b.png")
    code = ("import os, pathlib\n"
            "def nowhere(self): raise RuntimeError('Could not determine home directory.')\n"
            "pathlib.Path.expanduser = lambda self: nowhere(self) if str(self).startswith('~') else self\n"
            "from vaefast.data import cache_dir, load\n"
            f"print(len(load('folder', {str(tmp_path)!r}, 'all')))\n"
            "for wrong in (cache_dir, lambda: load('mnist', download=False), lambda: load('folder', '~/x')):\n"
            "    try: wrong()\n"
            "    except Exception as error: print(type(error).__name__, error)\n")
    env = {name: value for name, value in os.environ.items() if name not in ("HOME", "VAEFAST_CACHE")}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120).stdout.splitlines()
    assert said[0] == "2" and [line.split()[0] for line in said[1:]] == ["DataError", "DataError", "ArgumentError"], said
    assert "set VAEFAST_CACHE" in said[1]
