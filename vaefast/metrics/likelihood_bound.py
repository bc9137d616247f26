"""Importance-weighted lower bound of the log-likelihood (Burda, Grosse, Salakhutdinov 2016, eq. 8)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ArgumentError

DENSITIES = ("gaussian", "laplace")
"""Likelihoods that are densities of values in [0, 1], and not probabilities of their levels."""


def bits_per_dimension(log_likelihood: float, dimensions: int, likelihood: str) -> float:
    """-log p(x) in bits a value, of examples whose values have 256 levels: of a density on [0, 1] 8 bits more, the width of a
    level.

    Args:
        log_likelihood: nats an example.
        dimensions: values an example.
        likelihood: name of p(x|z).
    """
    return (8.0 if likelihood in DENSITIES else 0.0) - log_likelihood / (dimensions * math.log(2))


class LikelihoodBound(NamedTuple):
    """Nats an image. `elbo` is the bound of one sample, from the same draws; both are below log p(x) on average."""

    value: float
    standard_error: float  # over images
    elbo: float
    n: int  # images
    samples: int  # of z, for each image


@torch.no_grad()
def importance_weighted_bound(
    images: Tensor, encode: Callable[[Tensor], tuple[Tensor, Tensor]], log_likelihood: Callable[[Tensor, Tensor], Tensor], *,
    samples: int = 64, batch_size: int = 100, seed: int = 0,
) -> LikelihoodBound:  # fmt: skip
    """mean over images of log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x), z_k ~ q(z | x), with prior N(0, I).

    It rises with K towards log p(x). One sample of every image of a batch is decoded at a time, so memory does not depend
    on K; weights are summed as logarithms, in float64.

    Args:
        images: [N, ...], handed to `encode` and `log_likelihood` in batches as they are.
        encode: x [B, ...] -> mean and standard deviation of q(z | x), each [B, k].
        log_likelihood: (x [B, ...], z [B, k]) -> log p(x | z) [B] in nats, summed over pixels, its constants included.
        samples: K >= 1.
        batch_size: images at a time.
        seed: of the samples.

    Raises:
        ArgumentError: no images, samples or batch_size < 1, or callables that return other shapes.
    """
    for name, value in (("samples", samples), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(f"{name} is {value!r}; expected an int >= 1.")
    if len(images) == 0:
        raise ArgumentError("There are no images to bound the likelihood of.")
    rng = torch.Generator().manual_seed(seed)
    bounds, elbos = [], []
    for x in images.split(batch_size):
        mean, std = encode(x)
        if mean.shape != std.shape or mean.ndim != 2 or len(mean) != len(x):
            raise ArgumentError(f"encode gave {tuple(mean.shape)} and {tuple(std.shape)} for {len(x)} images; expected two "
                                f"tensors [{len(x)}, k].")
        total = mean.new_full((len(x),), -torch.inf, dtype=torch.float64)
        first = torch.zeros_like(total)
        for _ in range(samples):
            noise = torch.randn(mean.shape, generator=rng, dtype=torch.float64).to(mean)
            z = mean + std * noise
            log_px = log_likelihood(x, z)
            if log_px.shape != (len(x),):
                raise ArgumentError(f"log_likelihood gave {tuple(log_px.shape)} for {len(x)} images; expected [{len(x)}].")
            log_ratio = 0.5 * (noise.double().square() - z.double().square() + 2 * std.double().log()).sum(1)
            weight = log_px.double() + log_ratio
            total = torch.logaddexp(total, weight)
            first += weight
        bounds.append(total - math.log(samples))
        elbos.append(first / samples)
    values = torch.cat(bounds)
    error = float(values.std() / len(values) ** 0.5) if len(values) > 1 else math.nan
    return LikelihoodBound(float(values.mean()), error, float(torch.cat(elbos).mean()), len(values), samples)
