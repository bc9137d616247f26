"""A residual encoder and decoder for vectors: dense layers, which know no neighbours."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.nets.shapes import checked_data_shape, whole_number

WIDTH = 256


class DenseBlock(nn.Module):
    """[B, width] -> the same: x + W relu(V relu(x)), the identity at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(F.relu(self.inner(F.relu(x))))


def _trunk(inputs: int, width: int, depth: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), *(DenseBlock(width) for _ in range(depth)), nn.ReLU())


class ResidualVectorEncoder(nn.Module):
    """Vector [B, D] -> (mu, log std), [B, latent_dim] each; mu alone if `deterministic`.

    Args:
        data_shape: (D,).
        latent_dim: k.
        deterministic: one head, mu, and that alone is returned.
        width: of the hidden layers.
        depth: residual blocks, of two layers each.

    Blocks are pre-activation (He et al. 2016) and begin as the identity.

    Raises:
        ArgumentError: a shape or setting that cannot work.
    """

    scale_param = "logstd"

    def __init__(self, data_shape: tuple[int, ...], latent_dim: int, *, deterministic: bool = False, width: int = WIDTH,
                 depth: int = 2) -> None:
        super().__init__()
        (dims,), k = checked_data_shape(data_shape, sizes=1), whole_number("latent_dim", latent_dim)
        width = whole_number("width", width)
        self.trunk = _trunk(dims, width, whole_number("depth", depth))
        self.mean = nn.Linear(width, k)
        self.deterministic = deterministic
        if not deterministic:
            self.logstd = nn.Linear(width, k)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        h = self.trunk(x)
        mean: Tensor = self.mean(h)
        return mean if self.deterministic else (mean, self.logstd(h))


class ResidualVectorDecoder(nn.Module):
    """Code [B, latent_dim] -> vector [B, D], linear. The encoder's way back.

    Args:
        data_shape, latent_dim, width, depth: as in `ResidualVectorEncoder`.
    """

    output = "linear"

    def __init__(self, data_shape: tuple[int, ...], latent_dim: int, *, width: int = WIDTH, depth: int = 2) -> None:
        super().__init__()
        (dims,), k = checked_data_shape(data_shape, sizes=1), whole_number("latent_dim", latent_dim)
        width = whole_number("width", width)
        self.trunk = _trunk(k, width, whole_number("depth", depth))
        self.out = nn.Linear(width, dims)

    def forward(self, z: Tensor) -> Tensor:
        return self.out(self.trunk(z))
