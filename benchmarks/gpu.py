"""Measures every op on a GPU, forward and backward: plain PyTorch, torch.compile of it, and each GPU backend in turns.

    python -m benchmarks.gpu --out FILE.json [--ops NAME ...] [--quick] [--kernels]
        [--budget SECONDS]
    python -m benchmarks.gpu --out FILE.json --markdown     the table of a file that is there

The file grows with every case. Times are those of CUDA events; "graph" is the same work replayed as a CUDA graph, without what
Python and PyTorch do before each launch. A variant whose call takes more than half a second is timed by one call alone.
"of copy" is the bandwidth over the least bytes the work must move, as a share of what a large device-to-device copy reaches
on the same GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks import machine, ops
from benchmarks.case import Case
from benchmarks.limit import TookTooLong, at_most
from benchmarks.report import save
from vaefast.ops import backend
from vaefast.ops._registry import why_not

KERNELS = ("triton", "cuda", "cpp")
IN_GRAPHS = ("compiled", "triton", "cuda")
COPY_BYTES = 2**30
FIRST_CALL = 40.0
"""Seconds that a variant may take until it has been called once, compilation and all."""
SLOW = 0.5
"""Seconds of a call from which one is enough."""


class Clock:
    """Seconds of a step on a device."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"

    def __call__(self, step: Callable[[], object], repeats: int) -> float:
        if not self.cuda:
            start = time.perf_counter()
            for _ in range(repeats):
                step()
            return (time.perf_counter() - start) / repeats
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(repeats):
            step()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / repeats


def copy_bandwidth(device: str, size: int) -> float:
    """Bytes read plus bytes written a second by a large copy."""
    a, b, clock = torch.empty(size // 4, device=device), torch.empty(size // 4, device=device), Clock(device)
    a.normal_()
    b.copy_(a)
    return 2 * size / statistics.median(clock(lambda: b.copy_(a), 3) for _ in range(7))


def steps_of(case: Case, device: str, alone: bool = False) -> dict[str, Callable[[], object]]:
    """Plain PyTorch, compiled, and the op under every backend that runs on the device; the last `alone`."""
    steps = {} if alone else {name: step for name, step in case.steps.items() if name != "vaefast"}

    def forced(name: str) -> Callable[[], object]:
        def step() -> object:
            with backend(name):
                return case.steps["vaefast"]()

        return step

    return steps | {name: forced(name) for name in KERNELS if why_not(name, device) is None}


def captured(step: Callable[[], object]) -> Callable[[], object]:
    """`step`, which has been called before, as the replay of a CUDA graph."""
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph, stream=stream):
        step()
    return graph.replay


def warm(name: str, step: Callable[[], object], clock: Clock) -> float:
    """Seconds of a call, the third one of a quick step; the first one of plain PyTorch that is slow, as nothing is compiled."""
    with at_most(FIRST_CALL):
        seconds = clock(step, 1)
        if name != "eager" or seconds < 4 * SLOW:
            seconds = clock(step, 1)
        return clock(step, 2) if seconds < SLOW else seconds


