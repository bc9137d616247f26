"""Dense residual networks for the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.nets.shapes import whole_number


class DenseBlock(nn.Module):
    """h + W2 dropout(silu(W1 norm(h))), the identity at first."""

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm, self.inner, self.outer = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = dropout
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, h: Tensor) -> Tensor:
        inner = F.silu(self.inner(self.norm(h)))
        return h + self.outer(F.dropout(inner, self.dropout, self.training) if self.dropout else inner)


def _trunk(inputs: int, width: int, depth: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), *(DenseBlock(width, dropout) for _ in range(depth)), nn.LayerNorm(width),
                         nn.SiLU())


class TableEncoder(nn.Module):
    """Rows x [B, C] and which entries are there [B, C] -> (mu, log std) of z, [B, latent_dim] each.

    Numbers and booleans enter as they are, counts by log(1 + x), words one by one (one-hot); an entry that is missing as 0, and
    what is there as a further input.

    Args:
        kinds: of the C columns: "number", "count", "boolean" or "category".
        words: of the C columns, how many they have; 0 of all but categories.
        latent_dim, width, depth: dimensions of z, of the hidden layers, and residual blocks.
        dropout: share of a block's hidden units that is left out in training.
    """

    scale_param = "logstd"
    plain: Tensor
    counts: Tensor
    named: Tensor
    offsets: Tensor

    def __init__(self, kinds: Sequence[str], words: Sequence[int], latent_dim: int, width: int = 128, depth: int = 2,
                 dropout: float = 0.0) -> None:
        super().__init__()
        width, depth = whole_number("width", width), whole_number("depth", depth)
        plain = [i for i, kind in enumerate(kinds) if kind != "category"]
        named = [i for i, kind in enumerate(kinds) if kind == "category"]
        sizes = torch.tensor([words[i] for i in named], dtype=torch.long)
        self.register_buffer("plain", torch.tensor(plain, dtype=torch.long), persistent=False)
        self.register_buffer("counts", torch.tensor([kinds[i] == "count" for i in plain], dtype=torch.bool), persistent=False)
        self.register_buffer("named", torch.tensor(named, dtype=torch.long), persistent=False)
        self.register_buffer("offsets", sizes.cumsum(0) - sizes, persistent=False)
        self.sizes = int(sizes.sum())
        self.trunk = _trunk(len(plain) + self.sizes + len(kinds), width, depth, dropout)
        self.head = nn.Linear(width, 2 * whole_number("latent_dim", latent_dim))
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def features(self, x: Tensor, there: Tensor) -> Tensor:
        """What the first layer reads, [B, ...]."""
        numbers = torch.where(there, x, 0).index_select(1, self.plain)
        parts = [torch.where(self.counts, numbers.clamp_min(0).log1p(), numbers), there.to(x.dtype)]
        if self.sizes:
            hot = there.index_select(1, self.named).to(x.dtype)
            index = torch.where(there, x, 0).index_select(1, self.named).long() + self.offsets
            parts.append(x.new_zeros(len(x), self.sizes).scatter(1, index, hot))
        return torch.cat(parts, 1)

    def forward(self, x: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.head(self.trunk(self.features(x, there))).chunk(2, 1)
        return mean, log_std


class TableDecoder(nn.Module):
    """Codes z [B, latent_dim] -> [B, outputs], the parameters of all columns by one head.

    Args:
        start: bias of the head, [outputs], with which training begins; 0 if None.
        others: see `TableEncoder`.
    """

    output = "linear"

    def __init__(self, latent_dim: int, outputs: int, width: int = 128, depth: int = 2, dropout: float = 0.0,
                 start: Tensor | None = None) -> None:
        super().__init__()
        width, depth = whole_number("width", width), whole_number("depth", depth)
        self.trunk = _trunk(whole_number("latent_dim", latent_dim), width, depth, dropout)
        self.head = nn.Linear(width, outputs)
        nn.init.normal_(self.head.weight, std=0.01)
        with torch.no_grad():
            self.head.bias.copy_(torch.zeros(outputs) if start is None else start)

    def forward(self, z: Tensor) -> Tensor:
        return self.head(self.trunk(z))
