import gzip
import hashlib
import http.server
import threading

import numpy as np
import pytest
import torch

from vaefast.data import load, mnist
from vaefast.data.idx import read_idx
from vaefast.errors import ArgumentError, DataError, DataNotFoundError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 10, 7, dtype=np.uint8)


@pytest.fixture
def tiny(tmp_path, idx_bytes):
    """A root with a tiny valid set of odd image sizes."""
    root = tmp_path / "tiny"
    root.mkdir()
    for part in ("train", "t10k"):
        (root / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(IMAGES))
        (root / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(LABELS)))
    return root


def snapshot(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_read_idx_plain_and_gzip(tmp_path, idx_bytes):
    content = idx_bytes(IMAGES)
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b.gz").write_bytes(gzip.compress(content))
    (tmp_path / "named-plain").write_bytes(gzip.compress(content))
    for name in ("a", "b.gz", "named-plain"):
        file = read_idx(tmp_path / name, 3)
        assert np.array_equal(file.values, IMAGES) and file.values.flags.writeable
        assert file.md5 == hashlib.md5(content).hexdigest()


GOOD = b"\0\0\x08\x03" + np.array([7, 5, 3], ">u4").tobytes() + IMAGES.tobytes()
PACKED = gzip.compress(GOOD, mtime=0)  # without the time, which would be part of the tests' names


@pytest.mark.parametrize("content, message", [
    (b"", "holds 0 bytes"),
    (b"\0\0\x08", "holds 3 bytes"),
    (b"<html>not found</html>", "is not an IDX file"),
    (b"\0\0\x0d\x03" + GOOD[4:], "value type 0x0d"),
    (b"\0\0\x08\x01" + GOOD[4:], r"holds labels \(magic 2049\), but images \(magic 2051\)"),
    (GOOD[:10], "truncated inside its IDX header"),
    (GOOD[:-1], "truncated: its header states 7x5x3 = 105 bytes of images, but only 104"),
    (GOOD + b"x", "has bytes after"),
    (GOOD[:4] + b"\0" * 4 + GOOD[8:], "impossible size of 0x5x3"),
    (GOOD[:4] + b"\xff" * 12, "impossible size"),
    (GOOD[:4] + np.array([1 << 24, 5, 3], ">u4").tobytes() + b"xx", "only 2 are there"),
    (PACKED[:-20], "truncated gzip"),
    (PACKED[:-4], "truncated gzip"),
    (PACKED[:-8] + b"\0" * 8, "damaged gzip"),
    (PACKED[:12] + b"\xff" * 60, "damaged gzip|truncated gzip"),
])
def test_bad_idx(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_missing_idx(tmp_path):
    with pytest.raises(DataNotFoundError, match="does not exist"):
        read_idx(tmp_path / "x", 1)
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path, 1)


def test_other_content_needs_verify_off(tiny):
    for split in ("train", "test"):
        s = load("mnist", tiny, split, verify=False, download=False)
        assert np.array_equal(s.images[:, 0].numpy(), IMAGES) and s.labels.tolist() == LABELS.tolist()
        assert s.classes == tuple("0123456789")
    before = snapshot(tiny)
    with pytest.raises(DataError, match="holds other content.*verify=False"):
        load("mnist", tiny, download=False)
    with pytest.raises(ArgumentError, match="size=32 needs 28x28"):
        load("mnist", tiny, verify=False, size=32)
    with pytest.raises(ArgumentError, match="size=64"):
        load("mnist", tiny, verify=False, size=64)
    assert snapshot(tiny) == before


@pytest.mark.parametrize("folder", [".", "mnist", "MNIST/raw"])
def test_layouts(tiny, tmp_path, folder):
    target = tmp_path / "root" / folder
    target.mkdir(parents=True)
    for path in tiny.iterdir():
        path.rename(target / path.name)
    assert len(load("mnist", tmp_path / "root", verify=False, download=False)) == 7


def test_count_mismatch(tiny, idx_bytes):
    (tiny / "train-labels-idx1-ubyte.gz").write_bytes(idx_bytes(LABELS[:5]))
    with pytest.raises(DataError, match="7 images but .* holds 5 labels"):
        load("mnist", tiny, verify=False)


def test_swapped_files(tiny, idx_bytes):
    (tiny / "train-images-idx3-ubyte").write_bytes(idx_bytes(LABELS))
    with pytest.raises(DataError, match="holds labels .* images .* expected"):
        load("mnist", tiny, verify=False)


def test_missing_names_folders_and_files(tmp_path):
    with pytest.raises(DataNotFoundError) as caught:
        load("fashion-mnist", tmp_path, download=False)
    message = str(caught.value)
    for part in (str(tmp_path / "fashion-mnist"), "FashionMNIST/raw", "train-images-idx3-ubyte",
                 "t10k-labels-idx1-ubyte", "download is off"):
        assert part in message
    assert not list(tmp_path.iterdir())


COUNTS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


@pytest.mark.parametrize("name, split, mean, std", [
    ("mnist", "train", 0.1307, 0.3081), ("mnist", "test", 0.1325, 0.3105),
    ("fashion-mnist", "train", 0.2860, 0.3530), ("fashion-mnist", "test", 0.2868, 0.3524),
])
def test_real(real_data, name, split, mean, std):
    s = load(name, real_data(name), split, download=False)
    n = 60_000 if split == "train" else 10_000
    assert s.images.shape == (n, 1, 28, 28) and s.images.dtype == torch.uint8
    assert torch.bincount(s.labels).tolist() == (COUNTS[split] if name == "mnist" else [n // 10] * 10)
    pixels = np.bincount(s.images.numpy().reshape(-1), minlength=256) / s.images.numel()
    levels = np.arange(256) / 255
    assert abs(pixels @ levels - mean) < 5e-5
    assert abs(np.sqrt(pixels @ levels**2 - (pixels @ levels) ** 2) - std) < 5e-5
    assert len(s.classes) == 10


def test_real_padded_and_mistaken(real_data):
    root = real_data("mnist")
    s = load("mnist", root, "test", size=32)
    assert s.image_shape == (1, 32, 32) and s.images[:, :, :2].sum() == 0 and s.images[:, :, :, 30:].sum() == 0
    assert torch.equal(s.images[:, :, 2:30, 2:30], load("mnist", root / "mnist", "test").images)
    with pytest.raises(DataError, match="holds MNIST's t10k-images-idx3-ubyte"):
        load("fashion-mnist", root / "mnist", "test", download=False)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        served = self.server.served.get(self.path)
        if served is None:
            self.send_error(404)
            return
        body, stated = served
        self.send_response(200)
        self.send_header("Content-Length", str(stated))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(monkeypatch, idx_bytes):
    """A local mirror in place of MNIST's, serving a tiny set whose digests are taken for the published ones."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.served = {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    md5 = {}
    for stem in mnist.MNIST.md5:
        content = idx_bytes(IMAGES if "images" in stem else LABELS)
        md5[stem] = hashlib.md5(content).hexdigest()
        packed = gzip.compress(content)
        server.served[f"/good/{stem}.gz"] = (packed, len(packed))
        other = gzip.compress(idx_bytes(IMAGES[:3] if "images" in stem else LABELS[:3]))
        server.served[f"/other/{stem}.gz"] = (other, len(other))
        server.served[f"/broken/{stem}.gz"] = (packed[:30], len(packed))
        server.served[f"/page/{stem}.gz"] = (b"<html>log in</html>", 19)
    base = f"http://127.0.0.1:{server.server_port}"

    def use(*paths):
        fields = {**vars(mnist.MNIST), "md5": md5, "mirrors": [base + path for path in paths]}
        monkeypatch.setattr(mnist, "MNIST", mnist._Family(**fields))
        return server

    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    yield use
    server.shutdown()
    server.server_close()


def test_download(mirror, tmp_path):
    mirror("/absent/", "/other/", "/broken/", "/good/")  # falls through to the one that is right
    s = load("mnist", tmp_path / "new", "test")
    assert np.array_equal(s.images[:, 0].numpy(), IMAGES)
    files = sorted(path.name for path in (tmp_path / "new").rglob("*") if path.is_file())
    assert files == ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    mirror()  # nothing is fetched twice
    assert len(load("mnist", tmp_path / "new", "test")) == 7


def test_download_without_root_goes_to_the_cache(mirror):
    mirror("/good/")
    assert len(load("mnist")) == 7
    assert len(load("mnist", download=False)) == 7


@pytest.mark.parametrize("path, reason", [
    ("/other/", "holds other content"), ("/broken/", "broke off|truncated gzip|IncompleteRead"),
    ("/page/", "is not an IDX file"), ("/absent/", "HTTP status 404"),
])
def test_download_that_fails_leaves_nothing(mirror, tmp_path, path, reason):
    mirror(path)
    with pytest.raises(DataNotFoundError, match=reason) as caught:
        load("mnist", tmp_path)
    assert "127.0.0.1" in str(caught.value) and "train-images-idx3-ubyte" in str(caught.value)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_download_refused(mirror, tmp_path):
    server = mirror("/good/")
    server.shutdown()
    server.server_close()
    with pytest.raises(DataNotFoundError, match="could not be downloaded .*refused"):
        load("mnist", tmp_path)


def test_download_completes_a_folder_that_has_one_file(mirror, tmp_path, idx_bytes):
    mirror("/good/")
    own = tmp_path / "train-labels-idx1-ubyte"
    own.write_bytes(idx_bytes(LABELS))
    assert len(load("mnist", tmp_path)) == 7
    assert sorted(p.name for p in tmp_path.iterdir()) == ["train-images-idx3-ubyte.gz", own.name]


def test_download_does_not_replace_a_damaged_file(mirror, tmp_path):
    mirror("/good/")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(b"\x1f\x8bdamaged")
    with pytest.raises(DataError, match="gzip"):
        load("mnist", tmp_path)
    assert path.read_bytes() == b"\x1f\x8bdamaged"


def test_download_into_a_file(mirror, tmp_path):
    mirror("/good/")
    (tmp_path / "f").write_text("x")
    with pytest.raises(DataError, match="cannot be written"):
        load("mnist", tmp_path / "f")
