"""Where a stage's batches come from: everything resident on the device, gathered there by index."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from vaefast.models.mode import evaluating
from vaefast.models.posterior import DiagonalGaussian
from vaefast.models.vae import VAE


class Source(Protocol):
    """A data set that gives a float batch for a tensor of indices."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor) -> Tensor: ...


class ImageSource:
    """Images [N, C, H, W], uint8 (scaled to [0, 1] on the device, no dequantisation noise) or float in [0, 1]."""

    def __init__(self, images: Tensor, device: torch.device) -> None:
        self.images = images.to(device)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor) -> Tensor:
        x = self.images.index_select(0, index)
        return x.float().div_(255) if x.dtype == torch.uint8 else x


class PosteriorSource:
    """Fresh draws z = mu + s eps of a data set's posteriors; mu and raw scale are [N, k], computed once.

    Training the second stage on means, or on one frozen draw, leaves it as degenerate as the first.
    """

    def __init__(self, posterior: DiagonalGaussian) -> None:
        self.posterior = posterior

    @classmethod
    def of(cls, model: VAE, source: Source, device: torch.device, batch_size: int = 1000) -> PosteriorSource:
        """Posteriors of every example of `source` under `model` in eval mode, in float32."""
        parts = []
        with evaluating(model), torch.no_grad():
            for index in torch.arange(len(source), device=device).split(batch_size):
                parts.append(model.encode(source.batch(index)))
        return cls(DiagonalGaussian(torch.cat([p.mean for p in parts]), torch.cat([p.raw for p in parts]),
                                    parts[0].param))

    def __len__(self) -> int:
        return len(self.posterior.mean)

    def batch(self, index: Tensor) -> Tensor:
        p = self.posterior
        return DiagonalGaussian(p.mean.index_select(0, index), p.raw.index_select(0, index), p.param).sample()


def count_parameters(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
