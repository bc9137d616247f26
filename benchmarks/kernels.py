"""Kernels of a training step on a GPU, by name: how many, and how long they run.

    python -m benchmarks.kernels --out FILE.json [--seconds 20]
    python -m benchmarks.kernels --out FILE.json --markdown     the tables of a file that is there

Counted by PyTorch's profiler over replays of the captured step, as the trainer runs it. What the kernels' own times leave of a
step is the space between them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import machine
from benchmarks.report import Save, make_report, report_parser
from benchmarks.training import BATCH, MNIST, Clock, engine_step, images, posteriors, two_stage
from vaefast.training.device import matmul_precision, resolve_device, resolve_precision
from vaefast.training.sources import ImageSource, Source

STEPS = 50
"""That are profiled."""
SHOWN = 12
"""Kernels of a table, the rest as one line."""


def count(step: Callable[[], None], device: torch.device) -> dict:
    """Time of a step, its kernels' number and time, and each kernel's, most time first."""
    for _ in range(15):
        step()
    clock = Clock(device)
    wall = min(clock(step) for _ in range(5))
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize()
    times: dict[str, list[float]] = {}
    for event in trace.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            times.setdefault(event.name, []).append(event.self_device_time_total)
    rows = sorted(({"name": name, "calls": len(us) / STEPS, "us": sum(us) / STEPS} for name, us in times.items()),
                  key=lambda row: -row["us"])
    return {"step_us": 1e6 * wall, "kernels": sum(row["calls"] for row in rows), "kernels_us": sum(row["us"] for row in rows),
            "by_name": rows}


def run(device: torch.device, save: Save) -> dict:
    """The whole report; `save` is given it after every case."""
    precision = resolve_precision("auto", device)
    report: dict = {"machine": machine.describe(), "gpu": torch.cuda.get_device_name(device), "precision": precision, "cases": []}
    stages: dict[str, tuple[Callable[[], torch.nn.Module], Source]] = {
        "stage 1, 28x28": (lambda: two_stage().first, ImageSource(images(MNIST // 10), device, scale=False)),
        "stage 2, 64 codes": (lambda: two_stage().second, posteriors(MNIST // 10, device)),
    }
    with matmul_precision(precision):
        for name, (module, source) in stages.items():
            for compile in (False, True):
                step = engine_step(module(), source, BATCH, device, precision, compile)
                report["cases"].append({"case": f"{name}, compile {'on' if compile else 'off'}", **count(step, device)})
                save(report)
    return report


def markdown(report: dict) -> str:
    """The tables of a report."""
    m = report["machine"]
    lines = [f"Measured {m['date'][:10]} at commit {m['commit']}: {report['gpu']}, {report['precision']}; "
             f"torch {m['versions']['torch']}.", "", "| case | kernels a step | their time, µs | the step, µs |",
             "|---|---:|---:|---:|"]
    lines += [f"| {c['case']} | {c['kernels']:.0f} | {c['kernels_us']:.0f} | {c['step_us']:.0f} |" for c in report["cases"]]
    for case in report["cases"]:
        rows = case["by_name"]
        lines += ["", f"{case['case']}:", "", "| kernel | calls | µs |", "|---|---:|---:|"]
        lines += [f"| {row['name'][:70]} | {row['calls']:.0f} | {row['us']:.1f} |" for row in rows[:SHOWN]]
        rest = rows[SHOWN:]
        lines.append(f"| {len(rest)} others | {sum(r['calls'] for r in rest):.0f} | {sum(r['us'] for r in rest):.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    options = report_parser(__doc__).parse_args()
    make_report(options, lambda save: run(resolve_device(options.device), save), markdown)


if __name__ == "__main__":
    main()