def peak_bytes(step: Callable[[], object]) -> int:
    """Device memory that a call needs besides what is there before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return torch.cuda.max_memory_allocated() - before


def measure(case: Case, device: str, seconds: float, alone: bool = False) -> dict:
    """Median and minimum time and peak memory of every variant; an error of memory or of time is a result, too."""
    clock, steps, result, first = Clock(device), steps_of(case, device, alone), {}, {}
    for name in list(steps):
        try:
            first[name] = warm(name, steps[name], clock)
            result[name] = {"peak_bytes": peak_bytes(steps[name])} if device == "cuda" and first[name] < SLOW else {}
        except (torch.OutOfMemoryError, TookTooLong, RuntimeError) as error:
            result[name] = {"error": "out of memory" if isinstance(error, torch.OutOfMemoryError) else str(error)[:200]}
            first.pop(name, None)
            if device == "cuda":
                torch.cuda.empty_cache()
            continue
        if device == "cuda" and name in IN_GRAPHS and first[name] < SLOW:
            replay = f"{name}, graph"
            try:
                steps[replay] = captured(steps[name])
                first[replay], result[replay] = warm(replay, steps[replay], clock), {}
            except (TookTooLong, RuntimeError) as error:  # what reads back from the device cannot be captured
                result[replay] = {"error": "not capturable"}
                print(f"{replay}: {error}", file=sys.stderr)
    samples = {name: [t] for name, t in first.items()}
    quick = {name: max(1, min(200, round(0.005 / t))) for name, t in first.items() if t <= SLOW}
    rounds = max(5, min(50, int(seconds / sum(first[n] * quick[n] for n in quick)))) if quick else 0
    for _ in range(rounds):
        for name in quick:
            samples[name].append(clock(steps[name], quick[name]))
    for name, times in samples.items():
        times = times[1:] or times  # the first was a single call
        result[name] |= {
            "median_us": round(statistics.median(times) * 1e6, 2), "min_us": round(min(times) * 1e6, 2), "samples": len(times),
        }  # fmt: skip
    return result


def entry(case: Case, device: str, bandwidth: float, seconds: float, alone: bool = False) -> dict:
    """The measurement of one case, with what follows from it."""
    variants = measure(case, device, seconds, alone)
    timed = {name: v["median_us"] for name, v in variants.items() if "median_us" in v}
    if case.traffic:
        for name, us in timed.items():
            variants[name]["of_copy"] = round(case.traffic / (us * 1e-6) / bandwidth, 3)
    kernels = {name: us for name, us in timed.items() if name in KERNELS}
    best = min(kernels, key=kernels.get) if kernels else None
    ratios = {o: round(timed[o] / kernels[best], 2) for o in ("eager", "compiled") if best and o in timed}
    replays = {name: timed[f"{name}, graph"] for name in IN_GRAPHS if f"{name}, graph" in timed}
    if len(replays) > 1 and "compiled" in replays:
        ratios["compiled, graphs"] = round(replays.pop("compiled") / min(replays.values()), 2)
    return {"op": case.op, "size": case.size, "dtype": case.dtype, "variants": variants, "best": best, "over": ratios}


def gpu() -> dict | None:
    """The device, its driver and its memory."""
    if not torch.cuda.is_available():
        return None
    p = torch.cuda.get_device_properties(0)
    return {
        "name": p.name, "capability": f"{p.major}.{p.minor}", "multiprocessors": p.multi_processor_count,
        "memory": p.total_memory, "cuda": torch.version.cuda,
    }  # fmt: skip


def in_order(names: list[str]) -> list[tuple[str, Callable[[str], Case]]]:
    """The cases of the ops `names`, those of 100,000 rows, which take as long as the others together, last."""
    cases = [(f"{name} {size}", make) for name in names for size, make in ops.GPU.get(name, {}).items()]
    return sorted(cases, key=lambda c: "100,000" in c[0])


def run(
    names: list[str], device: str, quick: bool, budget: float, write: Callable[[dict], None], alone: bool = False
) -> dict:
    """All GPU cases of the ops `names` that are begun within `budget` seconds; `write` is given the report after each."""
    began = time.monotonic()
    bandwidth = copy_bandwidth(device, 2**24 if quick else COPY_BYTES)
    report = {"machine": machine.describe(), "gpu": gpu(), "copy_bytes_per_second": round(bandwidth), "results": [],
              "left_out": []}
    for name, make in in_order(names):
        if time.monotonic() - began > budget:
            report["left_out"].append(name)
            write(report)
            continue
        case = make(device)
        if quick and not case.small:
            continue
        report["results"].append(entry(case, device, bandwidth, 0.2 if quick else 1.0, alone))
        write(report)
        r = report["results"][-1]
        times = ", ".join(f"{n} {v.get('median_us', v.get('error'))}" for n, v in r["variants"].items())
        print(f"{r['op']} {r['size']} (us): {times}", file=sys.stderr, flush=True)
        del case
        if device == "cuda":
            torch.cuda.empty_cache()
    return report


def _cell(variant: dict) -> str:
    if "median_us" not in variant:
        return variant.get("error", "").partition("\n")[0]  # a table's cell is one line
    us = variant["median_us"]
    share = f", {variant['of_copy']:.0%} of copy" if "of_copy" in variant else ""
    peak = f", {variant['peak_bytes'] / 2**20:,.0f} MiB" if "peak_bytes" in variant else ""
    return (f"{us:.0f} µs" if us < 1000 else f"{us / 1000:.2f} ms") + share + peak


def markdown(report: dict) -> str:
    """The table of a report: median time, share of the copy bandwidth, peak extra memory."""
    m, g = report["machine"], report["gpu"]
    device = f"{g['name']} ({g['multiprocessors']} multiprocessors, CUDA {g['cuda']})" if g else "no GPU"
    every = ("eager", "compiled", *KERNELS, *(f"{name}, graph" for name in IN_GRAPHS))
    columns = [c for c in every if any(c in r["variants"] for r in report["results"])]
    over = [o for o in ("eager", "compiled", "compiled, graphs") if any(o in r["over"] for r in report["results"])]
    lines = [
        f"Measured {m['date'][:10]} at commit {m['commit']}: {device}; torch {m['versions']['torch']}, triton "
        f"{m['versions']['triton']}; a large copy moves {report['copy_bytes_per_second'] / 1e9:,.0f} GB/s.",
        "",
        f"| op | size | {' | '.join([*columns, *(f'best over {o}' for o in over)])} |",
        f"|---|---:|{'---:|' * (len(columns) + len(over))}",
    ]
    for r in report["results"]:
        cells = [_cell(r["variants"].get(c, {})) for c in columns]
        ratios = [f"{r['over'][o]:.2f}" if o in r["over"] else "" for o in over]
        lines.append(f"| {' | '.join([r['op'], r['size'], *cells, *ratios])} |")
    if report.get("left_out"):
        lines += ["", f"Left out, as the time was up: {', '.join(report['left_out'])}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write, or to read for --markdown")
    parser.add_argument("--ops", nargs="+", choices=ops.GPU, default=list(ops.GPU))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to see that it works")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--kernels", action="store_true", help="the ops' own backends alone, without eager and compiled PyTorch")
    parser.add_argument("--budget", type=float, default=float("inf"), metavar="SECONDS", help="begin no case after so long")
    parser.add_argument("--markdown", action="store_true", help="print the table of the file, measure nothing")
    options = parser.parse_args()
    if not options.markdown:
        if options.device == "cuda" and not torch.cuda.is_available():
            parser.error("PyTorch sees no CUDA GPU here; --device cpu --quick shows that the benchmark works")
        write = partial(save, options.out)
        write(run(options.ops, options.device, options.quick, options.budget, write, options.kernels))
    print(markdown(json.loads(options.out.read_text())), end="")


if __name__ == "__main__":
    main()
