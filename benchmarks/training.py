"""Steps of training against a plain PyTorch loop and pythae's trainer, in turns in one process.

    python -m benchmarks.training --out FILE.json [--device cuda] [--seconds 20] [--quick] [--own]
    python -m benchmarks.training --out FILE.json --markdown     the tables of a file that is there

The same networks, batches of 64 and data of 28x28 pixels for all (random images: time does not depend on them). vaefast's
step is that of its trainer, with everything it does between two log points.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import Tensor
from torch._inductor import config as inductor
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode

import vaefast
from benchmarks import machine, plain
from benchmarks.limit import TookTooLong, at_most
from benchmarks.report import Save, make_report, report_parser
from vaefast.experiments.presets import TWO_STAGE
from vaefast.models.player import players_of
from vaefast.models.posterior import DiagonalGaussian
from vaefast.training import StageSettings
from vaefast.training.allocator import keep_freed_memory
from vaefast.training.batches import Batches
from vaefast.training.dense import fast_dense
from vaefast.training.determinism import deterministic_algorithms
from vaefast.training.device import Mode, matmul_precision, memory_format, resolve_device, resolve_precision
from vaefast.training.distributed import World
from vaefast.training.iteration import Iteration, draws
from vaefast.training.memory import used_megabytes
from vaefast.training.sources import ImageSource, PosteriorSource, Source

BATCH = 64
MNIST = 60_000
WARM_UP_SECONDS = 90.0
"""That a variant may take for its first steps, compilation and all."""
EPOCHS = (400, 800)
"""Of the paper's MNIST protocol."""
ADAM_BYTES = 28
"""A parameter's traffic a step: weight, gradient and two moments read, weight and moments written, in float32."""


def engine_step(module: torch.nn.Module, source: Source, batch_size: int, device: torch.device, precision: str,
                compile: bool, settings: StageSettings | None = None, channels_last: Mode = "auto") -> Callable[[], None]:
    """One iteration of vaefast's trainer as a function."""
    module.to(device, memory_format=memory_format(channels_last, device, precision))  # type: ignore[call-overload]
    settings, players = settings or StageSettings(steps=10**9, batch_size=batch_size), players_of(module)
    batches = Batches(source, batch_size, draws(players), seed=0, stage=0, name="bench", device=device, group=World())
    iteration = Iteration(players, module.train(), settings, batches, device=device, precision=precision,
                          group=World(), compile=compile, capture=device.type == "cuda")
    done = 0

    def step() -> None:
        nonlocal done
        batches.seek(done)
        for turn in iteration.turns:
            turn.set_step(done, 10**9, batches.per_epoch)
        iteration.run()
        done += 1
        if device.type == "cpu":
            iteration.first_bad.item()
        if done % 50 == 0:
            for turn in iteration.turns:
                turn.means(iteration.updates(turn, done - 50, done), World())
                turn.sums.zero_()

    return step


