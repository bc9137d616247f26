"""Figure 2: singular values of samples from q(z), q(u) and N(0, I)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaefast.experiments.pictures.figures import COLOURS, GREY, label, panels
from vaefast.experiments.scoring.codes import two_stage_codes
from vaefast.experiments.theory.job import Job, fingerprint
from vaefast.metrics import singular_values
from vaefast.models import TwoStageVAE

SAMPLES = {"smoke": 2000, "quick": 10_000, "paper": 10_000}
_NAMES = (("stage1", "stage 1: q(z)"), ("stage2", "stage 2: q(u)"), ("prior", "N(0, I)"))


def fig2(model: TwoStageVAE, images: Tensor, *, out: str | Path, preset: str = "quick", seed: int = 0,
         device: str | torch.device = "auto", say: Callable[[str], None] = print) -> dict[str, Any]:
    """Singular values / sqrt(n) of n draws of q(z), of q(u) and of N(0, I), not centred; out/fig2.json, .png, .svg.

    Those of n draws of N(0, I) in k dimensions lie in about 1 +- sqrt(k / n). Stage 1's spread far beyond, stage 2's come
    back.

    Args:
        model: a trained two-stage model, which is moved to `device`.
        images: [N, C, H, W], uint8 or float in [0, 1], such as the training set.
        preset: "smoke" draws 2,000, the others 10,000 (no more than there are images).

    Returns:
        "singular_values": largest first, of "stage1", "stage2" and "prior"; "band": (1 - w, 1 + w) with w = sqrt(k / n);
        "outside": for each the largest relative distance from the band, 0 where all lie inside.

    Source: Dai & Wipf 2019, figure 2.
    """
    job = Job("fig2", out, preset, seed, device, say, model=fingerprint(model), images=fingerprint(images), n=SAMPLES.get(preset))
    if (known := job.known()) is not None:
        return known
    model.to(job.device)
    z, u = two_stage_codes(model, images, SAMPLES[preset], seed=seed, device=job.device)
    n, k = z.shape
    prior = torch.randn(n, k, generator=torch.Generator().manual_seed(seed))
    values = {name: singular_values(codes).tolist() for name, codes in (("stage1", z), ("stage2", u), ("prior", prior))}
    width = (k / n) ** 0.5
    band = (1 - width, 1 + width)
    outside = {name: max(0.0, max(max(v / band[1], band[0] / max(v, 1e-12)) for v in spectrum) - 1)
               for name, spectrum in values.items()}
    say(f"fig2: stage 1's singular values go from {values['stage1'][-1]:.2f} to {values['stage1'][0]:.2f}, stage 2's from "
        f"{values['stage2'][-1]:.2f} to {values['stage2'][0]:.2f}; N(0, I) has {band[0]:.2f} to {band[1]:.2f}")
    return job.write({"n": n, "latent_dim": k, "singular_values": values, "band": list(band), "outside": outside},
                     _draw(values, band, n))


def _draw(values: dict[str, list[float]], band: tuple[float, float], n: int) -> Any:
    figure, (axes,) = panels(1, width=5.4, height=3.8)
    places = range(1, len(values["prior"]) + 1)
    axes.axhspan(*band, color=GREY, alpha=0.18, linewidth=0, label="N(0, I): 1 ± sqrt(k / n)")
    for colour, (name, text), marker in zip(COLOURS, _NAMES, "osx"):
        axes.plot(places, values[name], color=colour, marker=marker, markersize=3, linewidth=1.2, label=text)
    axes.set_ylim(bottom=0)
    label(axes, f"spread of {n:,} codes", "singular value, largest first", "singular value / sqrt(n)")
    return figure
