"""What the authors' logs of the PixelCNN experiment (figure 5) hold: Zhao, Song & Ermon 2017, their published code."""

from __future__ import annotations

from typing import NamedTuple

EPOCH_BATCHES = 30
"""An epoch of the logs is so many batches of 100."""


class Logged(NamedTuple):
    """After so many batches: mutual information of images and codes in nats, estimated from 20,000 images, and the loss in nats
    per pixel."""

    batches: int
    information: float
    loss: float


def _log(*lines: tuple[int, float, float]) -> tuple[Logged, ...]:
    return tuple(Logged(EPOCH_BATCHES * (epoch + 1), *values) for epoch, *values in lines)


LOGS = {
    "none": _log((0, 0.015, 0.758), (9, 2.283, 0.156), (19, 9.488, 0.130), (49, 9.9035, 0.1110), (99, 9.9035, 0.1003),
                 (189, 9.9035, 0.0928)),
    "elbo": _log((0, 0.013, 0.781), (49, 0.00002, 0.1286), (99, -0.00002, 0.1214), (189, 0.000004, 0.1160)),
    "center": _log((148, 0.00001, 0.117)),
}
"""By regulariser."""
