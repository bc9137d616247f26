"""Trains small GANs into OUT/LOSS, of classes if LOSS ends in +labels.

Started alone or by torchrun: gan_in_processes.py OUT BATCH_SIZE LOSS[,LOSS].
"""

from __future__ import annotations

import sys

import torch

import vaefast
from vaefast.data import ImageSet
from vaefast.training import StageSettings
from vaefast.training.distributed import leave


def main(out: str, batch_size: int, losses: list[str]) -> None:
    torch.set_num_threads(1)
    images = torch.randint(0, 256, (64, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))
    data = ImageSet(images, torch.arange(64) % 3)
    for loss in losses:
        torch.manual_seed(0)
        name, _, labels = loss.partition("+")
        of_began = {"began_lambda": 0.1} if name == "began" else {}
        model = vaefast.GAN((1, 4, 4), name, 4, disc_iters=2, classes=3 if labels else None, **of_began)
        settings = StageSettings(steps=6, batch_size=batch_size, optimizer="sgd", betas=(0.0, 0.9), lr=0.02, schedule="constant")
        model.fit(data, settings=settings, out=f"{out}/{loss}", device="cpu", precision="fp32", sync=True, log_every=2,
                  progress=False)
    leave()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3].split(","))
