"""Measures every op forward and backward, in turns with plain PyTorch and torch.compile, in one process.

    python -m benchmarks.ops --out FILE.json [--ops NAME ...] [--threads N] [--quick]
    python -m benchmarks.ops --out FILE.json --markdown     the table of a file that is there
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import kid, likelihood, machine, measure, mixture_density, mixture_moments, mmd, reparam_kl
from benchmarks.case import VARIANTS, Case

OPS: dict[str, dict[str, Callable[[], Case]]] = {
    "reparam_kl": reparam_kl.CASES,
    "gaussian_nll": likelihood.CASES,
    "mixture_moments": mixture_moments.CASES,
    "mixture_log_density": mixture_density.CASES,
    "mmd2": mmd.CASES,
    "kid": kid.CASES,
}
GPU: dict[str, dict[str, Callable[[str], Case]]] = {
    "reparam_kl": reparam_kl.GPU_CASES,
    "gaussian_nll": likelihood.GPU_CASES,
    "mixture_moments": mixture_moments.GPU_CASES,
    "mixture_log_density": mixture_density.GPU_CASES,
    "mmd2": mmd.GPU_CASES,
    "kid": kid.GPU_CASES,
}
MEMORY = {
    "default": "The C library's default: large blocks go back to the system when freed, and new ones are paged in.",
    "kept": "Freed memory is kept and used again, as allocators such as jemalloc do.",
}


def entry(case: Case, memory: str, seconds: float) -> dict:
    """The measurement of one case, with what follows from it."""
    variants = measure.measure(case.steps, seconds)
    if memory == "default":
        for name, step in case.steps.items():
            variants[name]["peak_bytes"] = measure.peak_bytes(step)
    faster = {
        other: {
            by: round(variants[other][f"{by}_us"] / variants["vaefast"][f"{by}_us"], 2) for by in ("median", "min")
        }
        for other in variants
        if other != "vaefast"
    }
    over_better = {by: min(f[by] for f in faster.values()) for by in ("median", "min")}
    reached = min(over_better.values()) >= case.target
    if case.eager_target:
        reached = reached and min(faster["eager"].values()) >= case.eager_target
    peak = variants["vaefast"].get("peak_bytes")
    return {
        "op": case.op,
        "size": case.size,
        "dtype": case.dtype,
        "memory": memory,
        "variants": variants,
        "faster_than": {**faster, "better": over_better},
        "target": case.target,
        "eager_target": case.eager_target,
        "reached": reached,
        "peak_target": case.peak_target,
        "peak_reached": None if peak is None or case.peak_target is None else peak <= case.peak_target,
    }


def run(names: list[str], quick: bool, out: Path) -> None:
    """All cases of the ops `names`, first with the default allocator, then with memory kept; `out` grows by each."""
    report = {"machine": machine.describe(), "quick": quick, "results": []}
    for memory in MEMORY:
        if memory == "kept" and not measure.keep_memory():
            break
        for make in (make for name in names for make in OPS[name].values()):
            case = make()  # one at a time: some hold gigabytes
            if quick and not case.small or memory == "kept" and not case.kept:
                continue
            report["results"].append(entry(case, memory, 1.0 if quick else 8.0))
            print(summary(report["results"][-1]), file=sys.stderr, flush=True)
            out.write_text(json.dumps(report, indent=1) + "\n")


def summary(result: dict) -> str:
    times = ", ".join(f"{name} {v['median_us']:.0f} us" for name, v in result["variants"].items())
    ratio = result["faster_than"]["better"]["median"]
    return f"{result['op']} {result['size']} memory {result['memory']}: {times}; {ratio} x the better of the two"


def _time(us: float) -> str:
    return f"{us:.0f} µs" if us < 1000 else f"{us / 1000:.1f} ms"


def _peak(variant: dict) -> str:
    peak = variant.get("peak_bytes")
    return "" if peak is None else f"{peak / 2**20:.0f} MiB"


def _target(result: dict) -> str:
    wish = f"{result['target']:g}" + (f" ({result['eager_target']:g} eager)" if result["eager_target"] else "")
    return f"{wish}, {'reached' if result['reached'] else 'missed'}"


def markdown(report: dict) -> str:
    """The tables of a report: medians, minima in brackets; page faults of one call."""
    m = report["machine"]
    lines = [
        f"Measured {m['date'][:10]} at commit {m['commit']}: {m['cpu']['model']} ({m['cpu']['family']}; "
        f"{', '.join(m['cpu']['flags'])}), {m['cpu']['cores']} cores, {m['threads']} threads, load {m['load_before']} "
        f"before the start; torch {m['versions']['torch']}, {m['build'].get('compiler', 'no compiled core')}.",
    ]
    for memory, meaning in MEMORY.items():
        results = [r for r in report["results"] if r["memory"] == memory]
        if not results:
            continue
        lines += [
            "",
            f"**Memory {memory}.** {meaning}",
            "",
            "| op | size | eager | compiled | vaefast | over eager | over compiled | target | page faults |",
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for r in results:
            v, ratios = r["variants"], r["faster_than"]
            cells = [f"{_time(v[o]['median_us'])} ({_time(v[o]['min_us'])})" if o in v else "" for o in VARIANTS]
            cells += [
                f"{ratios[o]['median']:.2f} ({ratios[o]['min']:.2f})" if o in v else "" for o in ("eager", "compiled")
            ]
            faults = " / ".join(f"{v[o]['page_faults']:,}" for o in VARIANTS if o in v)
            lines.append(f"| {' | '.join([r['op'], r['size'], *cells, _target(r), faults])} |")
    peaks = [r for r in report["results"] if _peak(r["variants"]["vaefast"])]
    if peaks:
        lines += ["", "| peak extra memory | size | eager | compiled | vaefast | target |", "|---|---:|---:|---:|---:|---:|"]
        for r in peaks:
            cells = [_peak(r["variants"].get(o, {})) for o in VARIANTS]
            target = "" if r["peak_target"] is None else f"{r['peak_target'] / 2**20:.0f} MiB, "
            target += {True: "reached", False: "missed", None: ""}[r["peak_reached"]]
            lines.append(f"| {' | '.join([r['op'], r['size'], *cells, target])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write, or to read for --markdown")
    parser.add_argument("--ops", nargs="+", choices=OPS, default=list(OPS))
    parser.add_argument("--threads", type=int, help="PyTorch's own choice by default")
    parser.add_argument("--quick", action="store_true", help="small sizes and a second each, to see that it works")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the file, measure nothing")
    options = parser.parse_args()
    if not options.markdown:
        if options.threads:
            torch.set_num_threads(options.threads)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        run(options.ops, options.quick, options.out)
    print(markdown(json.loads(options.out.read_text())), end="")


if __name__ == "__main__":
    main()
