import io
import pickle
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from vaefast.data import load
from vaefast.data.cifar_files import parse_binary, parse_python
from vaefast.errors import ArgumentError, DataError, DataNotFoundError

RNG = np.random.default_rng(0)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def batch(n=20):
    return RNG.integers(0, 256, (n, 3072), dtype=np.uint8), (np.arange(n) % 10).tolist()


def python_2_pickle(data, labels):
    """A batch as Python 2 wrote it (protocol 2), opcode by opcode: bytes are raw strings there."""
    raw = data.tobytes()

    def short(text):
        return b"U" + bytes([len(text)]) + text

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + b"K\x00\x85" + short(b"b") + b"\x87R"
        + b"(K\x01" + b"M" + len(data).to_bytes(2, "little") + b"M" + (3072).to_bytes(2, "little") + b"\x86"
        + b"cnumpy\ndtype\n" + short(b"u1") + b"K\x00K\x01\x87R"
        + b"(K\x03" + short(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89" + b"T" + len(raw).to_bytes(4, "little") + raw + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + short(b"data") + array + short(b"labels") + numbers + b"u."


@pytest.mark.parametrize("write", [
    python_2_pickle,
    lambda data, labels: pickle.dumps({b"data": data, b"labels": labels, b"filenames": [b"x.png"]}, protocol=2),
    lambda data, labels: pickle.dumps({"data": data, "labels": labels}, protocol=4),
])
def test_python_batch(write):
    data, labels = batch()
    pixels, found = parse_python(write(data, labels))
    assert np.array_equal(pixels.reshape(20, -1), data) and found.tolist() == labels


class Evil:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize("content, message", [
    (pickle.dumps(Evil()), "asks for builtins.print"),
    (pickle.dumps({b"data": Evil(), b"labels": []}), "asks for"),
    (pickle.dumps([1]), "no batch"),
    (pickle.dumps({b"data": 1, b"labels": [1]}), "no data and labels"),
    (pickle.dumps({b"data": np.zeros((2, 5), np.uint8), b"labels": [1, 2]}, 2), "rows of 3,072"),
    (pickle.dumps({b"data": np.zeros((2, 3072), np.float32), b"labels": [1, 2]}, 2), "unsigned bytes"),
    (b"", "damaged"), (b"junk", "damaged|invalid|could not|pickle"),
    (python_2_pickle(*batch())[:5000], "damaged|trunc"),
])
def test_bad_python_batch(content, message, capsys):
    with pytest.raises(ValueError, match=message):
        parse_python(content)
    assert capsys.readouterr().out == ""


def test_binary_batch():
    data, labels = batch(5)
    content = b"".join(bytes([label]) + row.tobytes() for row, label in zip(data, labels, strict=True))
    pixels, found = parse_binary(content)
    assert np.array_equal(pixels.reshape(5, -1), data) and found.tolist() == labels
    with pytest.raises(ValueError, match="whole number of records"):
        parse_binary(content[:-1])


@pytest.fixture(params=["python", "binary"])
def archive(request, tmp_path):
    """Both exact forms, with 20 images a batch; (form, path of the tar, training pixels)."""
    form, suffix = request.param, ".bin" if request.param == "binary" else ""
    folder = "cifar-10-batches-bin" if suffix else "cifar-10-batches-py"
    path, train = tmp_path / f"cifar-10-{form}.tar.gz", []
    with tarfile.open(path, "w:gz") as tar:
        for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
            data, labels = batch()
            train.append(data)
            content = pickle.dumps({b"data": data, b"labels": labels}, 2)
            if suffix:
                content = b"".join(bytes([label]) + row.tobytes() for row, label in zip(data, labels, strict=True))
            member = tarfile.TarInfo(f"{folder}/{name}{suffix}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return form, path, np.concatenate(train[:5])


def test_exact_forms(archive, tmp_path):
    form, path, pixels = archive
    s = load("cifar10", tmp_path, verify=False)
    assert np.array_equal(s.images.numpy().reshape(100, -1), pixels) and s.classes == CLASSES and s.note == ""
    assert len(load("cifar10", path, "test", verify=False)) == 20
    shutil.unpack_archive(path, tmp_path / "out")  # tarfile's own filters are missing before 3.10.12 and 3.11.4
    (folder,) = (tmp_path / "out").iterdir()
    for root in (tmp_path / "out", folder):
        assert load("cifar10", root, verify=False, form=form).digest == s.digest
    with pytest.raises(DataError, match="holds 10 train images of class airplane.*5,000"):
        load("cifar10", tmp_path)
    lossy = load("cifar10", tmp_path, verify=False, jpeg75=True)
    out = io.BytesIO()
    Image.fromarray(s.images[3].permute(1, 2, 0).numpy()).save(out, "JPEG")
    assert np.array_equal(lossy.images[3].permute(1, 2, 0).numpy(), np.asarray(Image.open(out))) and lossy.note
    batch_file = sorted(folder.iterdir())[1]
    batch_file.write_bytes(batch_file.read_bytes()[:-100])
    with pytest.raises(DataError, match=f"{batch_file.name} in .* is no CIFAR-10 batch"):
        load("cifar10", folder, verify=False)
    batch_file.unlink()
    with pytest.raises(DataError, match=f"lacks {batch_file.name}"):
        load("cifar10", folder, verify=False)


def test_cifar_refusals(tmp_path):
    with pytest.raises(DataNotFoundError, match="cifar-10-python.tar.gz"):
        load("cifar10", tmp_path)
    with pytest.raises(ArgumentError, match="size 32"):
        load("cifar10", tmp_path, size=64)
    with pytest.raises(ArgumentError, match="form 'png'"):
        load("cifar10", tmp_path, form="png")
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b broken")
    with pytest.raises(DataError, match="damaged or truncated tar file: 0 files"):
        load("cifar10", tmp_path)


def copy_some(source, target, wanted):
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(target, "w") as part:
        for name in whole.namelist():
            if wanted(name):
                part.writestr(name, whole.read(name))
    return target


def test_real_cifar10_jpeg(real_data, tmp_path):
    source = real_data("cifar10-jpeg") / "cifar10-jpeg" / "cifar10-jpeg.zip"
    path = copy_some(source, tmp_path / "cifar10-jpeg.zip", lambda name: name.endswith(("/0001.jpg", "/0002.jpg")))
    s = load("cifar10", tmp_path, verify=False)
    assert s.images.shape == (20, 3, 32, 32) and s.labels.tolist() == sorted([*range(10)] * 2) and "Lossy" in s.note
    with zipfile.ZipFile(path) as z:
        one = np.asarray(Image.open(io.BytesIO(z.read("train/bird/0001.jpg"))))
    assert np.array_equal(s.images[4].permute(1, 2, 0).numpy(), one)
    assert len(load("cifar10", path, "test", verify=False)) == 20
    with pytest.raises(DataError, match="2 train images of class airplane"):
        load("cifar10", path)
    with pytest.raises(ArgumentError, match="lossy already"):
        load("cifar10", path, jpeg75=True, verify=False)
    with pytest.raises(DataError, match="form 'jpeg'.*form 'python'"):
        load("cifar10", path, form="python")


def test_real_lfw(real_data, tmp_path):
    source = real_data("lfw") / "lfw" / "lfw-deepfunneled-64.zip"
    path = copy_some(source, tmp_path / "lfw-part.zip", lambda name: name.startswith(("Al", "Bi")))
    with zipfile.ZipFile(path) as z:
        names = z.namelist()
        z.extractall(tmp_path / "out" / "lfw")
    train, test, whole = (load("lfw", tmp_path, split) for split in ("train", "test", "all"))
    assert whole.images.shape == (len(names), 3, 64, 64) and whole.labels is None
    assert len(train) + len(test) == len(names) and 0.02 < len(test) / len(names) < 0.3
    assert load("lfw", tmp_path / "out").digest == train.digest
    order = {image.numpy().tobytes(): name for image, name in zip(whole.images, sorted(names), strict=True)}
    people = [{order[x.numpy().tobytes()].split("/")[0] for x in part.images} for part in (train, test)]
    assert not people[0] & people[1]


def test_lfw_original_size_is_cropped(tmp_path):
    for person in ("A_B", "C_D"):
        (tmp_path / person).mkdir()
        pixels = np.zeros((250, 250, 3), np.uint8)
        pixels[50:200, 50:200] = 200
        Image.fromarray(pixels).save(tmp_path / person / f"{person}_0001.png")
    s = load("lfw", tmp_path, "all")
    assert s.image_shape == (3, 64, 64) and torch.all(s.images == 200)
    assert load("lfw", tmp_path, "all", crop=None).images.min() == 0
    assert len(load("lfw", tmp_path)) == len(load("lfw", tmp_path, "test")) == 1
    with pytest.raises(ArgumentError, match="auto"):
        load("lfw", tmp_path, crop="middle")


def test_lfw_missing(tmp_path):
    with pytest.raises(DataNotFoundError, match="neither an archive"):
        load("lfw", tmp_path)
