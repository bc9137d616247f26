"""What the data tests share: a cache of their own, no way to the network, real data where there are any."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("VAEFAST_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def real_data():
    """A function: the data folder, if it has the sub-folder asked for; else the test is skipped."""
    root = Path(os.environ.get("VAEFAST_TEST_DATA") or REPOSITORY.parent / "shared" / "data")

    def find(name):
        if not (root / name).is_dir():
            pytest.skip(f"no real data: {root / name} is not there (VAEFAST_TEST_DATA names another root)")
        return root

    return find


@pytest.fixture
def idx_bytes():
    """A function: the IDX form of a uint8 array."""

    def make(array):
        return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()

    return make


@pytest.fixture
def picture():
    """A function that writes a noise image and returns its pixels."""

    def make(path, size=(8, 8), mode="RGB", seed=0):
        shape = (*size, 3) if mode == "RGB" else size
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return pixels

    return make
