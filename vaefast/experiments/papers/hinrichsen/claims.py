"""What the paper says, held against what was measured here."""

from __future__ import annotations

from typing import Any

from vaefast.experiments.papers.claims import DISTANCES, Claim, by_name, claim, less, mean_of, measured, monotone
from vaefast.experiments.papers.hinrichsen.protocol import FEW, LATENTS, OPTIMIZERS

INCEPTION = ("inception_score", "is_classifier", "is_exemplar")
FAR = 1.5
"""The paper's scores of GANs are at least twice those of VAEs; so many times are "far" here."""
COLLAPSED = 0.5
"""Of the diversity with the usual learning rates."""


def of_table(record: dict[str, Any]) -> list[Claim]:
    """Of the result table on one data set, in FID and Inception score where they were measured, else in their substitutes."""
    rows, distance, score = by_name(record), measured(record, DISTANCES), f"{measured(record, INCEPTION)}_{FEW}"
    said = []
    for arch, name in (("normal", "BigGAN"), ("deep", "BigGAN-deep")):
        said.append(_far(rows, score, f"gan-{arch}", f"vae-{arch}",
                         f"the Inception score of {name} is far above the VAE's of its parts (here: {FAR:g} times or more)"))
    for arch, name in (("normal", "BigGAN"), ("deep", "BigGAN-deep")):
        if record["data"] == "cifar10":
            said.append(less(rows, distance, f"gan-{arch}", f"vae-{arch}", f"{name} has the better FID on CIFAR-10"))
        if record["data"] == "lfw":
            said.append(less(rows, distance, f"vae-{arch}", f"gan-{arch}", f"the VAE of {name}'s parts has the better FID on "
                             "faces"))
    for family, name in (("gan", "the GAN"), ("vae", "the VAE")):
        if (record["data"], family) != ("cifar10", "vae"):  # where the paper itself found none
            said.append(less(rows, distance, f"{family}-deep", f"{family}-normal", f"extra residual blocks help {name}"))
    return said


def of_blocks(record: dict[str, Any]) -> list[Claim]:
    """Of a block more in each stage of BigGAN, which adds parameters, and of one that does not."""
    rows, distance = by_name(record), measured(record, DISTANCES)
    return [less(rows, distance, f"{family}-normal-{name}", f"{family}-normal",
                 f"an extra residual block a stage helps {what}{words}")
            for family, what in (("gan", "BigGAN"), ("vae", "the VAE of its parts"))
            for name, words in (("blocks", ""), ("narrow", " at about as many parameters"))]


def of_latents(record: dict[str, Any]) -> list[Claim]:
    """Of the VAE's latent dimensions, by what the paper judges them: reconstruction of images that were not trained on, and
    the Inception score."""
    rows, score = by_name(record), f"{measured(record, INCEPTION)}_{FEW}"
    names, with_them = ["vae-deep" if k == 256 else f"vae-deep-z{k}" for k in LATENTS], f" with {' / '.join(map(str, LATENTS))}"
    return [monotone("the more latent dimensions, the better the VAE reconstructs (squared error a pixel of test images)",
                     [mean_of(rows, name, "reconstruction_error") for name in names], ".3g", with_them, falls=True),
            monotone("the more latent dimensions, the higher its Inception score", [mean_of(rows, name, score) for name in names],
                     ".3g", with_them)]


def of_rates(record: dict[str, Any]) -> list[Claim]:
    """Of learning rates: convergence by the distance at the end of the same budget, collapse by the samples' diversity."""
    rows, distance = by_name(record), measured(record, DISTANCES)
    slower = "10 times the discriminator's learning rate slows convergence (here: a worse distance after as many steps)"
    text = f"10 times the generator's learning rate collapses (here: a diversity below {COLLAPSED:g} of the usual, or divergence)"
    said = [_diverged(rows, "gan-deep-fast-d", slower) or less(rows, distance, "gan-deep", "gan-deep-fast-d", slower)]
    usual, fast = (mean_of(rows, name, "diversity") for name in ("gan-deep", "gan-deep-fast-g"))
    if (answer := _diverged(rows, "gan-deep-fast-g", text)) is not None:
        return [*said, answer]
    return [*said, claim(text, [fast, usual], lambda f, u: f"{f:.3g} of the real images' deviation against {u:.3g}",
                         lambda f, u: f < COLLAPSED * u)]


def of_activation(record: dict[str, Any]) -> list[Claim]:
    """Of leaky ReLU in the place of ReLU."""
    rows, distance = by_name(record), measured(record, DISTANCES)
    return [_diverged(rows, f"{name}-leaky", text) or less(rows, distance, name, f"{name}-leaky", text)
            for name, text in (("gan-deep", "leaky ReLU is worse for the GAN"), ("vae-deep", "leaky ReLU is worse for the VAE"))]


def of_optimizers(record: dict[str, Any]) -> list[Claim]:
    """Of Adam beside RMSprop and SGD: convergence by the distance at the end of the same budget."""
    rows, distance = by_name(record), measured(record, DISTANCES)
    said = []
    for name, what in (("gan-deep", "the GAN"), ("vae-deep", "the VAE")):
        for optimizer, title in OPTIMIZERS.items():
            text = f"Adam converges quicker than {title}, {what} (here: a better distance after as many steps)"
            said.append(_diverged(rows, f"{name}-{optimizer}", text) or less(rows, distance, name, f"{name}-{optimizer}", text))
    return said


def _far(rows: dict[str, Any], score: str, better: str, worse: str, text: str) -> Claim:
    return claim(text, [mean_of(rows, name, score) for name in (better, worse)],
                 lambda a, b: f"{a:.3g} against {b:.3g}, {a / b:.2g} times", lambda a, b: a >= FAR * b)


def _diverged(rows: dict[str, Any], name: str, text: str) -> Claim | None:
    """That a training met NaN or infinity, which settles every claim that it goes worse."""
    row = rows.get(name)
    return Claim(text, f"{row['diverged']} diverged", True) if row and row["diverged"] else None