def images(n: int) -> Tensor:
    """n grey images of 28x28."""
    return torch.randint(0, 256, (n, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def two_stage() -> vaefast.TwoStageVAE:
    """The networks of the paper."""
    torch.manual_seed(0)
    return vaefast.TwoStageVAE((1, 28, 28), plain.LATENT)


def posteriors(n: int, device: torch.device) -> PosteriorSource:
    """Means and standard deviations as a trained first stage has them."""
    mean, logstd = torch.randn(n, plain.LATENT, device=device), torch.full((n, plain.LATENT), -2.0, device=device)
    return PosteriorSource(DiagonalGaussian(mean, logstd, "logstd"))


class Clock:
    """Seconds a step; on a GPU the work of several steps is waited for at once."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def __call__(self, step: Callable[[], None]) -> float:
        repeats = 50 if self.cuda else 1
        if self.cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(repeats):
            step()
        if self.cuda:
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / repeats


Found = dict[str, dict[str, float]]


def in_turns(steps: dict[str, Callable[[], None]], seconds: float, device: torch.device,
             save: Callable[[Found], None] = lambda _: None) -> Found:
    """Median and minimum time of each step, measured in turns; one that is not warm in time is left out, and named. `save` is
    given what there is after the first turns."""
    clock, ready = Clock(device), {}
    for name, step in steps.items():
        try:
            with at_most(WARM_UP_SECONDS):
                for _ in range(15):  # compiles, captures, warms caches
                    step()
            ready[name] = step
        except (TookTooLong, RuntimeError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr, flush=True)
    samples: dict[str, list[float]] = {name: [] for name in ready}

    def times() -> Found:
        return {name: {"median_ms": 1e3 * statistics.median(s), "min_ms": 1e3 * min(s), "samples": len(s)}
                for name, s in samples.items()}

    end = time.monotonic() + seconds
    while time.monotonic() < end or len(next(iter(samples.values()))) < 10:
        for name, step in ready.items():
            samples[name].append(clock(step))
        if len(samples[name]) == 3:
            save(times())
    return times()


def limits(device: torch.device, precision: str) -> dict[str, float]:
    """What the machine can do: multiply-adds of large matrices in the precision used, and bytes of a large copy."""
    clock = Clock(device)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    n = 8192 if device.type == "cuda" else 2048
    a = torch.randn(n, n, device=device).to(dtype)
    b = torch.empty(2**28 if device.type == "cuda" else 2**26, device=device).normal_()
    c = torch.empty_like(b).copy_(b)
    with fast_dense(device, precision):
        multiply, copy = (min(clock(f) for _ in range(9)) for f in (lambda: linear(a, a), lambda: c.copy_(b)))
    return {"tflops": 2 * n**3 / multiply / 1e12, "gb_per_s": 2 * b.nbytes / copy / 1e9}


def share_of_limit(module: torch.nn.Module, batch: Tensor, seconds: float, limit: dict[str, float]) -> dict[str, float]:
    """FLOPs and least bytes of a step, and the share of the time that the slower of the two needs at the machine's best."""
    with FlopCounterMode(display=False) as counter:
        module(batch)["loss"].backward()
    module.zero_grad()
    flops, moved = counter.get_total_flops(), ADAM_BYTES * sum(p.numel() for p in module.parameters())
    bound = max(flops / (limit["tflops"] * 1e12), moved / (limit["gb_per_s"] * 1e9))
    return {"gflop": flops / 1e9, "adam_mb": moved / 1e6, "bound_ms": 1e3 * bound, "share": bound / seconds}


def against_peers(device: torch.device, precision: str, seconds: float, own: bool = False) -> Iterator[dict]:
    """The machine's limits; both stages against their plain loops, and stage 1 against pythae, or vaefast's `own` alone."""
    data, limit = images(MNIST // 10), limits(device, precision)
    yield {"limits": limit}
    steps = {} if own else _plain_variants(partial(plain.first_stage, data, BATCH), device)
    pythae = None if own else plain.pythae_step(data, BATCH, device)
    if pythae:
        steps["pythae"] = pythae
    source = ImageSource(data, device, scale=False)
    steps |= _engine_variants(lambda: two_stage().first, source, device, precision)
    yield _case("stage 1, 28x28, batch 64", in_turns(steps, seconds, device), two_stage().first.to(device),
                data[:BATCH].to(device), limit)
    del steps
    gc.collect()
    source = posteriors(MNIST // 10, device)
    mean, std = source.posterior.mean.cpu(), source.posterior.std.cpu()
    steps = {} if own else _plain_variants(partial(plain.second_stage, mean, std, BATCH), device)
    steps |= _engine_variants(lambda: two_stage().second, source, device, precision)
    yield _case("stage 2, 64 codes, batch 64", in_turns(steps, seconds, device), two_stage().second.to(device),
                mean[:BATCH].to(device), limit)


def layouts(device: torch.device, precision: str, seconds: float) -> dict:
    """Stage 1 of preset quick, small residual networks, in both memory orders."""
    quick, data = TWO_STAGE["quick"], images(MNIST // 10)
    settings = quick.stages[0]

    def model() -> torch.nn.Module:
        torch.manual_seed(0)
        return vaefast.TwoStageVAE((1, 28, 28), **quick.model).first

    orders: dict[str, Mode] = {"vaefast, NCHW": "off", "vaefast, NHWC": "on"}
    make = partial(engine_step, source=ImageSource(data, device, scale=False), batch_size=settings.batch_size, device=device,
                   compile=False, settings=settings)
    steps = {name: make(model(), precision=precision, channels_last=order) for name, order in orders.items()}
    if precision != "fp32":
        steps["vaefast, NCHW, fp32"] = make(model(), precision="fp32", channels_last="off")
    return _case(f"stage 1 of preset quick, 28x28, batch {settings.batch_size}", in_turns(steps, seconds, device),
                 model().to(device), data[:settings.batch_size].to(device), limits(device, precision))


def _plain_variants(make: Callable[..., Callable[[], None]], device: torch.device) -> dict[str, Callable[[], None]]:
    """The plain loop; in bf16, too, where the machine multiplies in it; on a GPU also as who looks for speed writes it: in bf16
    and NHWC, compiled, with the data on the device."""
    bf16 = partial(make, device, precision="bf16")
    if device.type != "cuda":
        return {"plain": make(device), **({"plain, bf16": bf16()} if resolve_precision("auto", device) == "bf16" else {})}
    return {"plain": make(device), "plain, bf16": bf16(), "plain, bf16, compiled": bf16(compile=True),
            "plain, bf16, compiled, data on the GPU": bf16(compile=True, resident=True)}


def _engine_variants(module: Callable[[], torch.nn.Module], source: Source, device: torch.device,
                     precision: str) -> dict[str, Callable[[], None]]:
    """The engine's step in the machine's precision, compiled and not; in float32, too, where that is another. On a GPU compiled
    in TF32, with and without combo kernels; with deterministic algorithms, where CUBLAS_WORKSPACE_CONFIG allows them; and, of
    networks with convolutions, in NCHW and with the algorithms that cuDNN tries out."""
    make = partial(engine_step, source=source, batch_size=BATCH, device=device)
    steps = {f"vaefast, compile {mode}": make(module(), precision=precision, compile=mode == "on") for mode in ("off", "on")}
    if precision != "fp32":
        steps["vaefast, fp32, compile off"] = make(module(), precision="fp32", compile=False)
    if device.type == "cuda":
        tf32 = make(module(), precision="tf32", compile=True)
        steps["vaefast, tf32, compile on"] = _inside(partial(matmul_precision, "tf32"), tf32)
        steps["vaefast, tf32, combo kernels, compile on"] = _inside(
            partial(inductor.patch, combo_kernels=True), _inside(partial(matmul_precision, "tf32"), make(
                module(), precision="tf32", compile=True)))
        if "CUBLAS_WORKSPACE_CONFIG" in os.environ:
            steps["vaefast, deterministic, compile on"] = _inside(
                partial(deterministic_algorithms, device), make(module(), precision=precision, compile=True))
        if any(isinstance(layer, torch.nn.Conv2d) for layer in module().modules()):
            steps["vaefast, NCHW, compile on"] = make(module(), precision=precision, compile=True, channels_last="off")
            steps["vaefast, cuDNN tries, compile on"] = _inside(
                partial(torch.backends.cudnn.flags, enabled=True, benchmark=True),
                make(module(), precision=precision, compile=True))
    return steps


def _inside(context: Callable[[], AbstractContextManager[None]], step: Callable[[], None]) -> Callable[[], None]:
    """The step under a setting of its own, which counts when it is compiled and captured."""
    def run() -> None:
        with context():
            step()
    return run


def _case(name: str, variants: Found, module: torch.nn.Module, batch: Tensor, limit: dict[str, float]) -> dict:
    """A case of the report: its times, and what follows from them."""
    best = min((n for n in variants if n.startswith("vaefast")), key=lambda n: variants[n]["median_ms"])
    fastest = variants[best]["median_ms"]
    return {"case": name, "variants": variants, "best": best,
            "faster_than": {n: v["median_ms"] / fastest for n, v in variants.items() if not n.startswith("vaefast")},
            "limit": share_of_limit(module, batch, fastest / 1e3, limit)}


def scaling(device: torch.device, precision: str, seconds: float) -> list[dict]:
    """Images a second and memory over batch sizes and over data sizes."""
    rows = []
    for batch_size, count in (*((b, 6_000) for b in (64, 128, 256, 512, 1024)), (64, 1_000), (64, 1_000_000)):
        source = ImageSource(images(count), device, scale=False)
        step = engine_step(two_stage().first, source, batch_size, device, precision, False)
        timing = in_turns({"step": step}, seconds / 4, device)["step"]
        rows.append({"batch_size": batch_size, "images": count, "images_per_second": batch_size / timing["median_ms"] * 1e3,
                     "step_ms": timing["median_ms"], "resident_mb": source.images.nbytes / 1e6,
                     "memory_mb": used_megabytes(device)})
        print(rows[-1], file=sys.stderr, flush=True)
        del source, step
        gc.collect()
    return rows


def run(device: torch.device, seconds: float, quick: bool, save: Save, own: bool = False) -> dict:
    """The whole report; `save` is given it after every case."""
    precision = resolve_precision("auto", device)
    keep_freed_memory()
    report = {"machine": machine.describe(), "device": str(device), "precision": precision, "quick": quick, "cases": []}
    if device.type == "cuda":
        report["gpu"] = torch.cuda.get_device_name(device)
    with matmul_precision(precision):
        measured = against_peers(device, precision, 3.0 if quick else seconds, own)
        report |= next(measured)
        for case in measured:
            report["cases"].append(case)
            save(report)
        paper, per_epoch = list(report["cases"]), MNIST // BATCH
        times = [c["variants"][c["best"]]["median_ms"] / 1e3 * per_epoch * e for c, e in zip(paper, EPOCHS)]
        report["protocol"] = {"epochs": EPOCHS, "projected_seconds": [round(t) for t in times], "measured": False}
        if device.type == "cpu":
            report["cases"].append(layouts(device, precision, 3.0 if quick else seconds))
        if not quick:
            save(report)
            report["scaling"] = scaling(device, precision, seconds)
    return report


def markdown(report: dict) -> str:
    """The tables of a report."""
    m = report["machine"]
    where = report.get("gpu") or f"{m['cpu']['model']} ({', '.join(m['cpu']['flags'])}), {m['threads']} threads"
    lines = [f"Measured {m['date'][:10]} at commit {m['commit']}: {where}, {report['precision']}; "
             f"torch {m['versions']['torch']}. At its best the machine does {report['limits']['tflops']:.3g} TFLOP/s and copies "
             f"{report['limits']['gb_per_s']:.3g} GB/s.", "",
             "| case | variant | ms a step, median (min) | best vaefast is faster by |", "|---|---|---:|---:|"]
    for case in report["cases"]:
        for name, v in case["variants"].items():
            ratio = f"{case['faster_than'][name]:.2f}" if name in case["faster_than"] else ""
            lines.append(f"| {case['case']} | {name} | {v['median_ms']:.4g} ({v['min_ms']:.4g}) | {ratio} |")
    lines += ["", "| case | GFLOP a step | Adam, MB a step | ms at the machine's best | share of the limit |",
              "|---|---:|---:|---:|---:|"]
    for case in report["cases"]:
        x = case["limit"]
        lines.append(f"| {case['case']} | {x['gflop']:.3g} | {x['adam_mb']:.4g} | {x['bound_ms']:.3g} | {x['share']:.0%} |")
    if "protocol" in report:
        a, b = report["protocol"]["projected_seconds"]
        lines += ["", "The paper's MNIST protocol, 400 + 800 epochs, projected from these steps: "
                  f"{a / 3600:.3g} + {b / 3600:.3g} hours."]
    if "scaling" in report:
        lines += ["", "| batch | images held | images/s | data, MB | process, MB |", "|---:|---:|---:|---:|---:|"]
        lines += [f"| {r['batch_size']:,} | {r['images']:,} | {r['images_per_second']:,.0f} | {r['resident_mb']:,.0f} | "
                  f"{r['memory_mb']:,.0f} |" for r in report["scaling"]]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = report_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="3 seconds each, no scaling")
    parser.add_argument("--own", action="store_true", help="vaefast's variants alone")
    options = parser.parse_args()
    device = resolve_device(options.device)
    make_report(options, lambda save: run(device, options.seconds, options.quick, save, options.own), markdown)


if __name__ == "__main__":
    main()
