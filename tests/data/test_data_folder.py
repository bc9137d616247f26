import io
import struct
import tarfile
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from vaefast.data import cache, cache_dir, decode, load
from vaefast.errors import ArgumentError, BadFileError, DataError, DataNotFoundError


@pytest.fixture
def tree(tmp_path, picture):
    """cat/ and dog/ with 15 images each; returns the root and the pixels by path."""
    root = tmp_path / "pets"
    pixels = {
        f"{kind}/{i:02}.png": picture(root / kind / f"{i:02}.png", seed=i + 100 * (kind == "dog"))
        for kind in ("cat", "dog") for i in range(15)
    }
    return root, pixels


def pack_zip(root, path, prefix=""):
    with zipfile.ZipFile(path, "w") as z:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                z.write(file, prefix + file.relative_to(root).as_posix())
        z.writestr("__MACOSX/._junk.png", b"junk")
    return path


def pack_tar(root, path):
    with tarfile.open(path, "w:gz") as t:
        t.add(root, "./pets")
    return path


def test_folder_zip_and_tar_agree(tree, tmp_path):
    root, pixels = tree
    (root / ".hidden").write_text("x")
    s = load("folder", root, "all")
    expected = np.stack([pixels[name] for name in sorted(pixels)]).transpose(0, 3, 1, 2)
    assert np.array_equal(s.images.numpy(), expected)
    assert s.classes == ("cat", "dog") and s.labels.tolist() == [0] * 15 + [1] * 15
    assert load("folder", pack_zip(root, tmp_path / "a.zip"), "all").digest == s.digest
    assert load("folder", pack_tar(root, tmp_path / "a.tgz"), "all").digest == s.digest
    assert load("folder", pack_zip(root, tmp_path / "b.zip", "top/in/"), "all").digest == s.digest


def test_held_out_part_is_stable(tree, picture):
    root, _ = tree
    train, test = load("folder", root), load("folder", root, "test")
    assert len(train) + len(test) == 30 and len(test) >= 1 and train.classes == test.classes == ("cat", "dog")
    more = load("folder", root, "test", test_fraction=0.5)
    assert len(more) > len(test)
    before = {x.numpy().tobytes() for x in test.images}
    for i in range(20):
        picture(root / "cat" / f"x{i}.png", seed=1000 + i)
    assert before <= {x.numpy().tobytes() for x in load("folder", root, "test").images}


def test_split_folders(tmp_path, picture):
    for part, count in (("train", 4), ("test", 2)):
        for kind in ("a", "b"):
            for i in range(count):
                picture(tmp_path / part / kind / f"{i}.png", seed=i)
    train, test = load("folder", tmp_path), load("folder", tmp_path, "test")
    assert (len(train), len(test), len(load("folder", tmp_path, "all"))) == (8, 4, 12)
    assert train.classes == ("a", "b") and test.labels.tolist() == [0, 0, 1, 1]


def test_flat_folder_has_no_labels(tmp_path, picture):
    picture(tmp_path / "a.png", mode="L")
    picture(tmp_path / "b.png", mode="L", seed=1)
    s = load("folder", tmp_path, "all")
    assert s.labels is None and s.image_shape == (1, 8, 8)
    assert load("folder", tmp_path, "all", channels=3).image_shape == (3, 8, 8)
    picture(tmp_path / "c.png")
    assert load("folder", tmp_path, "all").image_shape == (3, 8, 8)
    assert load("folder", tmp_path, "all", channels=1).image_shape == (1, 8, 8)
    assert len(load("folder", tmp_path, "train")) + len(load("folder", tmp_path, "test")) == 3


