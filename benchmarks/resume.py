"""How far a run that was stopped and resumed ends from one that never stopped, with cuDNN's free choice and without.

    python -m benchmarks.resume --out FILE.json [--device cuda] [--steps 60]

Small images and both stages. The difference is the largest of all weights; 0 is bit-identity. On a CPU it is 0; on a GPU it
depends on the algorithms that cuDNN chooses, some of which add in an order that changes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

import vaefast
from benchmarks import machine
from benchmarks.report import save
from benchmarks.training import images
from vaefast.training import Callback, StageSettings
from vaefast.training.device import resolve_device

CHOICES = {"cuDNN as it comes": {}, "deterministic cuDNN": {"deterministic": True},
           "cuDNN that tries out": {"benchmark": True}}


class Stopping(Callback):
    """Ends the first stage's run after some steps, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, trainer: vaefast.Trainer) -> None:
        if trainer.stage.name == "stage1" and trainer.done == self.at:
            trainer.stop()


def trained(out: Path, steps: int, device: str, stop: int | None) -> dict[str, torch.Tensor]:
    """The weights after a whole run, or after one that was stopped and gone on with."""
    torch.manual_seed(0)
    model = vaefast.TwoStageVAE((1, 28, 28), 16, second_width=256)
    settings = (StageSettings(steps=steps, batch_size=64, lr=1e-3, ema=0.99),) * 2
    fit = partial(model.fit, images(2_000), settings=settings, out=out, device=device, progress=False)
    if stop is None:
        fit()
    else:
        try:
            fit(callbacks=[Stopping(stop)])
        except KeyboardInterrupt:
            pass
        fit(resume=True)
    return {name: value.cpu() for name, value in model.state_dict().items()}


def difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The largest difference of two sets of weights."""
    return max((x.double() - y.double()).abs().max().item() for x, y in zip(a.values(), b.values()))


def run(device: str, steps: int, write: Callable[[dict], None]) -> dict:
    """The whole report; `write` is given it after every choice."""
    report = {"machine": machine.describe(), "device": device, "steps": steps, "largest_difference": {}}
    if device != "cpu":
        report["gpu"] = torch.cuda.get_device_name()
    with tempfile.TemporaryDirectory() as folder:
        for n, (name, flags) in enumerate(CHOICES.items()):
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=torch.backends.cudnn.allow_tf32, **flags):
                whole, again = (trained(Path(folder, f"{n}{run}"), steps, device, None) for run in "ab")
                resumed = trained(Path(folder, f"{n}c"), steps, device, steps // 2 + 3)
            report["largest_difference"][name] = {"of the same run again": difference(whole, again),
                                                  "of a resumed run": difference(whole, resumed)}
            write(report)
            print(name, report["largest_difference"][name], flush=True)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    run(str(resolve_device(options.device)), options.steps, partial(save, options.out))


if __name__ == "__main__":
    main()
