"""Fewer steps of a flow by its own pairs, on the codes of one trained first stage.

`python -m benchmarks.straighten RUN --out FILE.json` fits a flow to the codes of the training images of the run's data, draws
pairs (u, z) by its ten steps of Heun, and trains copies of it on these in two ways: at all times, which straightens its lines
(reflow), and at t = 0 alone, so that one step of Euler carries u to z (distillation; both: Liu et al. 2023, "Flow Straight and
Fast"). 10,000 samples of each number of steps are scored; the file is written after each.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import vaefast
from benchmarks import machine
from benchmarks.scored_run import scored_run
from vaefast.experiments.scoring.codes import aggregate
from vaefast.experiments.scoring.draws import sample_images
from vaefast.experiments.scoring.registry import name_of
from vaefast.models import FlowMatching

TEACHER = ((10, "heun"), (5, "heun"), (2, "heun"), (1, "heun"), (4, "euler"), (2, "euler"), (1, "euler"))
"""Steps and solvers that the flow itself is scored with."""
WAYS = {"reflow, all times": False, "distilled, t = 0": True}
"""What pairs are trained at -> whether at t = 0 alone."""
BATCH, LR, WARMUP, EMA = 512, 1e-3, 100, 0.999


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a trained two-stage model")
    parser.add_argument("--data-root", help="of its data, if they moved")
    parser.add_argument("--out", required=True)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4_000, help="of the flow")
    parser.add_argument("--more", type=int, default=8_000, help="steps on the pairs")
    parser.add_argument("--pairs", type=int, default=200_000)
    parser.add_argument("--samples", type=int, default=10_000)
    args = parser.parse_args(words)
    scored = scored_run(args.run, args.data_root, args.samples)
    model, train, score, key = scored.model, scored.train, scored.score, scored.key
    posteriors = aggregate(model, train.images)
    result: dict[str, Any] = {**{name: getattr(args, name) for name in ("width", "depth", "steps", "more", "pairs", "samples")},
                              "data": train.name, "latent_dim": model.latent_dim, "score": key, "machine": machine.describe(),
                              "seconds": {}, "rows": []}

    def add(name: str, flow: FlowMatching, steps: int, solver: str) -> None:
        def draw(n: int, generator: torch.Generator) -> Tensor:
            drawn: Tensor = model.decode(flow.sample(n, generator, steps=steps, solver=solver))
            return drawn

        images = sample_images(model, draw, args.samples, seed=1)
        result["rows"].append({"name": name, "steps": steps, "solver": solver,
                               "evaluations": steps * (1 if solver == "euler" else 2), key: score(images)[key]})
        print(result["rows"][-1], flush=True)
        Path(args.out).write_text(json.dumps(result, indent=1) + "\n")

    def timed(name: str, call: Any) -> Any:
        start = time.perf_counter()
        value = call()
        result["seconds"][name] = round(time.perf_counter() - start, 1)
        return value

    torch.manual_seed(0)
    second = vaefast.SecondStage(model.latent_dim, kind="flow", width=args.width, depth=args.depth)
    timed("flow", lambda: second.fit((posteriors.mean, posteriors.std), steps=args.steps, device="cpu", progress=False))
    flow: Any = second.second
    for steps, solver in TEACHER:
        add("flow", flow, steps, solver)
    u, x = timed("pairs", lambda: pairs_of(flow, args.pairs))
    for name, start_alone in WAYS.items():
        copied = timed(name, lambda start_alone=start_alone: trained_on_pairs(flow, u, x, args.more, start_alone))
        for steps in (1,) if start_alone else (1, 2, 4):
            add(name, copied, steps, "euler")


def markdown(result: dict[str, Any]) -> str:
    """The table that the page shows."""
    key = result["score"]
    lines = [f"| network | steps | looks at it | {name_of(key)} |", "| --- | --- | ---: | ---: |"]
    lines += [f"| {row['name']} | {row['steps']}, {row['solver']} | {row['evaluations']} | {row[key]:.3g} |"
              for row in result["rows"]]
    return "\n".join(lines) + "\n"


@torch.no_grad()
def pairs_of(flow: FlowMatching, n: int) -> tuple[Tensor, Tensor]:
    """u ~ N(0, I) and the standardised codes that the flow carries them to, [n, k] each."""
    u = flow.prior(n, torch.Generator().manual_seed(2))
    return u, torch.cat([(flow.decode(part) - flow.mean) / flow.std for part in u.split(2000)])


def trained_on_pairs(flow: FlowMatching, u: Tensor, x: Tensor, steps: int, start_alone: bool) -> Any:
    """A copy of the flow, trained further on pairs: the average of its weights."""
    student = copy.deepcopy(flow).train()
    average = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(EMA))
    optimizer = torch.optim.Adam(student.parameters(), LR, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min(1.0, (i + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * i / steps)))
    generator = torch.Generator().manual_seed(3)
    for _ in range(steps):
        chosen = torch.randint(len(u), (BATCH,), generator=generator)
        u0, x1 = u[chosen], x[chosen]
        t = torch.zeros(BATCH) if start_alone else torch.randn(BATCH, generator=generator).sigmoid()
        loss = (student.velocity(torch.lerp(u0, x1, t[:, None]), t, None) - (x1 - u0)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(student)
    return average.module.eval()


if __name__ == "__main__":
    main()
