"""Active dimensions, gamma and the slopes of loss and KL on manifolds whose dimension is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaefast.experiments.pictures.figures import COLOURS, GREY, label, panels
from vaefast.experiments.theory.job import Job
from vaefast.experiments.theory.manifold_case import FITTED_BELOW, Budget, Case, run_case

_SPHERE = Case("sphere", 2, 16)


def _both(*shapes: tuple[int, int]) -> tuple[Case, ...]:
    return tuple(Case(kind, r, d) for kind in ("linear", "curved") for r, d in shapes)


CASES = {
    "smoke": _both((2, 16), (5, 30)),
    "quick": (*_both((2, 16), (2, 64), (4, 32), (8, 32), (8, 64)), _SPHERE),
    "paper": (*_both((2, 32), (2, 128), (4, 32), (4, 128), (8, 32), (8, 128), (16, 64), (16, 128)), _SPHERE),
}
FULL = (2, 4, 8)
"""Dimensions of the Gaussians that fill their space."""
BUDGETS = {"smoke": Budget(2500, 800), "quick": Budget(8000, 2000), "paper": Budget(40_000, 10_000, width=256, points=100_000)}


def manifolds(*, out: str | Path, preset: str = "quick", seed: int = 0, device: str | torch.device = "auto",
              say: Callable[[str], None] = print) -> dict[str, Any]:
    """Train a VAE on each of the preset's manifolds; out/manifolds.json, .png, .svg, and out/manifolds/CASE.json for each.

    The theory has, for data on an r-dimensional manifold in d dimensions and gamma (a standard deviation) towards 0:
    r active dimensions whose posterior variance goes with gamma^2, the others at 1; a loss that falls like (d - r) log
    gamma; a KL that grows like -r log gamma. A sphere, which r coordinates do not cover, is there to show where that ends:
    r + 1 dimensions are active. Cases that are there already are not run again.

    Args:
        preset: "smoke" 4 manifolds in about a minute on a CPU core, "quick" 11 in 5 to 15, "paper" 17, for a GPU.

    Returns:
        "cases": see `run_case`; "right": those with as many active dimensions as r, of "counted", the cases that are no
        spheres.

    Source: Dai & Wipf 2019, sections 2 and 3.
    """
    job = Job("manifolds", out, preset, seed, device, say, **_given(preset))
    if (known := job.known()) is not None:
        return known
    cases = _run(job, CASES[preset], preset, seed)
    counted = [c for c in cases if c["kind"] != "sphere"]
    right = sum(c["active_dimensions"] == c["r"] for c in counted)
    say(f"manifolds: the dimension is found in {right} of {len(counted)} cases")
    return job.write({"cases": cases, "right": right, "counted": len(counted)}, _draw(cases))


def full_dimension(*, out: str | Path, preset: str = "quick", seed: int = 0, device: str | torch.device = "auto",
                   say: Callable[[str], None] = print) -> dict[str, Any]:
    """Train a VAE on Gaussians that fill their space, r = d; out/full_dimension.json, .png, .svg, and a file for each.

    The theory has, for r = d: a bound that can be tight at every small gamma, so that the loss stays at the data's entropy
    while gamma falls, whatever superfluous latent dimensions there are.

    Args:
        preset: as for `manifolds`: "smoke" 1 Gaussian, the others 3.

    Returns:
        "cases": see `run_case`; "worst": the largest mean loss above the entropy, in nats a dimension.

    Source: Dai & Wipf 2019, theorem 1.
    """
    job = Job("full_dimension", out, preset, seed, device, say, **_given(preset))
    if (known := job.known()) is not None:
        return known
    cases = _run(job, [Case("linear", r, r) for r in FULL[:1 if preset == "smoke" else None]], preset, seed)
    worst = max(abs(c["excess"]) / c["d"] for c in cases)
    say(f"full_dimension: the loss is within {worst:.3f} nats a dimension of the data's entropy")
    return job.write({"cases": cases, "worst": worst}, _draw_full(cases))


def _run(job: Job, cases: Sequence[Case], preset: str, seed: int) -> list[dict[str, Any]]:
    """The records of the cases, each of which is kept beside the job's and run once."""
    records = []
    for case in cases:
        case_job = Job(case.name, job.stem, preset, seed, job.device, job.say, **_given(preset))
        record = case_job.known()
        if record is None:
            record = case_job.write(run_case(case, BUDGETS[preset], seed, job.device))
            job.say(f"{case.name}: {record['active_dimensions']} of {case.latent_dim} dimensions active, gamma "
                    f"{record['gamma']:.4f}, slopes {record['loss_slope']:.2f} (d - r = {case.d - case.r}) and "
                    f"{record['kl_slope']:.2f} (-r = {-case.r}), {record['seconds']:.0f} s")
        records.append({key: value for key, value in record.items() if key not in ("name", "settings")})
    return records


