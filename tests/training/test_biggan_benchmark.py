"""The report on BigGAN's training: its parts run, and its table is made of them."""

from __future__ import annotations

import torch

import benchmarks.biggan as report
from vaefast.training.sources import ImageSource


def test_the_loops_run_and_are_told_of(monkeypatch):
    cpu, data = torch.device("cpu"), report.images(2)
    plain = report.model("deep", 4)
    before = [p.detach().clone() for p in plain.parameters()]
    report.plain_step(plain, data, 2, cpu, "fp32")()
    assert all(not torch.equal(a, b) for a, b in zip(before, plain.parameters()) if a.numel() > 4)
    own = report.model("deep", 4)
    report.engine_step(own.first, ImageSource(data, cpu, scale=False), 2, cpu, "fp32", False, settings=own.defaults[0])()
    flops = report.iteration_flops(report.model("deep", 4), data[:2])
    # twice as many images are twice the work
    assert report.iteration_flops(report.model("deep", 4), data[:4]) == 2 * flops > 0
    times = {"median_ms": 2.0, "min_ms": 1.5, "samples": 3}
    monkeypatch.setattr(report, "in_turns", lambda steps, seconds, device, save: {name: dict(times) for name in steps})
    monkeypatch.setattr(report, "limits", lambda device, precision: {"tflops": 1.0, "gb_per_s": 1.0})
    found = report.run(cpu, 0.1, "normal", 4, 2, lambda so_far: None)
    assert found["faster_than_plain"] == 1 and found["variants"]["plain"]["images_per_second"] == 1000
    assert "| plain | 2 (1.5) | 1,000 |" in report.markdown(found)
