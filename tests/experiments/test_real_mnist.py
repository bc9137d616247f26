"""The main job on real MNIST, much shortened: train, sample, and codes that know their digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vaefast
from vaefast.cli import main


@pytest.mark.slow
def test_train_and_sample_mnist(data_root, tmp_path):
    out = tmp_path / "run"
    assert main(["train", "two-stage", "--data", "mnist", "--data-root", str(data_root), "--out", str(out), "--steps", "40",
                 "--preset", "short", "--latent-dim", "8", "--gamma", "optimal", "--device", "cpu"]) == 0
    model = vaefast.load(out)
    test = vaefast.data.load("mnist", data_root, "test")
    x = vaefast.data.to_float(test.images[:500])
    with torch.no_grad():
        error = (model.reconstruct(x) - x).square().mean().item()
    blank = (x - x.mean(0)).square().mean().item()  # what a constant picture would score
    assert error < 0.9 * blank
    assert main(["sample", str(out), "-n", "20", "--out", str(tmp_path / "s.npz"), "--device", "cpu"]) == 0
    with np.load(tmp_path / "s.npz") as file:
        assert file["images"].shape == (20, 1, 28, 28) and file["images"].std() > 10