def _draw_full(cases: list[dict[str, Any]]) -> Any:
    figure, (left, right) = panels(2)
    for i, c in enumerate(cases):
        at, sweep = c["sweep"]["log_gamma"], c["sweep"]
        left.plot(at, [(v - c["optimum_at_1"]) / c["d"] for v in sweep["loss"]], color=COLOURS[i], label=f"r = d = {c['d']}")
        right.plot(at, [v / c["r"] for v in sweep["kl"]], color=COLOURS[i], label=f"r = d = {c['d']}")
    left.axhline(0, color="black", linewidth=1, linestyle="--", label="the data's entropy")
    for axes in (left, right):
        axes.invert_xaxis()
    left.set_ylim(-0.1, 1)
    label(left, "the loss stays at the entropy", "log gamma", "(loss - entropy) / d")
    label(right, "the KL grows like -r log gamma", "log gamma", "KL / r")
    return figure


def _given(preset: str) -> dict[str, Any]:
    """The budget as settings; nothing for what is no preset, which `Job` refuses."""
    return {"budget": asdict(BUDGETS[preset])} if preset in BUDGETS else {}


def _draw(cases: list[dict[str, Any]]) -> Any:
    figure, (left, middle, right) = panels(3)
    kinds = list(dict.fromkeys(c["kind"] for c in cases))
    largest = max(max(c["r"], c["active_dimensions"]) for c in cases)
    left.plot([0, largest + 1], [0, largest + 1], color=GREY, linewidth=1, linestyle="--", label="as many as r")
    for i, kind in enumerate(kinds):
        of_kind = [c for c in cases if c["kind"] == kind]
        offset = 0.08 * largest * (i - (len(kinds) - 1) / 2) / len(kinds)  # cases of several kinds would hide each other
        left.scatter([c["r"] + offset for c in of_kind], [c["active_dimensions"] for c in of_kind], color=COLOURS[i],
                     marker="osD"[i], s=26, zorder=3, label=kind)
        for j, c in enumerate(of_kind):
            gammas = c["sweep"]["log_gamma"]
            for axes, key, scale in ((middle, "loss", c["d"] - c["r"]), (right, "kl", c["r"])):
                start = np.interp(-FITTED_BELOW, [-at for at in gammas], c["sweep"][key])
                axes.plot(gammas, [(v - start) / scale for v in c["sweep"][key]], color=COLOURS[i], linewidth=1, alpha=0.7,
                          label=None if j else kind)
    for axis in (left.xaxis, left.yaxis):
        axis.get_major_locator().set_params(integer=True)
    ends = [FITTED_BELOW, min(cases[0]["sweep"]["log_gamma"])]
    middle.plot(ends, [0, ends[1] - ends[0]], color="black", linewidth=1, linestyle="--", label="theory")
    right.plot(ends, [0, ends[0] - ends[1]], color="black", linewidth=1, linestyle="--", label="theory")
    for axes in (middle, right):
        axes.invert_xaxis()
    label(left, "active dimensions found", "true dimension r", "dimensions with mean s² < 0.5")
    label(middle, "the loss falls like (d - r) log gamma", "log gamma", "(loss - loss at log gamma = -1) / (d - r)")
    label(right, "the KL grows like -r log gamma", "log gamma", "(KL - KL at log gamma = -1) / r")
    return figure
