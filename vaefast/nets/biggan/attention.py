"""Self-attention over the positions of a map, as SAGAN and BigGAN have it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.nets.biggan.parts import Parts


class SelfAttention(nn.Module):
    """x [B, C, H, W] -> x + gamma attention(x), the same shape; gamma is learned and starts at 0. C is a multiple of 8.

    Queries of C/8 dimensions at every position, keys and values (C/2) at a quarter of them: the largest of each 2x2.
    Source: Zhang et al. 2019, "Self-Attention Generative Adversarial Networks", as in Brock et al.'s code.
    """

    def __init__(self, features: int, parts: Parts) -> None:
        super().__init__()
        self.query = parts.conv(features, features // 8, 1, bias=False)
        self.key = parts.conv(features, features // 8, 1, bias=False)
        self.value = parts.conv(features, features // 2, 1, bias=False)
        self.out = parts.conv(features // 2, features, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x)
        key, value = F.max_pool2d(self.key(x), 2), F.max_pool2d(self.value(x), 2)
        # one head; dot products are not scaled
        query, key, value = (t.flatten(2).transpose(1, 2)[:, None] for t in (query, key, value))
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        attended = attended[:, 0].transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.gamma * self.out(attended)
