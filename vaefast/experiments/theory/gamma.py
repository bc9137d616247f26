"""Figure 1a: a learned gamma falls towards zero, and the pixels' error with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaefast.errors import ArgumentError
from vaefast.experiments.pictures.figures import COLOURS, label, panels
from vaefast.experiments.theory.job import write_outcome
from vaefast.ops import HALF_LOG_2PI

Records = Sequence[Mapping[str, Any]]


def fig1a(learned: Records, fixed: Records, *, image_shape: Sequence[int], out: str | Path, optimal: bool = False,
          stage: str = "stage1", say: Callable[[str], None] = print) -> dict[str, Any]:
    """log gamma against iterations, and the squared error a pixel of learned gamma and of gamma = 1; out/fig1a.*.

    Drawn anew each time: the records are all it takes.

    Args:
        learned, fixed: records of two runs (`RunFolder.read_metrics()` or `History.records`) on the same data.
        image_shape: (C, H, W) of their images.
        optimal: the first run's gamma is the closed form of each batch, `gamma="optimal"`, and not a trained scalar.
        stage: whose records count.

    Returns:
        "learned" and "fixed": {step, log_gamma, squared_error} as lists; errors are a pixel's, on the [0, 1] scale, of
        training batches with drawn codes. "final": the last values; "error_ratio": fixed / learned at the end;
        "falling": the share of records at which log gamma is below the one before.

    Raises:
        ArgumentError: no records of the stage, or none of a Gaussian likelihood.

    Source: Dai & Wipf 2019, figure 1 (left).
    """
    dims = math.prod(image_shape)
    curves = {"learned": curve(learned, dims, stage=stage, optimal=optimal), "fixed": curve(fixed, dims, stage=stage)}
    gammas = curves["learned"]["log_gamma"]
    record = {**curves, "final": {name: {key: values[-1] for key, values in series.items()} for name, series in curves.items()},
              "error_ratio": curves["fixed"]["squared_error"][-1] / max(curves["learned"]["squared_error"][-1], 1e-12),
              "falling": sum(b < a for a, b in zip(gammas, gammas[1:])) / max(1, len(gammas) - 1)}
    say(f"fig1a: log gamma {gammas[-1]:.2f} after {curves['learned']['step'][-1]:,} iterations; the error of gamma = 1 is "
            f"{record['error_ratio']:.1f} times as large")
    return write_outcome(Path(out) / "fig1a", {"image_shape": list(image_shape), "optimal": optimal}, record, _draw(curves))


def curve(records: Records, dims: int, *, stage: str = "stage1", optimal: bool = False) -> dict[str, list[float]]:
    """Steps, log gamma and squared error a dimension from a run's records.

    The error is what the Gaussian term says it is: reconstruction = error / (2 gamma^2) + dims (log gamma + log(2 pi) / 2).
    With the closed form, reconstruction = dims (1/2 + log gamma + log(2 pi) / 2) gives gamma, which is the error's root.
    """
    points = [r for r in records if r.get("stage") == stage and "gamma" in r]
    if not points:
        raise ArgumentError(f"there are no records of {stage} with a gamma; a run with a Gaussian likelihood was expected.")
    series: dict[str, list[float]] = {"step": [], "log_gamma": [], "squared_error": []}
    for r in points:
        mean = r["reconstruction"] / dims - HALF_LOG_2PI
        log_gamma = mean - 0.5 if optimal else math.log(r["gamma"])
        error = math.exp(2 * log_gamma) * (1 if optimal else 2 * (mean - log_gamma))
        for key, value in (("step", r["step"]), ("log_gamma", log_gamma), ("squared_error", error)):
            series[key].append(value)
    return series


def _draw(curves: dict[str, dict[str, list[float]]]) -> Any:
    figure, (left, right) = panels(2)
    for colour, (name, text) in zip(COLOURS, (("learned", "learned gamma"), ("fixed", "gamma = 1"))):
        for axes, key in ((left, "log_gamma"), (right, "squared_error")):
            axes.plot(curves[name]["step"], curves[name][key], color=colour, linewidth=1.4, label=text)
    right.set_yscale("log")
    label(left, "gamma (a standard deviation) falls", "iteration", "log gamma")
    label(right, "and the reconstruction improves", "iteration", "squared error a pixel, [0, 1] scale")
    return figure
