"""How noisy GAMIX's global KL is on a batch: its value and its gradient against those of the whole data set.

    python -m benchmarks.gamix_noise --out FILE.json [--dims 512] [--images 24000] [--repeats 200]
    python -m benchmarks.gamix_noise --out FILE.json --markdown     the table of a file that is there

Posteriors of three kinds of code are drawn, and the estimate of a batch of 10 and of 64, alone and with the memory of the 9
batches before it, is compared with the same formula over all posteriors. The gradient is that to the batch's means and standard
deviations (in units of the code, as a change of all codes' mean and of all codes' scale); its error is what the steps of training
see. Nothing is trained, so the memory's batches are of the same networks: what is left out is that they age.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import machine
from vaefast.models import GlobalMoments
from vaefast.models.posterior import DiagonalGaussian

CODES = {
    "matched: means of variance 0.9, posteriors of variance 0.1": (0.9, 0.1, 0.0),
    "too wide: means of variance 4, posteriors of variance 0.1": (4.0, 0.1, 0.5),
    "half collapsed: means of variance 0.9 and 0.01, posteriors of variance 0.1 and 0.99": (None, None, 0.0),
}
"""Variance of the means, variance of the posteriors, offset of the means."""
MEMORY = 9
BATCHES = (10, 64)
VARS = ("means", "mixture")


def posteriors(code: tuple[float | None, float | None, float], n: int, k: int) -> DiagonalGaussian:
    """n posteriors of such a code, float64."""
    generator = torch.Generator().manual_seed(0)
    between, within, offset = code
    if between is None:
        used = torch.arange(k) < k // 2
        b, w = torch.where(used, 0.9, 0.01).double(), torch.where(used, 0.1, 0.99).double()
    else:
        b, w = (torch.full((k,), v, dtype=torch.float64) for v in (between, within))
    mean = offset + b.sqrt() * torch.randn(n, k, generator=generator, dtype=torch.float64)
    return DiagonalGaussian(mean, w.log().expand(n, k).contiguous(), "logvar")


def pushes(moments: GlobalMoments, q: DiagonalGaussian) -> tuple[float, Tensor]:
    """The KL, and by dimension how it falls with a shift of the codes' mean and with their scale, [2, k]."""
    shift = torch.zeros_like(q.mean[0], requires_grad=True)
    scale = torch.zeros_like(q.mean[0], requires_grad=True)  # log of a factor of means and standard deviations
    kl = moments.kl(DiagonalGaussian((q.mean + shift) * scale.exp(), q.raw + 2 * scale, q.param))
    return float(kl.detach()), torch.stack(torch.autograd.grad(kl, [shift, scale]))


def case(code: str, var: str, batch: int, memory: int, *, k: int, n: int, repeats: int) -> dict:
    """Bias and spread of the estimate over `repeats` batches, in nats, and the error of its gradient."""
    q = posteriors(CODES[code], n, k)
    exact, exact_push = pushes(GlobalMoments(k, var).double(), q)
    moments = GlobalMoments(k, var, memory).double()
    order = torch.randint(n, ((repeats + memory) * batch,), generator=torch.Generator().manual_seed(1)).split(batch)
    values, errors = [], []
    for i, rows in enumerate(order):
        value, push = pushes(moments, DiagonalGaussian(q.mean[rows], q.raw[rows], q.param))
        if i >= memory:
            values.append(value)
            errors.append(push - exact_push)
    estimates, error = torch.tensor(values, dtype=torch.float64), torch.stack(errors)
    return {"code": code, "var": var, "batch": batch, "memory": memory, "exact": exact, "bias": float(estimates.mean()) - exact,
            "std": float(estimates.std()), "gradient": float(exact_push.square().mean().sqrt()),
            "gradient_bias": float(error.mean(0).square().mean().sqrt()), "gradient_error": float(error.square().mean().sqrt())}


def run(k: int, n: int, repeats: int) -> dict:
    """The whole report."""
    cases = [case(code, var, batch, memory, k=k, n=n, repeats=repeats)
             for code in CODES for var in VARS for batch in BATCHES for memory in (0, MEMORY)]
    return {"machine": machine.describe(), "dims": k, "images": n, "repeats": repeats, "cases": cases}


def markdown(report: dict) -> str:
    """The tables of a report."""
    lines = [f"{report['dims']} dimensions, {report['images']:,} posteriors, {report['repeats']} batches; values in nats.", ""]
    for code in CODES:
        lines += [f"Code {code}:", "", "| var | batch | batches before it | whole set | bias | std | gradient | its error |",
                  "|---|---:|---:|---:|---:|---:|---:|---:|"]
        lines += [f"| {c['var']} | {c['batch']} | {c['memory']} | {c['exact']:.4g} | {c['bias']:+.3g} | {c['std']:.3g} | "
                  f"{c['gradient']:.3g} | {c['gradient_error']:.3g} |" for c in report["cases"] if c["code"] == code]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dims", type=int, default=512)
    parser.add_argument("--images", type=int, default=24_000)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--markdown", action="store_true", help="print the tables of the file, measure nothing")
    options = parser.parse_args()
    if not options.markdown:
        report = run(options.dims, options.images, options.repeats)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(markdown(json.loads(options.out.read_text())), end="")


if __name__ == "__main__":
    main()
