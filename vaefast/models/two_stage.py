"""The two-stage VAE of Dai & Wipf: a VAE on images, and a small VAE on samples of its aggregate posterior."""

from __future__ import annotations

import torch
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.models.autoencoder import Autoencoder
from vaefast.models.second_stage import draw_codes, recode
from vaefast.models.vae import VAE


class TwoStageVAE(Autoencoder):
    """Stage 1 models images, stage 2 models stage 1's codes z ~ q(z|x); both are plain `VAE` modules.

    Args:
        first: VAE on images [C, H, W].
        second: VAE on codes [k], where k is `first.latent_dim`.

    Everything but training (encode, decode, reconstruct, sample) runs in eval mode, whatever mode the modules are in:
    samples that depend on their batch's statistics are not samples of the model.

    Source: Dai & Wipf 2019, section 4; sampling as in their code (`generate`).
    """

    def __init__(self, first: VAE, second: VAE) -> None:
        super().__init__()
        if second.data_shape != (first.latent_dim,):
            raise ArgumentError(f"the second stage models examples of shape {second.data_shape}; the first stage's "
                                f"codes have shape {(first.latent_dim,)}.")
        self.first, self.second = first, second

    def sample_codes(self, n: int, *, stage: int = 2, generator: torch.Generator | None = None) -> Tensor:
        """n codes z, [n, k]: from N(0, I) for stage 1; for stage 2 z = z_hat(u) + gamma_z eps with u ~ N(0, I)."""
        if stage not in (1, 2):
            raise ArgumentError(f"stage is {stage!r}; expected 1 (the prior) or 2 (the second stage).")
        if stage == 1:
            return self.first.prior(n, generator)
        return draw_codes(self.second, n, generator)

    def recode(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Codes z [B, k] passed through stage 2: u ~ q(u|z), z = z_hat(u) + gamma_z eps."""
        return recode(self.second, z, generator)

    def sample(self, n: int, *, stage: int = 2, generator: torch.Generator | None = None) -> Tensor:
        """n images, [n, C, H, W] in [0, 1]. Codes get the second stage's noise, images never any."""
        return self.decode(self.sample_codes(n, stage=stage, generator=generator))
