"""GAMIX's benchmarks: the page's table is the measured one, and their parts run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmarks(monkeypatch):
    """benchmarks.NAME from the checkout."""
    import importlib
    import sys

    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def test_the_page_shows_the_measured_noise(benchmarks):
    page = (ROOT / "docs" / "gamix.md").read_text().partition("<!-- gamix-noise -->\n")[2].partition("<!-- end -->")[0]
    assert page == benchmarks("gamix_noise").markdown(json.loads((ROOT / "benchmarks/results/gamix-noise.json").read_text()))


def test_the_bias_is_the_one_that_normal_codes_have(benchmarks):
    """E log of a chi-squared variance is known: 0.5 (log(B / 2) - digamma((B - 1) / 2)) a dimension, of the means."""
    code = next(iter(benchmarks("gamix_noise").CODES))
    found = benchmarks("gamix_noise").case(code, "means", 10, 0, k=64, n=4000, repeats=150)
    expected = 64 * 0.5 * (torch.log(torch.tensor(5.0)) - torch.special.digamma(torch.tensor(4.5))).item()
    assert found["bias"] == pytest.approx(expected, rel=0.1)


def test_plain_loop_and_engine_run(benchmarks):
    gamix, cpu = benchmarks("gamix"), torch.device("cpu")
    data = gamix.images(8, gamix.SMOKE.side)
    for bf16 in (False, True):
        gamix.plain_step(data, gamix.SMOKE, 4, cpu, bf16)()
    plain = gamix.torchs_own(gamix.GAMIXEncoder((3, 16, 16), 4, width=4))
    assert not any(isinstance(m, gamix.BatchNorm) for m in plain.modules())
    source = gamix.ImageSource(data, cpu, scale=False, flip=True)
    gamix.engine_step(gamix.model(gamix.SMOKE, 16), source, 4, cpu, "fp32", False)()
