"""Training BigGAN-deep at 32x32 (ch 64, batches of 256; D, G, D): images a second against a plain PyTorch loop, in turns.

    python -m benchmarks.biggan --out FILE.json [--device cuda] [--seconds 20] [--arch deep] [--ch 64] [--batch-size 256]
    python -m benchmarks.biggan --out FILE.json --smoke        ch 8, batches of 16, one second
    python -m benchmarks.biggan --out FILE.json --markdown     the table of a file that is there

Both train the same networks on the same random images (time does not depend on them), in bf16 autocast and NHWC order on a GPU.
An image counts once an iteration, whose two updates of the discriminator and one of the generator it sees.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

import vaefast
from benchmarks import machine
from benchmarks.plain import endless
from benchmarks.report import Save, make_report, report_parser
from benchmarks.training import engine_step, in_turns, limits
from vaefast.training.allocator import keep_freed_memory
from vaefast.training.device import autocast, matmul_precision, memory_format, resolve_device, resolve_precision
from vaefast.training.sources import ImageSource

SHAPE = (3, 32, 32)
BATCHES = 12
"""Of images that are held."""


def images(batch_size: int) -> Tensor:
    """Colour images, uint8."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (BATCHES * batch_size, *SHAPE), dtype=torch.uint8, generator=generator)


def model(arch: str, ch: int) -> vaefast.BigGAN:
    """The same weights for every variant."""
    torch.manual_seed(0)
    return vaefast.BigGAN(SHAPE, arch, ch)


def plain_step(networks: vaefast.BigGAN, data: Tensor, batch_size: int, device: torch.device,
               precision: str) -> Callable[[], None]:
    """One iteration as a good user writes it: D on real images and fakes, G, D again; gradients clipped by value, losses read
    for the bar."""
    g, d, k = networks.first.generator.to(device), networks.first.discriminator.to(device), networks.latent_dim
    of_d, of_g = torch.optim.Adam(d.parameters(), lr=2e-4), torch.optim.Adam(g.parameters(), lr=5e-5)
    loader = DataLoader(TensorDataset(2 * (data.float() / 255) - 1), batch_size, shuffle=True, drop_last=True,
                        pin_memory=device.type == "cuda")
    batches = endless(loader)
    ones, zeros = torch.ones(batch_size, 1, device=device), torch.zeros(batch_size, 1, device=device)

    def fakes() -> Tensor:
        return g(torch.randn(batch_size, k, device=device))

    def update(optimizer: torch.optim.Optimizer, network: nn.Module, loss: Tensor) -> float:
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(network.parameters(), 0.1)
        optimizer.step()
        return loss.item()

    def update_d(x: Tensor) -> float:
        with autocast(device, precision):
            loss = cross_entropy(d(x).float(), ones) + cross_entropy(d(fakes().detach()).float(), zeros)
        return update(of_d, d, loss)

    def step() -> None:
        (x,) = next(batches)
        x = x.to(device, non_blocking=True)
        update_d(x)
        with autocast(device, precision):
            loss = cross_entropy(d(fakes()).float(), ones)
        update(of_g, g, loss)
        update_d(x)

    return step


def iteration_flops(networks: vaefast.BigGAN, batch: Tensor) -> int:
    """Multiply-adds (times 2) of an iteration's three updates; weights of the other player get no gradients."""
    with FlopCounterMode(display=False) as counter:
        for player in networks.first.players():
            for other in networks.first.parameters():
                other.requires_grad_(any(other is p for p in player.parameters.values()))
            player.loss(batch)["loss"].backward()
    networks.first.finish_iteration(batch)
    return counter.get_total_flops()


def run(device: torch.device, seconds: float, arch: str, ch: int, batch_size: int, save: Save) -> dict:
    """The whole report."""
    precision = resolve_precision("auto", device)
    order = memory_format("auto", device, precision)
    keep_freed_memory()
    data = images(batch_size)
    report = {"machine": machine.describe(), "device": str(device), "precision": precision, "arch": arch, "ch": ch,
              "batch_size": batch_size}
    if device.type == "cuda":
        report["gpu"] = torch.cuda.get_device_name(device)
    with matmul_precision(precision):
        limit = limits(device, precision)
        steps = {"plain": plain_step(model(arch, ch).to(memory_format=order), data, batch_size, device, precision)}
        for mode in ("off", "on") if device.type == "cuda" else ("off",):
            gan = model(arch, ch).to(memory_format=order)
            source = ImageSource(data, device, scale=False)
            settings = gan.defaults[0]
            steps[f"vaefast, compile {mode}"] = engine_step(gan.first, source, batch_size, device, precision, mode == "on",
                                                            settings=settings)
        variants = in_turns(steps, seconds, device, lambda measured: save({**report, "variants": measured}))
    flops = iteration_flops(model(arch, ch).to(device), data[:batch_size].to(device))
    for v in variants.values():
        v["images_per_second"] = batch_size / v["median_ms"] * 1e3
        v["share_of_peak"] = flops / (v["median_ms"] / 1e3) / (limit["tflops"] * 1e12)
    best = min((n for n in variants if n != "plain"), key=lambda n: variants[n]["median_ms"])
    return {**report, "limits": limit, "gflop": flops / 1e9, "variants": variants, "best": best,
            "faster_than_plain": variants["plain"]["median_ms"] / variants[best]["median_ms"]}


def markdown(report: dict) -> str:
    """The table of a report."""
    m = report["machine"]
    where, torch_version = report.get("gpu") or f"{m['cpu']['model']}, {m['threads']} threads", m["versions"]["torch"]
    lines = [f"Measured {m['date'][:10]} at commit {m['commit']}: {where}, {report['precision']}; torch {torch_version}. "
             f"BigGAN {report['arch']}, {SHAPE[1]}x{SHAPE[2]}, ch {report['ch']}, batches of {report['batch_size']}: "
             + (f"{report['gflop']:.4g} GFLOP an iteration; large matrices reach {report['limits']['tflops']:.3g} TFLOP/s."
                if "gflop" in report else "The measurement was cut off."), "",
             "| variant | ms an iteration, median (min) | images/s | share of the peak |", "|---|---:|---:|---:|"]
    for name, v in report["variants"].items():
        share = f"{v['share_of_peak']:.0%}" if "share_of_peak" in v else ""
        rate = report["batch_size"] / v["median_ms"] * 1e3
        lines.append(f"| {name} | {v['median_ms']:.4g} ({v['min_ms']:.4g}) | {rate:,.0f} | {share} |")
    if "best" in report:
        lines += ["", f"{report['best']} is {report['faster_than_plain']:.2f} times as fast as plain."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = report_parser(__doc__)
    parser.add_argument("--arch", default="deep")
    parser.add_argument("--ch", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--smoke", action="store_true", help="small and short: whether it runs")
    options = parser.parse_args()
    ch, batch_size, seconds = (8, 16, 1.0) if options.smoke else (options.ch, options.batch_size, options.seconds)
    make_report(options, lambda save: run(resolve_device(options.device), seconds, options.arch, ch, batch_size, save),
                markdown)


if __name__ == "__main__":
    main()
