"""Whether a posterior has collapsed: a few numbers of a batch that are cheap enough for every step."""

from __future__ import annotations

import torch
from torch import Tensor

from vaefast.models.posterior import DiagonalGaussian, FlowPosterior
from vaefast.nets.global_batch import global_mean

ACTIVE_VARIANCE = 0.5
"""Mean posterior variance below which a dimension counts as active."""
KL_FLOOR = 0.01
"""Nats of mean KL above which a dimension counts as used (as Burda et al. 2016 count active units, by another measure)."""


@torch.no_grad()
def collapse_terms(posterior: DiagonalGaussian | FlowPosterior, sync: bool = False) -> dict[str, Tensor]:
    """Scalars that tell of collapse, of the diagonal Gaussians of a batch (those before the flow, where there is one).

    Args:
        posterior: q(z|x) of a batch, [B, k].
        sync: over the batch of all processes that train together.

    Returns:
        `active_dimensions`: dimensions whose mean variance is below 0.5; `kl_dimensions`: those whose mean KL to N(0, 1) is
        above 0.01 nats; `kl_largest`: the largest of these KLs, in nats; `posterior_variance`: mean over batch and dimensions.
    """
    base = posterior.base if isinstance(posterior, FlowPosterior) else posterior
    means = torch.stack([base.std.square().mean(0), base.kl().mean(0)])
    variance, kl = global_mean(means) if sync else means
    # as floats, like all terms: loggers average them
    return {"active_dimensions": (variance < ACTIVE_VARIANCE).float().sum(), "kl_dimensions": (kl > KL_FLOOR).float().sum(),
            "kl_largest": kl.amax(), "posterior_variance": variance.mean()}
