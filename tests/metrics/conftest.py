import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

DEFAULT_ROOT = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


def _idx(path):
    raw = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape).copy())


@pytest.fixture(scope="session")
def mnist():
    """(train images uint8 [60000, 1, 28, 28], labels, test images, labels)."""
    root = Path(os.environ.get("VAEFAST_TEST_DATA", DEFAULT_ROOT)) / "mnist"
    if not (root / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"MNIST is not in {root}: set VAEFAST_TEST_DATA to the folder that holds mnist/")
    out = []
    for split in ("train", "t10k"):
        out += [_idx(root / f"{split}-images-idx3-ubyte.gz")[:, None]]
        out += [_idx(root / f"{split}-labels-idx1-ubyte.gz").long()]
    return tuple(out)


@pytest.fixture(scope="session")
def stripes():
    """Images that a classifier learns in seconds: 3 classes of bright bands plus noise, uint8 [600, 1, 28, 28]."""
    rng = torch.Generator().manual_seed(5)
    labels = torch.arange(600) % 3
    images = torch.randint(0, 60, (600, 1, 28, 28), generator=rng)
    for i, label in enumerate(labels.tolist()):
        images[i, :, 4 + 8 * label : 8 + 8 * label] += 150
    return images.to(torch.uint8), labels


@pytest.fixture(scope="session")
def inception_state():
    """Random weights in the layout of pytorch-fid's file, under which features tell pictures apart."""
    pytest.importorskip("pytorch_fid", reason="pytorch-fid is not installed: pip install 'vaefast[test]'")
    from benchmarks.inception import random_state

    return random_state()


@pytest.fixture(scope="session")
def inception(inception_state, tmp_path_factory):
    """An `Inception` with these weights."""
    from vaefast.metrics import Inception

    file = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(inception_state, file)
    return Inception(file, notice=lambda _: None)
