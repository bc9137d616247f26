"""Samplers of latents: what a decoder is fed with when new examples are drawn.

Each has `fit(latents)`, for latents [N, k] or (mu, std), and `sample(n, generator)`, which gives [n, k]:

- `Prior`: N(0, std^2 I), which fits nothing; an ordinary VAE's samples.
- `Mixture`: a Gaussian mixture fitted to the aggregate posterior q(z).
- `vaefast.SecondStage`: a second VAE, trained on the aggregate posterior.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError, DataError
from vaefast.models.latents import as_latents
from vaefast.nets.shapes import whole_number


class Sampler(Protocol):
    """Learns from latents, and draws new ones."""

    def fit(self, latents: Any) -> Any: ...

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor: ...


class Prior(nn.Module):
    """N(0, std^2 I) in k dimensions.

    Args:
        latent_dim: k.
        std: standard deviation.

    Raises:
        ArgumentError: a number that is not above 0.
    """

    std: Tensor

    def __init__(self, latent_dim: int, std: float = 1.0) -> None:
        super().__init__()
        if not 0 < std < math.inf:
            raise ArgumentError(f"std is {std!r}; expected a number above 0.")
        self.latent_dim = whole_number("latent_dim", latent_dim)
        self.register_buffer("std", torch.tensor(float(std)))

    def fit(self, latents: Any) -> Prior:
        """Checks the latents; the prior is what it is."""
        as_latents(latents, self.latent_dim)
        return self

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws, [n, k]."""
        return self.std * torch.randn(n, self.latent_dim, generator=generator, device=self.std.device, dtype=self.std.dtype)


