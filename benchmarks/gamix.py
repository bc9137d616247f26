"""Steps of GAMIX-VAE, autoencoder and PatchGAN, against a plain PyTorch loop of the same networks, in turns in one process.

    python -m benchmarks.gamix --out FILE.json --device cuda [--seconds 20]
    python -m benchmarks.gamix --out FILE.json --smoke              tiny images on any machine: that it runs, no result
    python -m benchmarks.gamix --out FILE.json --markdown           the tables of a file that is there

Images of 256x256 in batches of 10 and 64, 512 latent dimensions, width 128; the plain loop is in float32, and once more under
bf16 autocast. Then the memory of a step at 256 and 512, with activations kept and recomputed, and what each further image takes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

import vaefast
from benchmarks import machine
from benchmarks.report import Save, make_report, report_parser
from benchmarks.training import engine_step, in_turns, limits
from vaefast.nets import BatchNorm, GAMIXDecoder, GAMIXEncoder, PatchGAN
from vaefast.training.device import matmul_precision, memory_format, resolve_device, resolve_precision
from vaefast.training.memory import used_megabytes
from vaefast.training.sources import ImageSource


@dataclass(frozen=True)
class Size:
    """What is measured."""

    side: int = 256
    latent_dim: int = 512
    width: int = 128
    batches: tuple[int, ...] = (10, 64)
    sides: tuple[int, ...] = (256, 512)
    memory_batches: tuple[int, int] = (4, 8)
    images: int = 512


SMOKE = Size(16, 8, 4, (2, 4), (16, 32), (2, 4), 16)


def images(n: int, side: int) -> Tensor:
    """n colour images."""
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def torchs_own(module: nn.Module) -> nn.Module:
    """The module with torch's own batch norm in the place of vaefast's."""
    for name, child in list(module.named_children()):
        if isinstance(child, BatchNorm):
            setattr(module, name, nn.BatchNorm2d(child.features, eps=child.eps, momentum=1 - child.decay))
        else:
            torchs_own(child)
    return module


def plain_step(data: Tensor, size: Size, batch_size: int, device: torch.device, bf16: bool) -> Callable[[], None]:
    """A step as a good user writes it: DataLoader, mirrored there, two Adams, losses read every step for the bar."""
    shape = tuple(data.shape[1:])
    torch.manual_seed(0)
    encoder = torchs_own(GAMIXEncoder(shape, size.latent_dim, width=size.width)).to(device)
    decoder = torchs_own(GAMIXDecoder(shape, size.latent_dim, width=size.width)).to(device)
    judge = torchs_own(PatchGAN(3, width=size.width)).to(device)
    ours = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-4, betas=(0.5, 0.999), eps=1e-7)
    theirs = torch.optim.Adam(judge.parameters(), lr=1e-4, betas=(0.5, 0.999), eps=1e-7)
    loader = DataLoader(TensorDataset(data), batch_size, shuffle=True, drop_last=True, pin_memory=device.type == "cuda")

    def endless():
        while True:
            yield from loader

    batches = endless()

    def step() -> None:
        (x,) = next(batches)
        x = x.to(device, non_blocking=True).float() / 127.5 - 1
        x = torch.where(torch.rand(len(x), 1, 1, 1, device=device) < 0.5, x.flip(3), x)
        with torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext():
            mean, logvar = encoder(x)
            mean, logvar = mean.float(), logvar.float()
            x_hat = decoder(mean + (logvar / 2).exp() * torch.randn_like(mean))
            fooled = judge(x_hat).float()
            real, fake = judge(x).float(), judge(x_hat.detach()).float()
        center = mean.mean(0)
        variance = (mean - center).square().mean(0)
        loss = (5000 * (x - x_hat.float()).abs().mean() + 0.5 * (center.square() + variance - (variance + 1e-8).log() - 1).sum()
                + (0.1 * (logvar.exp() - logvar - 1)).sum(1).mean()
                + 100 * F.binary_cross_entropy_with_logits(fooled, torch.ones_like(fooled)))
        against = 100 * (F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
                         + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake)))
        ours.zero_grad()
        loss.backward()
        theirs.zero_grad()
        against.backward()
        ours.step()
        theirs.step()
        loss.item(), against.item()

    return step


def model(size: Size, side: int, checkpoint: bool = False) -> nn.Module:
    """GAMIX-VAE as vaefast has it."""
    torch.manual_seed(0)
    return vaefast.GAMIXVAE((3, side, side), size.latent_dim, width=size.width, checkpoint=checkpoint).first


def prepared(module: nn.Module, device: torch.device, precision: str) -> nn.Module:
    """The module where and as the trainer puts it."""
    return module.to(device, memory_format=memory_format("auto", device, precision))


def speed(size: Size, device: torch.device, precision: str, seconds: float, compiled: tuple[bool, ...]) -> list[dict]:
    """Images a second of every variant, by batch size, and the share of the machine's best that the best one reaches."""
    data, rows, limit = images(size.images, size.side), [], limits(device, precision)
    for batch_size in size.batches:
        steps = {"plain, fp32": plain_step(data, size, batch_size, device, False),
                 "plain, bf16 autocast": plain_step(data, size, batch_size, device, True)}
        for mode in compiled:
            source = ImageSource(data, device, scale=False, flip=True)
            steps[f"vaefast, {precision}, compile {'on' if mode else 'off'}"] = engine_step(
                prepared(model(size, size.side), device, precision), source, batch_size, device, precision, mode)
        variants = in_turns(steps, seconds, device)
        best = min((n for n in variants if n.startswith("vaefast")), key=lambda n: variants[n]["median_ms"])
        one = model(size, size.side).to(device)
        with FlopCounterMode(display=False) as counter:
            one.loss(data[:2].to(device))["loss"].backward()
            one.discriminator_loss(data[:2].to(device))["loss"].backward()
        # the second call makes reconstructions of its own, which the engine does not: one forward pass, of three such, less
        flop = counter.get_total_flops() / 2 * 3 / 4 * batch_size
        rows.append({"batch_size": batch_size, "variants": variants, "best": best, "gflop_about": flop / 1e9,
                     "share_of_peak_about": flop / (variants[best]["median_ms"] / 1e3) / (limit["tflops"] * 1e12),
                     "faster_than": {n: variants[n]["median_ms"] / variants[best]["median_ms"]
                                     for n in variants if "plain" in n}})
        del steps, one
        gc.collect()
    return [{"limits": limit}, *rows]