def test_crop_and_resize(tmp_path):
    ramp = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) % 251
    Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "a.png")
    assert np.array_equal(load("folder", tmp_path, "all", crop=10).images[0, 0].numpy(), ramp[5:15, 10:20])
    box = load("folder", tmp_path, "all", crop=(1, 2, 4, 6)).images[0, 0].numpy()
    assert np.array_equal(box, ramp[1:5, 2:8])
    small = load("folder", tmp_path, "all", crop=(20, 20), size=10, filter="box").images[0, 0].numpy()
    mean = ramp[:, 5:25].reshape(10, 2, 10, 2).mean((1, 3))
    assert np.abs(small - mean).max() <= 1.0  # Pillow rounds after each of its two passes
    assert load("folder", tmp_path, "all", size=(5, 7)).image_shape == (1, 5, 7)
    with pytest.raises(DataError, match="a.png is 20x30 .* too small for crop"):
        load("folder", tmp_path, "all", crop=25)
    for bad in ({"filter": "cubic"}, {"crop": (1, 2, 3)}, {"size": -1}, {"on_bad": "ignore"}, {"channels": 2},
                {"test_fraction": 1.5, "split": "test"}):
        with pytest.raises(ArgumentError):
            load("folder", tmp_path, **{"split": "all", **bad})


def test_modes(tmp_path):
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[:2] = (10, 20, 30, 255)
    Image.fromarray(clear, "RGBA").save(tmp_path / "a.png")
    deep = Image.fromarray(np.full((4, 4), 65535, np.uint16))
    deep.save(tmp_path / "b.png")
    Image.fromarray(np.full((4, 4), 99, np.uint8)).convert("P").save(tmp_path / "c.gif")
    Image.new("CMYK", (4, 4)).save(tmp_path / "d.jpg")
    images = load("folder", tmp_path, "all").images
    assert images[0, :, 0, 0].tolist() == [10, 20, 30] and images[0, :, 3, 3].tolist() == [255] * 3
    assert images[1].min() == 255 and images[2, :, 0, 0].tolist() == [99] * 3


