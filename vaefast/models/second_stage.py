"""How codes are drawn from a second stage: a `VAE` whose examples are another model's codes z, and whose latents are u.

Codes get the noise of the second stage's decoder, unlike images. Everything runs in eval mode.

Source: Dai & Wipf 2019, section 4, and their code (`generate`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from vaefast.models.mode import evaluating
from vaefast.models.vae import VAE


def draw_codes(second: VAE, n: int, generator: torch.Generator | None = None) -> Tensor:
    """n codes z = z_hat(u) + gamma_z eps with u ~ N(0, I), [n, k]."""
    return _decode(second, second.prior(n, generator), generator)


def recode(second: VAE, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Codes z [B, k] passed through the second stage: u ~ q(u|z), z = z_hat(u) + gamma_z eps."""
    with evaluating(second):
        u = second.encode(z).sample(generator)
    return _decode(second, u, generator)


def _decode(second: VAE, u: Tensor, generator: torch.Generator | None) -> Tensor:
    with evaluating(second):
        z = second.decode(u)
    eps = torch.randn(z.shape, generator=generator, device=z.device, dtype=z.dtype)
    return z + second.gamma * eps