def memory(size: Size, device: torch.device, precisions: tuple[str, ...]) -> list[dict]:
    """Peak memory of a step, and of each further image, by side, precision and recomputation (a GPU's alone mean something)."""
    rows = []
    few, many = size.memory_batches
    for side in size.sides:
        for precision in precisions:
            for checkpoint in (False, True):
                peaks = []
                for batch_size in (few, many):
                    if device.type == "cuda":
                        torch.cuda.empty_cache()
                        torch.cuda.reset_peak_memory_stats(device)
                    source = ImageSource(images(many, side), device, scale=False)
                    module = prepared(model(size, side, checkpoint), device, precision)
                    step = engine_step(module, source, batch_size, device, precision, False)
                    for _ in range(5):
                        step()
                    peaks.append(used_megabytes(device))
                    del step, source, module
                    gc.collect()
                rows.append({"side": side, "precision": precision, "checkpoint": checkpoint, "batch_size": many,
                             "peak_mb": peaks[1], "mb_per_image": (peaks[1] - peaks[0]) / (many - few)})
    return rows


def run(device: torch.device, seconds: float, smoke: bool, save: Save) -> dict:
    """The whole report."""
    precision, size = resolve_precision("auto", device), SMOKE if smoke else Size()
    cuda = device.type == "cuda"
    with matmul_precision(precision):
        limit, *rows = speed(size, device, precision, seconds, (False, True) if cuda else (False,))
        report = {"machine": machine.describe(), "device": str(device), "precision": precision, "smoke": smoke, **limit,
                  "speed": rows, "memory": []}
        if cuda:
            report["gpu"] = torch.cuda.get_device_name(device)
        save(report)
        report["memory"] = memory(size, device, ("fp32", "bf16") if cuda else ("fp32",))
    return report


def markdown(report: dict) -> str:
    """The tables of a report."""
    m = report["machine"]
    where = report.get("gpu") or f"{m['cpu']['model']}, {m['threads']} threads"
    lines = [f"Measured {m['date'][:10]} at commit {m['commit']}: {where}; torch {m['versions']['torch']}."
             + (" A smoke test on tiny images: the numbers mean nothing." if report["smoke"] else ""), "",
             "| batch | variant | images/s | ms a step | best vaefast is faster by |", "|---:|---|---:|---:|---:|"]
    for row in report["speed"]:
        for name, v in row["variants"].items():
            ratio = f"{row['faster_than'][name]:.2f}" if name in row["faster_than"] else ""
            lines.append(f"| {row['batch_size']} | {name} | {1e3 * row['batch_size'] / v['median_ms']:.4g} | "
                         f"{v['median_ms']:.4g} | {ratio} |")
    lines += ["", "About " + ", ".join(f"{r['share_of_peak_about']:.0%} at batch {r['batch_size']}" for r in report["speed"])
              + " of the multiply-adds that large matrices reach here.", "",
              "| side | precision | activations | batch | peak, MB | MB an image more |", "|---:|---|---|---:|---:|---:|"]
    lines += [f"| {r['side']} | {r['precision']} | {'recomputed' if r['checkpoint'] else 'kept'} | {r['batch_size']} | "
              f"{r['peak_mb']:,.0f} | {r['mb_per_image']:,.1f} |" for r in report["memory"]]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = report_parser(__doc__)
    parser.add_argument("--smoke", action="store_true", help="tiny images, half a second each")
    options = parser.parse_args()
    seconds = 0.5 if options.smoke else options.seconds
    make_report(options, lambda save: run(resolve_device(options.device), seconds, options.smoke, save), markdown)


if __name__ == "__main__":
    main()
