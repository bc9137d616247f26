"""The second stage's encoder and decoder: dense networks on latent codes, with skip concatenations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.nets.layers import init_glorot

WIDTH, DEPTH = 1024, 3
"""Hidden layers of Dai & Wipf's."""


class _DenseTrunk(nn.Module):
    def __init__(self, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [inputs] + [width] * depth
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs] -> [B, inputs + width]: the input beside the last hidden layer."""
        h = x
        for layer in self.layers:
            h = F.relu(layer(h))
        return torch.cat([x.to(h.dtype), h], dim=1)


class SecondStageEncoder(nn.Module):
    """Code z [B, k] -> (mu, log std) of u, [B, latent_dim] each; mu alone if `deterministic`. 2,305,152 parameters at k =
    latent_dim = 64.

    Source: Dai & Wipf's code, `build_encoder2`: depth times FC(width) + ReLU, then the heads read [z, t].
    """

    scale_param = "logstd"

    def __init__(self, code_dim: int, latent_dim: int, width: int = WIDTH, depth: int = DEPTH, *,
                 deterministic: bool = False) -> None:
        super().__init__()
        self.trunk = _DenseTrunk(code_dim, width, depth)
        self.mean = nn.Linear(code_dim + width, latent_dim)
        self.logstd = None if deterministic else nn.Linear(code_dim + width, latent_dim)
        self.apply(init_glorot)

    def forward(self, z: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        h = self.trunk(z)
        return self.mean(h) if self.logstd is None else (self.mean(h), self.logstd(h))


class SecondStageDecoder(nn.Module):
    """Latent u [B, latent_dim] -> mean of z [B, k], linear. 2,235,456 parameters at k = latent_dim = 64.

    Source: Dai & Wipf's code, `build_decoder2`.
    """

    output = "linear"

    def __init__(self, code_dim: int, latent_dim: int, width: int = WIDTH, depth: int = DEPTH) -> None:
        super().__init__()
        self.trunk = _DenseTrunk(latent_dim, width, depth)
        self.mean = nn.Linear(latent_dim + width, code_dim)
        self.apply(init_glorot)

    def forward(self, u: Tensor) -> Tensor:
        return self.mean(self.trunk(u))
