"""What goes wrong while decoding: processes killed, archives that lie, leftovers; and what is shown meanwhile."""

import io
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from vaefast.data import cache_dir, load, progress
from vaefast.errors import DataError


def test_killed_while_decoding(tmp_path, picture):
    for i in range(200):
        picture(tmp_path / "in" / f"{i:03}.png", seed=i)
    code = ("import os, signal, sys\nfrom vaefast.data import load\n"
            "load('folder', sys.argv[1], 'all', progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL))")
    dead = subprocess.run([sys.executable, "-c", code, str(tmp_path / "in")], timeout=60)
    assert dead.returncode == -signal.SIGKILL
    entries = list((cache_dir() / "decoded").iterdir())
    assert len(entries) == 1 and entries[0].name.startswith(".partial-")  # left behind, but nobody takes it for whole
    whole = load("folder", tmp_path / "in", "all")
    assert np.array_equal(whole.images[7].permute(1, 2, 0).numpy(), np.asarray(Image.open(tmp_path / "in" / "007.png")))
    assert len(list((cache_dir() / "decoded").glob("[!.]*"))) == 1
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(entries[0], (long_ago, long_ago))
    load("folder", tmp_path / "in", "all", size=4)
    assert not list((cache_dir() / "decoded").glob(".partial-*"))


def test_archive_member_beyond_all_bounds(tmp_path, picture):
    picture(tmp_path / "a.png")
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        z.write(tmp_path / "a.png", "a.png")
        with z.open("b.png", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DataError, match="b.png in .* 314,572,800 bytes long"):
        load("folder", path, "all")
    with pytest.warns(UserWarning, match="b.png"):
        assert len(load("folder", path, "all", on_bad="skip")) == 1


def test_square_crop(tmp_path):
    for name, (height, width) in {"a": (6, 9), "b": (9, 6), "c": (6, 6)}.items():
        rows, columns = np.mgrid[:height, :width]
        Image.fromarray((10 * rows + columns).astype(np.uint8)).save(tmp_path / f"{name}.png")
    images = load("folder", tmp_path, "all", crop="square").images[:, 0]
    assert images.shape == (3, 6, 6)
    assert images[:, 0, 0].tolist() == [1, 10, 0]  # (9 - 6) // 2 = 1 column, or row, is cut off first


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal_only(tmp_path, picture, monkeypatch):
    for i in range(3):
        picture(tmp_path / "faces" / f"{i}.png", seed=i)
    monkeypatch.setenv("TERM", "xterm")
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(progress.sys, "stderr", stream)
        load("folder", tmp_path / "faces", "all", cache=False)
        assert ("decoding faces" in stream.getvalue()) == shown
