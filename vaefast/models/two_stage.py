"""The two-stage VAE of Dai & Wipf: a VAE on images, and a small VAE (or a flow, or a mixture) on samples of its aggregate
posterior."""

from __future__ import annotations

from vaefast.errors import ArgumentError
from vaefast.models.autoencoder import Autoencoder
from vaefast.models.condition import is_conditional
from vaefast.models.second_stage import SecondStage, TwoStages
from vaefast.models.vae import VAE


class TwoStageVAE(TwoStages, Autoencoder):
    """Stage 1 models images, stage 2 models stage 1's codes z ~ q(z|x).

    Args:
        first: VAE on images [C, H, W].
        second: VAE, `FlowMatching` or `Mixture` on codes [k], where k is `first.latent_dim`. Of the same classes or
            vectors, if `first` is conditioned on some.

    Everything but training (encode, decode, reconstruct, sample) runs in eval mode, whatever mode the modules are in:
    samples that depend on their batch's statistics are not samples of the model.

    Source: Dai & Wipf 2019, section 4; sampling as in their code (`generate`).
    """

    def __init__(self, first: VAE, second: SecondStage) -> None:
        super().__init__()
        if second.data_shape != (first.latent_dim,):
            raise ArgumentError(f"the second stage models examples of shape {second.data_shape}; the first stage's "
                                f"codes have shape {(first.latent_dim,)}.")
        same = all(getattr(second, name, 0) == getattr(first, name) for name in ("classes", "condition_dim"))
        if is_conditional(first) and not same:
            raise ArgumentError("the first stage is conditioned, and the second not on the same classes or vectors; give both "
                                "the same.")
        self.first, self.second = first, second
