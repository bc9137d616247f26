"""The benchmarks run, compare like with like, and the page shows what was measured."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.parametrize("name", ["ops-cpu", "ops-cpu-amd", "kid-cpu-amd"])
def test_the_page_shows_the_file(name):
    from benchmarks.ops import markdown

    page = (ROOT / "docs" / "performance.md").read_text()
    shown = page.partition(f"<!-- {name} -->\n")[2].partition("<!-- end -->")[0]
    assert shown == markdown(json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text()))


@pytest.mark.parametrize("name", ["training-cpu", "training-cpu-amd", "training-cpu-amd-bf16", "training-cpu-avx2"])
def test_the_page_shows_the_files_of_training(name):
    from benchmarks.training import markdown

    page = (ROOT / "docs" / "performance.md").read_text()
    shown = page.partition(f"<!-- {name} -->\n")[2].partition("<!-- end -->")[0]
    assert shown == markdown(json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text()))


@pytest.mark.parametrize("module, name", [("gpu", "ops-h100"), ("gpu", "ops-products-h100"), ("gpu", "kid-h100"),
                                          ("training", "training-h100"), ("training", "training-variants-h100")])
def test_the_page_of_the_gpu_shows_the_files(module, name):
    page = (ROOT / "docs" / "gpu.md").read_text()
    shown = page.partition(f"<!-- {name} -->\n")[2].partition("<!-- end -->")[0]
    report = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    assert shown == importlib.import_module(f"benchmarks.{module}").markdown(report)


def test_cases_have_the_variants_and_their_own_sizes():
    from benchmarks.case import VARIANTS
    from benchmarks.ops import OPS

    for op, cases in OPS.items():
        size, make = next(iter(cases.items()))
        case = make()
        assert (case.op, case.size) == (op, size) and {"eager", "vaefast"} <= set(case.steps) <= set(VARIANTS)


def test_the_eager_formula_is_the_op():
    from benchmarks.reparam_kl import formula
    from vaefast.ops import reparam_kl

    mu, logvar = torch.randn(5, 64), torch.randn(5, 64)
    torch.testing.assert_close(formula(mu, logvar)[1], reparam_kl(mu, logvar)[1])


def test_measure_fills_in_every_figure():
    from benchmarks.measure import measure

    x = torch.randn(64)
    result = measure({"a": x.exp, "b": x.sin}, seconds=0.0, rounds=(2, 2))
    assert all(r["samples"] == 2 and 0 < r["min_us"] <= r["median_us"] for r in result.values())


@pytest.mark.slow
def test_gpu_check_runs_through_on_the_cpu(tmp_path):
    """The script that a GPU machine runs, in its own checkout, with the CPU in the GPU's place."""
    clone = tmp_path / "vaefast"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    environment = {**os.environ, "PYTHON": sys.executable, "GPU_CHECK_DEVICE": "cpu", "VAEFAST_NO_CUDA": "1"}
    environment.pop("PYTHONPATH", None)
    command = ["bash", str(clone / "benchmarks" / "gpu_check.sh"), "all", str(tmp_path / "out")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    left = {p.name for p in (tmp_path / "out").iterdir()}
    assert left == {"summary.txt", "log.txt", *(f"{n}-gpu.json" for n in ("ops", "training", "biggan", "trials", "resume"))}
    assert "FAILED" not in (tmp_path / "out" / "summary.txt").read_text()


def test_a_gpu_measurement_that_is_cut_off_leaves_what_it_has(tmp_path):
    out = tmp_path / "ops.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick", "--ops", "reparam_kl", "mixture_moments",
               "mmd2", "--out", str(out)]
    job = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True,
                           env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TORCHDYNAMO_DISABLE": "1"})
    for line in job.stderr:
        if line.startswith("reparam_kl"):
            job.kill()
            break
    job.communicate()
    assert [r["op"] for r in json.loads(out.read_text())["results"]][:1] == ["reparam_kl"]


def test_a_step_that_takes_too_long_is_left_out():
    from benchmarks.limit import TookTooLong, at_most

    with pytest.raises(TookTooLong, match="over 0.05 s"), at_most(0.05):
        while True:
            pass
    with at_most(5.0):
        pass
