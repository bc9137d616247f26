"""What the paper prints: Dai & Wipf, "Diagnosing and Enhancing VAE Models", ICLR 2019.

FID in the features of the 2015 Inception network, 10,000 samples against 10,000 test images; mean and deviation of 10 trials.
"""

from __future__ import annotations

Mean = tuple[float, float | None]
"""A mean and, where it is printed, the deviation."""

TITLES = {
    "mm-gan": "MM GAN", "ns-gan": "NS GAN", "lsgan": "LSGAN", "wgan": "WGAN", "wgan-gp": "WGAN GP", "dragan": "DRAGAN",
    "began": "BEGAN", "best-gan": "Best GAN, its authors' settings",
    "vae-bernoulli": "VAE, cross-entropy", "vae-fixed": "VAE, fixed gamma", "vae-learned": "VAE, learned gamma",
    "vae-flow": "VAE + flow", "wae-mmd": "WAE-MMD", "wae-gan": "WAE-GAN", "two-stage": "2-Stage VAE", "vae": "VAE",
    "vae-stacked": "Larger VAE, both stages' networks", "joint": "Both stages trained together",
}

DATA = ("mnist", "fashion-mnist", "cifar10", "celeba")
"""The columns of table 1."""

_ROWS1: dict[str, tuple[Mean, Mean, Mean, Mean]] = {
    "mm-gan": ((9.8, 0.9), (29.6, 1.6), (72.7, 3.6), (65.6, 4.2)),
    "ns-gan": ((6.8, 0.5), (26.5, 1.6), (58.5, 1.9), (55.0, 3.3)),
    "lsgan": ((7.8, 0.6), (30.7, 2.2), (87.1, 47.5), (53.9, 2.8)),
    "wgan": ((6.7, 0.4), (21.5, 1.6), (55.2, 2.3), (41.3, 2.0)),
    "wgan-gp": ((20.3, 5.0), (24.5, 2.1), (55.8, 0.9), (30.3, 1.0)),
    "dragan": ((7.6, 0.4), (27.7, 1.2), (69.8, 2.0), (42.3, 3.0)),
    "began": ((13.1, 1.0), (22.9, 0.9), (71.4, 1.6), (38.9, 0.9)),
    "best-gan": ((10, None), (32, None), (70, None), (49, None)),
    "vae-bernoulli": ((16.6, 0.4), (43.6, 0.7), (106.0, 1.0), (53.3, 0.6)),
    "vae-fixed": ((52.0, 0.6), (84.6, 0.9), (160.5, 1.1), (55.9, 0.6)),
    "vae-learned": ((54.5, 1.0), (60.0, 1.1), (76.7, 0.8), (60.5, 0.6)),
    "vae-flow": ((54.8, 2.8), (62.1, 1.6), (81.2, 2.0), (65.7, 2.8)),
    "wae-mmd": ((115.0, 1.1), (101.7, 0.8), (80.9, 0.4), (62.9, 0.8)),
    "two-stage": ((12.6, 1.5), (29.3, 1.0), (72.9, 0.9), (44.4, 0.7)),
}

TABLE1: dict[str, dict[str, Mean]] = {row: dict(zip(DATA, values)) for row, values in _ROWS1.items()}
"""FID by row and data set. The GAN rows are the best of a search for each data set (Lucic et al. 2018), but for "best-gan",
which was read off a figure; the rows below them have one setting for all."""

TABLE2: dict[str, dict[str, Mean]] = {
    row: {"celeba": (value, None)} for row, value in (("vae", 63.0), ("wae-mmd", 55.0), ("wae-gan", 42.0), ("two-stage", 34.0))}
"""FID on CelebA with the networks of the WAE paper."""
