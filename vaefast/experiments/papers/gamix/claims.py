"""What the work says of its terms, held against what was measured here; and what it leaves open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vaefast.experiments.papers.claims import DISTANCES, Claim, by_name, claim, less, mean_of, measured, monotone
from vaefast.experiments.papers.gamix.protocol import WEIGHTS
from vaefast.experiments.scoring.registry import name_of

Said = Callable[[dict[str, Any]], Sequence[Claim]]
COLLAPSED = 0.9
"""Of all dimensions, that are active."""
GONE = 0.01
"""Mean posterior variance below which it has fallen to 0."""
BLURRED = 0.9
"""Of the sharpness with the released weight."""


def of_ablation(record: dict[str, Any]) -> list[Claim]:
    """Of the terms, one at a time."""
    rows = by_name(record)
    return [
        _collapse(rows),
        less(rows, "active", "elbo", "mixture", "with the mixture in the KL's place more dimensions are active (the ELBO's "
             "against the mixture's)"),
        _gone(rows, "mixture", "the mixture alone lets posterior variances fall to 0"),
        less(rows, "posterior_variance", "mixture", "variance", "the variance term keeps them up (without against with it)"),
        _sharper(rows, "l1", "variance", "reconstructions are sharper with L1 than with L2"),
        _sharper(rows, "patchgan", "l1", "the PatchGAN makes reconstructions sharper"),
        _gone(rows, "ind-0", "GAMIX-VAE without the variance term is a deterministic autoencoder: variances fall to 0"),
        _blurred(rows),
    ]


def of_weights(record: dict[str, Any]) -> list[Claim]:
    """Of the weight of the variance term."""
    rows = by_name(record)
    return [monotone("the larger the variance term's weight, the larger the posterior variances",
                     [mean_of(rows, row.name, "posterior_variance") for row in WEIGHTS])]


def of_baselines(record: dict[str, Any]) -> list[Claim]:
    """Of samples, by the distance that was measured. The work has none of these comparisons."""
    rows, distance = by_name(record), measured(record, DISTANCES)
    name = name_of(distance)
    said = [less(rows, distance, "gamix-two-stage", "gamix", f"left open: a second stage helps GAMIX-VAE ({name})")]
    said += [less(rows, distance, "gamix", other, f"left open: GAMIX-VAE draws better samples than {what} ({name})")
             for other, what in (("elbo", "a VAE at the same reconstruction weight"), ("beta-vae", "a beta-VAE"),
                                 ("two-stage", "a two-stage VAE"))]
    said.append(less(rows, distance, "gamix-two-stage", "two-stage",
                     f"left open: with a second stage each, GAMIX-VAE is better than the VAE ({name})"))
    said.append(less(rows, "recall", "elbo", "gamix", "left open: GAMIX-VAE's samples are more varied than the VAE's at the same "
                     "reconstruction weight (recall, the VAE's against GAMIX-VAE's)"))
    return said


def _collapse(rows: dict[str, Any]) -> Claim:
    text = f"at this reconstruction weight the standard ELBO collapses (here: under {COLLAPSED:.0%} of its dimensions are active)"
    return claim(text, [mean_of(rows, "elbo", "active"), rows.get("elbo", {}).get("latent_dim")],
                 lambda active, k: f"{active:.4g} of {k} active", lambda active, k: active < COLLAPSED * k)


def _gone(rows: dict[str, Any], name: str, text: str) -> Claim:
    return claim(f"{text} (here: a mean below {GONE:g})", [mean_of(rows, name, "posterior_variance")],
                 lambda value: f"{value:.3g}", lambda value: value < GONE)


def _sharpness(rows: dict[str, Any], first: str, second: str, text: str, holds: Callable[[float, float, float], bool]) -> Claim:
    """Of two rows' reconstructions, beside real images."""
    values = [*(mean_of(rows, name, "sharpness_reconstructions") for name in (first, second)), mean_of(rows, "real", "sharpness")]
    return claim(text, values, lambda a, b, real: f"{a:.3g} against {b:.3g}, real images {real:.3g}", holds)


def _sharper(rows: dict[str, Any], better: str, worse: str, text: str) -> Claim:
    """Noise counts as sharpness: what is beyond the real images' own is no gain."""
    return _sharpness(rows, better, worse, f"{text} (here: nearer to the real images' sharpness)",
                      lambda a, b, real: abs(a - real) < abs(b - real))


def _blurred(rows: dict[str, Any]) -> Claim:
    text = ("a hundred times its weight blurs reconstructions (here: below the real images' sharpness, and below "
            f"{BLURRED:.0%} of that with the usual weight)")
    return _sharpness(rows, "ind-x100", "patchgan", text, lambda huge, usual, real: huge < min(BLURRED * usual, real))
