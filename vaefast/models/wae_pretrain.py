"""What a WAE's encoder is given before training: codes of about the prior's mean and covariance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from vaefast.errors import ArgumentError, DivergenceError
from vaefast.models.condition import is_conditional
from vaefast.models.wae import WAE


def moment_distance(codes: Tensor, prior: Tensor) -> Tensor:
    """Mean squared difference of the means plus that of the covariances of two samples [n, k], n of 2 or more; a scalar."""
    means = (codes.mean(0) - prior.mean(0)).square().mean()
    return means + (torch.cov(codes.T) - torch.cov(prior.T)).square().mean()


def pretrain_encoder(model: WAE, batches: Iterable[Any], *, steps: int = 200, lr: float = 1e-3,
                     betas: tuple[float, float] = (0.5, 0.999), stop_below: float = 0.1,
                     generator: torch.Generator | None = None) -> list[float]:
    """Move the encoder, by Adam steps, until the moments of its codes are close to those of draws from the prior.

    Args:
        model: the WAE; its decoder stays as it is.
        batches: image batches [B, *data_shape], uint8 or in [0, 1], or sequences whose first element is one and whose second,
            of a model that is conditioned, what its images are conditioned on; the authors take batches of 256. Pretraining ends
            with them, if they are fewer than `steps`.
        steps: at most so many.
        lr, betas: of Adam.
        stop_below: ends as soon as the distance is smaller. The authors' 0.1 is little: codes that are all 0 are at 1 / k, so
            with more than 10 dimensions it may end at the first step, as theirs does.
        generator: draws from the prior and, if the posterior is Gaussian, the codes.

    Returns:
        The distance (`moment_distance`) at each step.

    Raises:
        ArgumentError: there is no batch, or one of a single image.
        DivergenceError: a distance that is not finite.

    Source: Tolstikhin et al.'s code, `pretrain_encoder`.
    """
    optimizer = torch.optim.Adam(model.encoder.parameters(), lr=lr, betas=betas)
    modes, device = {m: m.training for m in model.encoder.modules()}, model.lambda_.device
    model.encoder.train()
    distances: list[float] = []
    try:
        for step, batch in zip(range(steps), batches):
            x, *given = (t.to(device) for t in ((batch,) if isinstance(batch, Tensor) else batch[:1 + is_conditional(model)]))
            if len(x) < 2:
                raise ArgumentError("a batch for pretraining has 1 image; a covariance needs 2 or more (256 are usual).")
            distance = moment_distance(model.encode(x, *given).sample(generator), model.prior(len(x), generator))
            distances.append(distance.item())
            if not math.isfinite(distances[-1]):
                raise DivergenceError(f"pretraining the encoder met a distance of {distances[-1]} at step {step}; lower lr.")
            if distances[-1] < stop_below:
                break
            optimizer.zero_grad()
            distance.backward()
            optimizer.step()
    finally:
        for module, training in modes.items():
            module.training = training
        optimizer.zero_grad()
    if not distances:
        raise ArgumentError("batches is empty; expected image batches (256 images each are usual).")
    return distances
