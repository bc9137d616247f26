"""The two-stage VAE of Dai & Wipf: a VAE on images, and a small VAE (or a flow, or a mixture) on samples of its aggregate
posterior."""

from __future__ import annotations

import torch
from torch import Tensor

from vaefast.errors import ArgumentError
from vaefast.models.autoencoder import Autoencoder
from vaefast.models.condition import is_conditional
from vaefast.models.diagnostics import collapse_terms
from vaefast.models.doors import takes_images
from vaefast.models.posterior import DiagonalGaussian
from vaefast.models.second_stage import SecondStage, TwoStages
from vaefast.models.vae import VAE


class TwoStageVAE(TwoStages, Autoencoder):
    """Stage 1 models images, stage 2 models stage 1's codes z ~ q(z|x).

    Args:
        first: VAE on images [C, H, W].
        second: VAE, `FlowMatching` or `Mixture` on codes [k], where k is `first.latent_dim`. Of the same classes or
            vectors, if `first` is conditioned on some.
        joint: the two are trained together, by one `loss`, which the model returns when it is called with a batch. For a second
            stage that is a VAE, and a first one without a condition, a flow, an adversary or a perceptual term.

    Everything but training (encode, decode, reconstruct, sample) runs in eval mode, whatever mode the modules are in:
    samples that depend on their batch's statistics are not samples of the model.

    Raises:
        ArgumentError: stages that do not go together, or cannot be trained together.

    Source: Dai & Wipf 2019, section 4; sampling as in their code (`generate`).
    """

    def __init__(self, first: VAE, second: SecondStage, *, joint: bool = False) -> None:
        super().__init__()
        if second.data_shape != (first.latent_dim,):
            raise ArgumentError(f"the second stage models examples of shape {second.data_shape}; the first stage's "
                                f"codes have shape {(first.latent_dim,)}.")
        same = all(getattr(second, name, 0) == getattr(first, name) for name in ("classes", "condition_dim"))
        if is_conditional(first) and not same:
            raise ArgumentError("the first stage is conditioned, and the second not on the same classes or vectors; give both "
                                "the same.")
        if joint:
            _refuse_joint(first, second)
        self.first, self.second, self.joint = first, second, joint

    @takes_images
    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the negative ELBO of the chain u -> z -> x for a batch [B, *data_shape] (images uint8 or in [0, 1]), in nats
        per example (batch means), with one draw z of q(z|x) that both stages get their gradients through:

            -log p(x|z) + log q(z|x) - log p(z|u) + KL(q(u|z) || N(0, I))

        log q(z|x) is in closed form, minus the posterior's entropy.

        Returns scalars: those of the first stage's loss, of which `kl` is all but the reconstruction, the second stage's bound
        on KL(q(z|x) || p(z)) in the place of the KL to N(0, I); and, detached, `kl_u`, the last term, and `gamma_z`, the second
        stage's gamma.

        Raises:
            ArgumentError: the stages are not trained together, and each has a loss of its own.

        Source: Dai & Wipf 2019, the end of section 4, which reports that it does no better than the first stage alone; the
        objective is the VAE's of these variables.
        """
        if not self.joint:
            return super().forward(x)
        posterior = self.first.encode(x)
        assert isinstance(self.second, VAE) and isinstance(posterior, DiagonalGaussian)
        z = posterior.sample(generator)
        codes = self.second.loss(z, generator=generator)
        terms = self.first.terms(x, z, codes["loss"] - posterior.entropy())
        return terms | collapse_terms(posterior, self.first.sync) | {"kl_u": codes["kl"].detach(), "gamma_z": self.second.gamma}

    forward = loss


def _refuse_joint(first: VAE, second: SecondStage) -> None:
    """Raise for stages that `TwoStageVAE.loss` is not of."""
    if not isinstance(second, VAE):
        raise ArgumentError(f"joint trains both stages by one ELBO, which a second stage of kind {type(second).__name__} has no "
                            "part in; choose second='vae', or leave joint out.")
    has = {"classes or vectors": is_conditional(first), "a flow": first.flow, "an adversary": first.adversary,
           "a perceptual term": first.perceptual}
    for what in (what for what, there in has.items() if there):
        raise ArgumentError(f"joint trains both stages by one ELBO, and the first stage has {what}; leave that out, or joint.")