class Mixture(nn.Module):
    """A mixture of Gaussians with full covariances, fitted by expectation maximisation from k-means++.

    Args:
        latent_dim: k.
        components: Gaussians; fewer are used where there are fewer distinct latents.
        iterations: at most so many steps of expectation maximisation.
        tolerance: stop when the mean log-likelihood of a latent rises by less, in nats.
        floor: added to every variance, so that no Gaussian shrinks to a point.
        seed: of the start, and of the draws where the latents are given as (mu, std).

    After `fit`: `weights` [K], `means` [K, k] and `cholesky` [K, k, k] (lower triangles L of covariances L L^T), float64,
    and `log_likelihood`, the mean of a latent's in nats before the last step.

    Source of its use: Ghosh et al. 2020, "From Variational to Deterministic Autoencoders", section 4 (10 components).
    """

    weights: Tensor
    means: Tensor
    cholesky: Tensor

    def __init__(self, latent_dim: int, components: int = 10, *, iterations: int = 100, tolerance: float = 1e-3,
                 floor: float = 1e-6, seed: int = 0) -> None:
        super().__init__()
        for name, value in (("latent_dim", latent_dim), ("components", components), ("iterations", iterations)):
            whole_number(name, value)
        if not (tolerance >= 0 and floor > 0):
            raise ArgumentError(f"tolerance is {tolerance!r} and floor {floor!r}; expected at least 0, and above 0.")
        self.latent_dim, self.components, self.iterations = latent_dim, components, iterations
        self.tolerance, self.floor, self.seed = tolerance, floor, seed
        self.log_likelihood = math.nan
        self.register_buffer("weights", torch.full((components,), 1 / components, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(components, latent_dim, dtype=torch.float64))
        self.register_buffer("cholesky", torch.eye(latent_dim, dtype=torch.float64).repeat(components, 1, 1))

    @torch.no_grad()
    def fit(self, latents: Any) -> Mixture:
        """Fit to latents [N, k], or to one draw of each of (mu, std), on the device where they lie.

        Raises:
            ArgumentError: a wrong shape. DataError: NaN, infinity, or fewer than 2 latents.
        """
        found = as_latents(latents, self.latent_dim)
        if len(found) < 2:
            raise DataError("a mixture needs 2 latents or more.")
        self.to(found.mean.device)
        generator = torch.Generator(found.mean.device).manual_seed(self.seed)
        z = found.draw(generator).double()
        self._maximise(z, _one_hot(_cluster(z, self.components, generator), self.components))
        before = -math.inf
        for _ in range(self.iterations):
            responsibilities, self.log_likelihood = self.expect(z)
            self._maximise(z, responsibilities)
            if self.log_likelihood - before < self.tolerance:
                break
            before = self.log_likelihood
        return self

    def log_joint(self, z: Tensor) -> Tensor:
        """log (weight_j N(z; mean_j, covariance_j)) of float64 latents [N, k], [N, K]."""
        columns = []
        for weight, mean, factor in zip(self.weights, self.means, self.cholesky):
            whitened = torch.linalg.solve_triangular(factor, (z - mean).T, upper=False)
            log_scale = factor.diagonal().log().sum() + 0.5 * self.latent_dim * math.log(2 * math.pi)
            columns.append(weight.log() - log_scale - 0.5 * whitened.square().sum(0))
        return torch.stack(columns, dim=1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of latents [N, k] in nats, float64 [N]."""
        return self.log_joint(z.double()).logsumexp(1)

    def expect(self, z: Tensor) -> tuple[Tensor, float]:
        """The E-step: p(component | z), [N, K], and the mean log-likelihood."""
        joint = self.log_joint(z)
        total = joint.logsumexp(1, keepdim=True)
        return (joint - total).exp(), float(total.mean())

    def _maximise(self, z: Tensor, responsibilities: Tensor) -> None:
        """The M-step: weights, means and covariances from p(component | z)."""
        mass = responsibilities.sum(0) + 10 * torch.finfo(z.dtype).eps
        self.weights.copy_(mass / mass.sum())
        self.means.copy_((responsibilities.T @ z) / mass[:, None])
        ridge = self.floor * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        for j, mean in enumerate(self.means):
            centred = z - mean
            covariance = (responsibilities[:, j, None] * centred).T @ centred / mass[j]
            self.cholesky[j] = torch.linalg.cholesky(covariance + ridge)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws, float32 [n, k]."""
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        eps = torch.randn(n, self.latent_dim, 1, generator=generator, device=self.means.device, dtype=torch.float64)
        z = torch.empty(n, self.latent_dim, dtype=torch.float64, device=self.means.device)
        for j in range(self.components):  # by component, so that no [n, k, k] is made
            rows = (chosen == j).nonzero()[:, 0]
            z[rows] = self.means[j] + eps[rows, :, 0] @ self.cholesky[j].T
        return z.float()


def _cluster(z: Tensor, clusters: int, generator: torch.Generator, rounds: int = 10, starts: int = 4) -> Tensor:
    """Index of each row's cluster, [N]: the tightest k-means of several from k-means++ (Arthur & Vassilvitskii 2007)."""
    best, least = torch.zeros(len(z), dtype=torch.long, device=z.device), math.inf
    for _ in range(starts):
        centres = _spread(z, clusters, generator)
        for _ in range(rounds):
            shares = _one_hot(torch.cdist(z, centres).argmin(1), len(centres))
            count = shares.sum(0)[:, None]
            centres = torch.where(count > 0, (shares.T @ z) / count.clamp_min(1), centres)
        distance, index = torch.cdist(z, centres).min(1)
        if (cost := float(distance.square().sum())) < least:
            best, least = index, cost
    return best


def _spread(z: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Rows of z far from each other, [K, k]: each the best of a few, drawn by squared distance to those before.

    Fewer than `clusters`, where there are fewer distinct rows.
    """
    candidates = 2 + int(math.log(clusters))
    centres = z[torch.randint(len(z), (1,), generator=generator, device=z.device)]
    nearest = (z - centres).square().sum(1)
    while len(centres) < clusters and nearest.max() > 0:
        # by their cumulative sum: multinomial takes no more than 2^24 rows
        edges = nearest.cumsum(0)
        at = torch.rand(candidates, generator=generator, device=z.device, dtype=z.dtype) * edges[-1]
        drawn = z[torch.searchsorted(edges, at, right=True).clamp_max(len(z) - 1)]
        remaining = torch.stack([torch.minimum(nearest, (z - c).square().sum(1)) for c in drawn])
        chosen = remaining.sum(1).argmin()
        centres, nearest = torch.cat([centres, drawn[chosen, None]]), remaining[chosen]
    return centres


def _one_hot(index: Tensor, classes: int) -> Tensor:
    return nn.functional.one_hot(index, classes).double()
