"""Iterations of a GAN, one update of each network, against a plain PyTorch loop, in turns in one process.

    python -m benchmarks.gan --out FILE.json [--device cuda] [--seconds 20]
    python -m benchmarks.gan --out FILE.json --markdown     the table of a file that is there

The InfoGAN networks, batches of 64, 28x28 pixels (random images: time does not depend on them).
"""

from __future__ import annotations

import torch

import vaefast
from benchmarks import machine
from benchmarks.plain_gan import gan_step
from benchmarks.report import Save, make_report, report_parser
from benchmarks.training import BATCH, MNIST, engine_step, images, in_turns
from vaefast.training.allocator import keep_freed_memory
from vaefast.training.device import matmul_precision, resolve_device, resolve_precision
from vaefast.training.sources import ImageSource

LOSSES = ("ns", "wgan-gp")
"""One without and one with second derivatives."""


def compare(loss: str, device: torch.device, precision: str, seconds: float) -> dict:
    """Times of an iteration by variant."""
    data = images(MNIST // 10)
    steps = {"plain": gan_step(loss, data, BATCH, device)}
    for mode in ("off", "on") if device.type == "cuda" else ("off",):
        torch.manual_seed(0)
        # WGAN-GP's own discriminator takes 5 steps a generator step and draws new codes for it; here both do as plain does
        model = vaefast.GAN((1, 28, 28), loss, disc_iters=1, same_z=True)
        steps[f"vaefast, compile {mode}"] = engine_step(model.first, ImageSource(data, device, scale=False), BATCH, device,
                                                        precision, mode == "on", settings=model.defaults[0])
    variants = in_turns(steps, seconds, device)
    best = min((n for n in variants if n != "plain"), key=lambda n: variants[n]["median_ms"])
    return {"case": f"{loss}, 28x28, batch {BATCH}", "variants": variants, "best": best,
            "faster_than_plain": variants["plain"]["median_ms"] / variants[best]["median_ms"]}


def run(device: torch.device, seconds: float, save: Save) -> dict:
    """The whole report."""
    precision = resolve_precision("auto", device)
    keep_freed_memory()
    report = {"machine": machine.describe(), "device": str(device), "precision": precision, "cases": []}
    if device.type == "cuda":
        report["gpu"] = torch.cuda.get_device_name(device)
    with matmul_precision(precision):
        for loss in LOSSES:
            report["cases"].append(compare(loss, device, precision, seconds))
            save(report)
    return report


def markdown(report: dict) -> str:
    """The table of a report."""
    m = report["machine"]
    where = report.get("gpu") or f"{m['cpu']['model']}, {m['threads']} threads"
    lines = [f"Measured {m['date'][:10]} at commit {m['commit']}: {where}, {report['precision']}; torch "
             f"{m['versions']['torch']}.", "",
             "| case | variant | ms an iteration, median (min) | best vaefast is faster by |", "|---|---|---:|---:|"]
    for case in report["cases"]:
        for name, v in case["variants"].items():
            ratio = f"{case['faster_than_plain']:.2f}" if name == "plain" else ""
            lines.append(f"| {case['case']} | {name} | {v['median_ms']:.4g} ({v['min_ms']:.4g}) | {ratio} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    options = report_parser(__doc__).parse_args()
    make_report(options, lambda save: run(resolve_device(options.device), options.seconds, save), markdown)


if __name__ == "__main__":
    main()
