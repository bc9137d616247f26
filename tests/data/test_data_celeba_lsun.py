import builtins
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from vaefast.data import celeba, celeba_hq, load
from vaefast.data.lmdb_source import LmdbSource
from vaefast.errors import ArgumentError, DataError, DataNotFoundError

BORDERS = (1, 162_770, 162_771, 182_637, 182_638, 202_599)
AS_IN_PART = {"verify": False}


def gradient(number, height=218, width=178):
    """A smooth picture, so that a crop one pixel off shows after JPEG."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, number % 256)], 2).astype(np.uint8)


@pytest.fixture
def faces(tmp_path):
    """A root with img_align_celeba/, the six pictures at the borders of the official partition."""
    folder = tmp_path / "root" / "img_align_celeba"
    folder.mkdir(parents=True)
    for number in BORDERS:
        Image.fromarray(gradient(number)).save(folder / f"{number:06}.jpg", quality=95)
    (folder.parent / "list_eval_partition.txt").write_text("000001.jpg 0\n")
    return folder.parent


def test_celeba_official_partition(faces):
    for split, numbers in (("train", BORDERS[:2]), ("valid", BORDERS[2:4]), ("test", BORDERS[4:]), ("all", BORDERS)):
        s = load("celeba", faces, split, **AS_IN_PART)
        assert s.images.shape == (len(numbers), 3, 64, 64) and s.labels is None and s.split == split
        assert np.abs(s.images[:, 2].float().mean((1, 2)).numpy() - [n % 256 for n in numbers]).max() < 3
        assert s.note == "CelebA cropped to 128, bilinear to 64x64, official partition."
    counts = [len(celeba.numbers(split, "official")) for split in ("train", "valid", "test", "all")]
    assert counts == [162_770, 19_867, 19_962, 202_599]


def test_celeba_wae_partition(faces):
    train, test = (celeba.numbers(split, "wae") for split in ("train", "test"))
    assert len(train) == 182_599 and len(test) == 20_000 and not train & test
    # what CPython 2.7.18 gives for range(1, 202600) shuffled after random.seed(123): its start, and that of the last 20,000
    order = celeba._python2_shuffled(list(range(1, 202_600)), 123)
    assert order[:5] == [174314, 9461, 16555, 86072, 124490] and order[-20_000:][:3] == [114573, 19652, 28907]
    assert {174314, 9461} <= train and {114573, 19652} <= test
    loaded = [load("celeba", faces, split, partition="wae", **AS_IN_PART) for split in ("train",)]
    assert len(loaded[0]) == sum(n in train for n in BORDERS)
    with pytest.raises(ArgumentError, match="'valid' is unknown"):
        load("celeba", faces, "valid", partition="wae")
    with pytest.raises(ArgumentError, match="official"):
        load("celeba", faces, partition="shuffled")


@pytest.mark.parametrize("crop, top, left", [(128, 45, 25), (140, 39, 19), (108, 55, 35), (160, 29, 9)])
def test_celeba_crops_are_the_published_ones(faces, crop, top, left):
    path = faces / "img_align_celeba" / "000001.jpg"
    whole = Image.open(path)
    cut = whole.crop((left, top, left + crop, top + crop))
    for name in ("bilinear", "lanczos"):
        expected = np.asarray(cut.resize((64, 64), Image.Resampling[name.upper()])).transpose(2, 0, 1)
        s = load("celeba", faces, crop=crop, filter=name, **AS_IN_PART)
        assert np.array_equal(s.images[0].numpy(), expected) and f"{crop}, {name}" in s.note


def test_celeba_forms_agree_and_are_cached(faces, tmp_path):
    s = load("celeba", faces, "all", size=32, **AS_IN_PART)
    archive = tmp_path / "zipped" / "img_align_celeba.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as z:
        for path in sorted((faces / "img_align_celeba").iterdir()):
            z.write(path, f"img_align_celeba/img_align_celeba/{path.name}")
        z.writestr("list_attr_celeba.csv", "image_id")
    for root in (archive, archive.parent, faces / "img_align_celeba"):
        assert load("celeba", root, "all", size=32, **AS_IN_PART).digest == s.digest
    calls = []
    load("celeba", archive, "all", size=32, progress=lambda done, total: calls.append((done, total)), **AS_IN_PART)
    assert calls == [(6, 6)]
    assert load("celeba", faces, "all", crop=None, size=(109, 89), **AS_IN_PART).image_shape == (3, 109, 89)


def test_celeba_refusals(faces, tmp_path):
    with pytest.raises(DataError, match="holds 6 of CelebA's 202,599 pictures .000002 is missing"):
        load("celeba", faces)
    with pytest.raises(DataNotFoundError, match="img_align_celeba"):
        load("celeba", tmp_path)
    with pytest.raises(DataError, match="too small for crop"):
        load("celeba", faces, crop=200, **AS_IN_PART)
    folder = faces / "img_align_celeba"
    (folder / "000001.jpg").write_bytes((folder / "000001.jpg").read_bytes()[:900])
    with pytest.raises(DataError, match="000001.jpg .*truncated"):
        load("celeba", faces, **AS_IN_PART)
    with pytest.warns(UserWarning, match="1 of 2 files were left out"):
        s = load("celeba", faces, on_bad="skip", **AS_IN_PART)
    assert len(s) == 1 and "000001.jpg" in s.note and "cropped to 128" in s.note
    (folder / "000001.png").write_bytes(b"")
    with pytest.raises(DataError, match="000001 twice"):
        load("celeba", faces)
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(gradient(0)).save(other / "a.png")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as z:
        z.write(other / "a.png", "a.png")
    with pytest.raises(DataError, match="is not CelebA"):
        load("celeba", tmp_path / "other.zip")


def test_celeba_of_another_size_is_refused(faces, monkeypatch):
    monkeypatch.setattr(celeba, "COUNT", 3)
    folder = faces / "img_align_celeba"
    for path in folder.iterdir():
        path.unlink()
    for number in (1, 2, 3):
        Image.fromarray(gradient(number, 64, 64)).save(folder / f"{number:06}.jpg")
    with pytest.raises(DataError, match="pictures of 64x64 .*218x178"):
        load("celeba", faces, "all", crop=None)


def test_celeba_hq_split(tmp_path, picture):
    folder = tmp_path / "CelebAMask-HQ" / "CelebA-HQ-img"
    pixels = {str(i): picture(folder / f"{i}.png", size=(20, 20), seed=i) for i in range(12)}
    picture(tmp_path / "CelebAMask-HQ" / "CelebAMask-HQ-mask-anno" / "0" / "00000_hair.png")
    train, test, whole = (load("celeba-hq", tmp_path, s, size=20, verify=False) for s in ("train", "test", "all"))
    names = sorted(pixels)  # as text: 0, 1, 10, 11, 2, ...
    assert np.array_equal(whole.images.numpy(), np.stack([pixels[n] for n in names]).transpose(0, 3, 1, 2))
    shuffled = list(names)
    np.random.RandomState(1967).shuffle(shuffled)
    held = sorted(shuffled[-2:])
    assert np.array_equal(test.images.numpy(), np.stack([pixels[n] for n in held]).transpose(0, 3, 1, 2))
    assert len(train) == 10
    assert load("celeba-hq", folder, verify=False).image_shape == (3, 256, 256)
    with pytest.raises(DataError, match="12 pictures, where CelebA-HQ has 30,000"):
        load("celeba-hq", tmp_path)


def test_celeba_hq_split_sizes_and_zip(tmp_path, picture):
    files = list(range(30_000))
    train, test = (celeba_hq._part(files, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (24_000, 6_000) and sorted(train + test) == files and train == sorted(train)
    for i in range(5):
        picture(tmp_path / "in" / f"{i}.jpg", seed=i)
    with zipfile.ZipFile(tmp_path / "celeba-hq.zip", "w") as z:
        for path in sorted((tmp_path / "in").iterdir()):
            z.write(path, f"CelebA-HQ-img/{path.name}")
        z.writestr("CelebA-HQ-to-CelebA-mapping.txt", "x")
    for root in (tmp_path / "celeba-hq.zip", tmp_path):
        assert len(load("celeba-hq", root, "all", size=8, verify=False)) == 5


def jpeg(seed, height, width):
    out = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, "WEBP" if seed % 2 else "JPEG", quality=90)  # LSUN's values are of both kinds
    return out.getvalue()


@pytest.fixture
def rooms(tmp_path):
    """bedroom_train_lmdb with 5 pictures, bedroom_val_lmdb with 2, and another category."""
    lmdb = pytest.importorskip("lmdb", reason="lmdb is not installed (pip install 'vaefast[lsun]')")
    root = tmp_path / "lsun"
    for name, count in (("bedroom_train_lmdb", 5), ("bedroom_val_lmdb", 2), ("tower_train_lmdb", 1)):
        (root / name).mkdir(parents=True)
        with lmdb.open(str(root / name), map_size=1 << 22) as data, data.begin(write=True) as write:
            for i in range(count):
                write.put(f"{i:040x}".encode(), jpeg(i, 40 + 10 * (i % 2), 50))
    return root


def test_lsun_lmdb(rooms):
    s = load("lsun", rooms, category="bedroom")
    assert s.images.shape == (5, 3, 64, 64) and s.labels is None
    wide = Image.open(io.BytesIO(jpeg(2, 40, 50))).convert("RGB").crop((5, 0, 45, 40))
    assert np.array_equal(s.images[2].numpy(), np.asarray(wide.resize((64, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1))
    assert load("lsun", rooms / "bedroom_train_lmdb").digest == s.digest
    assert len(load("lsun", rooms, "test", category="bedroom", size=16)) == 2
    assert len(load("lsun", rooms, "all", category="bedroom", size=16)) == 7
    for limit, count in ((3, 3), (5, 5), (6, 6), (9, 7)):
        assert len(load("lsun", rooms, "all", category="bedroom", size=16, limit=limit)) == count
    assert np.array_equal(load("lsun", rooms, category="bedroom", limit=2).images, s.images[:2])


def test_lsun_refusals(rooms, tmp_path):
    with pytest.raises(ArgumentError, match="2 categories; choose one .*bedroom, tower"):
        load("lsun", rooms)
    with pytest.raises(DataNotFoundError, match="no tower_val_lmdb"):
        load("lsun", rooms, "test", category="tower")
    with pytest.raises(ArgumentError, match="does not end in _val_lmdb"):
        load("lsun", rooms / "bedroom_train_lmdb", "test")
    with pytest.raises(ArgumentError, match="limit must be"):
        load("lsun", rooms, category="bedroom", limit=0)
    with pytest.raises(ArgumentError, match='integers or "square"'):
        load("lsun", rooms, category="bedroom", crop="round")
    (rooms / "tower_train_lmdb" / "data.mdb").write_bytes(b"junk" * 3000)
    with pytest.raises(DataError, match="cannot be read as an LMDB"):
        load("lsun", rooms, category="tower")
    with zipfile.ZipFile(tmp_path / "bedroom_val_lmdb.zip", "w") as z:
        z.writestr("bedroom_val_lmdb/data.mdb", b"x")
    for root in (tmp_path / "bedroom_val_lmdb.zip", tmp_path):
        with pytest.raises(DataError, match="packed LMDB; unpack it"):
            load("lsun", root)


@pytest.mark.parametrize("share", [0.1, 0.6, 0.999])
def test_a_truncated_lmdb_is_refused_and_let_go(rooms, share):
    """To read a map beyond its file's end kills the process; and lmdb opens nothing that is still open."""
    import lmdb

    place = rooms / "bedroom_train_lmdb"
    whole = (place / "data.mdb").read_bytes()
    (place / "data.mdb").write_bytes(whole[: int(share * len(whole))])
    for _ in range(2):
        with pytest.raises(DataError, match="truncated"):
            load("lsun", place, size=8)
    (place / "data.mdb").write_bytes(whole)
    first, second = LmdbSource(place), LmdbSource(place)  # both at once, from one environment
    assert first.files == second.files and first.read(first.files[0]) == second.read(second.files[0])
    first.close()
    assert second.read(second.files[-1])
    second.close()
    with lmdb.open(str(place), readonly=True, lock=False), pytest.raises(DataError, match="close\\(\\) that environment"):
        load("lsun", place, size=8)
    assert len(load("lsun", place, size=8)) == 5


def test_lsun_without_lmdb(rooms, monkeypatch):
    real = builtins.__import__

    def no_lmdb(name, *args, **kwargs):
        if name == "lmdb":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_lmdb)
    with pytest.raises(ArgumentError, match=r"lmdb is not installed.*vaefast\[lsun\]"):
        load("lsun", rooms, category="bedroom")


def test_lsun_as_pictures(tmp_path, picture):
    for i in range(20):
        picture(tmp_path / "bedroom" / f"{i:02}.jpg", size=(30 + i, 40), seed=i)
    train, test = load("lsun", tmp_path, category="bedroom"), load("lsun", tmp_path / "bedroom", "test")
    assert len(train) + len(test) == 20 and train.name == "lsun" and train.labels is None and train.image_shape == (3, 64, 64)
    assert len(load("lsun", tmp_path, "all", limit=7)) == 7
