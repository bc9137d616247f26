"""What the paper prints: Hinrichsen, "Variational Autoencoders aren't Very Varied (As Generators)", 2023, its result table."""

from __future__ import annotations

from dataclasses import dataclass

DATA = {"cifar10": "cifar10", "lfw": "lfw45"}
"""The data sets by the name a user gives, and by that of `vaefast.data`."""

TITLES = {"gan-normal": "BigGAN", "gan-deep": "BigGAN-deep", "vae-normal": "VAE, BigGAN's parts",
          "vae-deep": "VAE, BigGAN-deep's parts"}


@dataclass(frozen=True)
class Printed:
    """One row: Inception score of 512 samples in torchvision's network, FID (samples not stated), and how it was trained."""

    inception_score: float
    fid: float
    batch: int
    ch: int
    epochs: int


TABLE: dict[str, dict[str, Printed]] = {
    "cifar10": {"gan-normal": Printed(5.9, 25, 512, 96, 314), "gan-deep": Printed(6.2, 22, 256, 128, 345),
                "vae-normal": Printed(1.6, 39, 512, 96, 110), "vae-deep": Printed(1.6, 40, 256, 128, 185)},
    "lfw": {"gan-normal": Printed(2.7, 29, 512, 96, 185), "gan-deep": Printed(2.9, 27, 256, 128, 210),
            "vae-normal": Printed(1.3, 19, 512, 96, 170), "vae-deep": Printed(1.3, 15, 256, 128, 172)},
}
"""By data set and row."""
