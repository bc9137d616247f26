"""The training report: its table is the page's, and its parts run."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture
def benchmarks(monkeypatch):
    """benchmarks.NAME from the checkout, whichever vaefast is under test."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize(("name", "machine"), [("training", "cpu"), ("training", "cpu-amd"), ("training", "cpu-avx2"),
                                               ("gan", "cpu"), ("gan", "cpu-amd")])
def test_the_page_shows_the_measured_table(benchmarks, name, machine):
    page = (ROOT / "docs" / "performance.md").read_text()
    shown = page.partition(f"<!-- {name}-{machine} -->\n")[2].partition("<!-- end -->")[0]
    assert shown == benchmarks(name).markdown(json.loads((RESULTS / f"{name}-{machine}.json").read_text()))


def test_killed_runs_ended_as_the_undisturbed_one():
    result = json.loads((RESULTS / "faults.json").read_text())
    assert result["identical"] and len(result["kills"]) >= 30 and all(r["identical"] for r in result["runs"])


def test_both_loops_learn(benchmarks):
    plain, training = benchmarks("plain"), benchmarks("training")
    cpu, data = torch.device("cpu"), training.images(256)
    step = plain.first_stage(data, 16, cpu)
    step()
    source = training.ImageSource(data, cpu, scale=False)
    own = training.engine_step(training.two_stage().first, source, 16, cpu, "fp32", False)
    own()
    codes = training.posteriors(64, cpu)
    plain.second_stage(codes.posterior.mean, codes.posterior.std, 16, cpu)()
    training.engine_step(training.two_stage().second, codes, 16, cpu, "fp32", False)()