def test_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn
    Image.new("L", (6, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert load("folder", tmp_path, "all").image_shape == (1, 6, 4)


def test_mixed_sizes_name_two_files(tree, picture):
    root, _ = tree
    picture(root / "cat" / "07.png", size=(9, 8))
    picture(root / "dog" / "07.png", size=(11, 8))
    message = "cat/00.png is 8x8 but cat/07.png is 9x8"
    for on_bad in ("error", "skip"):
        with pytest.raises(DataError, match=message):
            load("folder", root, "all", on_bad=on_bad)
    assert load("folder", root, "all", size=8).image_shape == (3, 8, 8)


def bomb(side):
    """A PNG of side x side pixels in a few bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def bad_file(kind):
    if kind == "text":
        return b"not an image"
    if kind == "empty":
        return b""
    if kind == "bomb":
        return bomb(60000)
    if kind == "large":
        return bomb(9000)  # Pillow alone would let this one pass
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, "JPEG" if kind == "truncated.jpg" else "PNG")
    return out.getvalue()[: len(out.getvalue()) // 2]


@pytest.mark.filterwarnings("ignore:.*were left out")
@pytest.mark.parametrize("kind, message", [
    ("text", "is not an image"), ("empty", "is not an image"), ("bomb", "decompression bomb"),
    ("large", "decompression bomb"), ("truncated.jpg", "truncated"), ("truncated.png", "truncated|cannot be decoded"),
])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["cat/00a.png", "cat/0.png", "zebra/z.png"])  # "cat/0.png" sorts first of all
def test_bad_files(tree, tmp_path, kind, message, packed, name):
    root, pixels = tree
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(bad_file(kind))
    where = pack_zip(root, tmp_path / "a.zip") if packed else root
    with pytest.raises(DataError, match=message) as caught:
        load("folder", where, "all")
    assert name in str(caught.value) and "on_bad" in str(caught.value)
    assert not list(cache_dir().rglob("*.npy")) and not list(cache_dir().rglob(".partial*"))
    for _ in range(2):  # decoded, then from the cache
        s = load("folder", where, "all", on_bad="skip")
        assert len(s) == 30 and name in s.note
        expected = np.stack([pixels[path] for path in sorted(pixels)]).transpose(0, 3, 1, 2)
        assert np.array_equal(s.images.numpy(), expected)


def test_skipping_warns(tree):
    root, _ = tree
    (root / "cat" / "readme.png").write_text("x")
    with pytest.warns(UserWarning, match="1 of 31 files were left out: cat/readme.png is not an image"):
        s = load("folder", root, "all", on_bad="skip")
    assert s.classes == ("cat", "dog")
    with pytest.raises(BadFileError, match="cat/readme.png is not an image"):
        load("folder", root, "all")


def test_files_that_are_no_pictures_are_ignored_and_counted(tree, tmp_path, picture):
    root, _ = tree
    plain = load("folder", root, "all")
    for name in ("README.txt", "labels.csv", "Thumbs.db", ".DS_Store", "cat/LICENSE", "cat/ehThumbs.db"):
        (root / name).write_text("x")
    for where in (root, pack_zip(root, tmp_path / "a.zip")):
        with pytest.warns(UserWarning, match="3 files are no pictures and are ignored: README.txt, cat/LICENSE, labels.csv"):
            s = load("folder", where, "all")
        assert s.digest == plain.digest and s.classes == ("cat", "dog") and "ignored" in s.note
    picture(root / "cat" / "zz.png")
    (root / "cat" / "zz.png").rename(root / "cat" / "zz")  # a picture by what it begins with
    with pytest.warns(UserWarning, match="3 files"):
        assert len(load("folder", root, "all")) == 31


def test_nothing_to_load(tmp_path):
    with pytest.raises(DataNotFoundError, match="does not exist"):
        load("folder", tmp_path / "absent")
    with pytest.raises(DataError, match="holds no files"):
        load("folder", tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="no sound image"):
        load("folder", tmp_path, "all", on_bad="skip")
    with pytest.raises(DataError, match="not a folder, nor a sound zip or tar"):
        load("folder", tmp_path / "a.txt")
    for name in ("a.zip", "a.tar.gz"):
        (tmp_path / name).write_bytes(b"PK\3\4damaged")
        with pytest.raises(DataError, match=name):
            load("folder", tmp_path / name)


def test_damaged_zip_member(tree, tmp_path):
    root, _ = tree
    path = pack_zip(root, tmp_path / "a.zip")
    content = bytearray(path.read_bytes())
    spot = content.index(b"IDAT") + 20
    content[spot : spot + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cat/00.png in .*damaged"):
        load("folder", path, "all")


def test_cache(tree, monkeypatch):
    root, _ = tree
    calls = []
    s = load("folder", root, "all", progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (30, 30)
    (entry,) = (cache_dir() / "decoded").iterdir()
    assert sorted(p.name for p in entry.iterdir()) == ["images.npy", "meta.json"]

    def never(*args):
        raise AssertionError("decoded again")

    with monkeypatch.context() as m:
        m.setattr(decode, "_decode_one", never)
        again = load("folder", root, "all")
        assert again.digest == s.digest
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.images[0] = 0  # a private copy: the file stays as it is
    assert load("folder", root, "all").digest == s.digest

    content = (entry / "images.npy").read_bytes()  # a damaged entry is made anew
    (entry / "images.npy").write_bytes(content[:200])
    assert load("folder", root, "all").digest == s.digest
    assert (entry / "images.npy").read_bytes() == content

    load("folder", root, "all", size=4)  # other options, other entry
    assert len(list((cache_dir() / "decoded").iterdir())) == 2
    Image.new("RGB", (8, 8)).save(root / "cat" / "00.png")  # other content, other entry
    assert load("folder", root, "all").images[0].max() == 0


def test_cache_off_or_unwritable(tree, tmp_path, monkeypatch):
    root, _ = tree
    a = load("folder", root, "all", cache=False)
    assert not cache_dir().exists() or not list(cache_dir().iterdir())
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("VAEFAST_CACHE", str(tmp_path / "file"))
    assert load("folder", root, "all").digest == a.digest


def test_interrupted_decoding_leaves_nothing(tree):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load("folder", tree[0], "all", progress=stop)
    assert not list((cache_dir() / "decoded").iterdir())


def test_full_disk_falls_back_to_memory(tree, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "posix_fallocate", full, raising=False)
    assert len(load("folder", tree[0], "all")) == 30
    assert not list((cache_dir() / "decoded").iterdir())


def test_linked_folders(tree, tmp_path):
    root, _ = tree
    (tmp_path / "links").mkdir()
    for kind in ("cat", "dog"):
        (tmp_path / "links" / kind).symlink_to(root / kind)
    (root / "cat" / "loop").symlink_to(root / "cat")
    assert len(load("folder", tmp_path / "links", "all")) == 30


def test_images_in_dtype(tree):
    assert load("folder", tree[0], "all").images.dtype == torch.uint8
