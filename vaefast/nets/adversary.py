"""The adversary of WAE-GAN, which tells codes from draws of the prior."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.nets.layers import init_normal


class LatentAdversary(nn.Module):
    """Code [B, latent_dim] -> logit [B, 1]: `depth` times FC(width) + ReLU, FC(1). 3,216,385 parameters at latent_dim 64.

    Source: Tolstikhin et al.'s code, `z_adversary`; normal initial weights of standard deviation 0.0099999.
    """

    def __init__(self, latent_dim: int, width: int = 1024, depth: int = 4) -> None:
        super().__init__()
        sizes = [latent_dim] + [width] * depth
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.head = nn.Linear(width, 1)
        self.apply(partial(init_normal, std=0.0099999))

    def forward(self, z: Tensor) -> Tensor:
        for layer in self.layers:
            z = F.relu(layer(z))
        return self.head(z)
