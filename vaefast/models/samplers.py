"""Samplers of latents: what a decoder is fed with when new examples are drawn.

Each has `fit(latents)`, for latents [N, k] or (mu, std), and `sample(n, generator)`, which gives [n, k]:

- `Prior`: N(0, std^2 I), which fits nothing; an ordinary VAE's samples.
- `Mixture`: a Gaussian mixture fitted to the aggregate posterior q(z).
- `vaefast.SecondStage`: a second VAE, trained on the aggregate posterior.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError, DataError
from vaefast.models.condition import as_classes, checked_labels, drawn_by, never_seen, unknown_condition
from vaefast.models.doors import readable
from vaefast.models.latents import as_latents
from vaefast.models.mixture_sums import ROWS, Sums, sums_of
from vaefast.models.standardiser import KeepsUnits
from vaefast.nets.shapes import whole_number
from vaefast.pixel_values import require_finite


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


CANDIDATES = (1, 2, 5, 10, 20, 50, 100, 200, 512)
"""Numbers of components that "auto" tries, in this order, as long as held-out latents get more likely."""
HELD_OUT = 10
"""One of so many latents is held out there."""
FEW = 20_000
"""Latents of which clusters and the number of components are found, where there are more."""
TRIED = 25
"""Steps of expectation maximisation of a number of components that is tried."""


class Mixture(KeepsUnits):
    """A mixture of Gaussians with full covariances, fitted by expectation maximisation from k-means++.

    Args:
        latent_dim: k.
        components: Gaussians; fewer are used where there are fewer distinct latents. "auto": of 1, 2, 5, 10, ... 512 the first
            number whose next makes held-out latents (a tenth, of 20,000) no more likely; fitted to all in the end.
        classes: of the labels that it will be fitted with; 0: none.
        iterations: at most so many steps of expectation maximisation.
        tolerance: stop when the mean log-likelihood of a latent rises by less, in nats.
        floor: this share of each dimension's variance, over all latents, is added to the Gaussians', so that none shrinks to a
            point.
        seed: of the start, and of the draws where the latents are given as (mu, std).

    Fitted to latents with labels, it has Gaussians of each class's own, so many of each, and draws of a class on request.

    After `fit`: `weights` [K], `means` [K, k] and `cholesky` [K, k, k] (lower triangles L of covariances L L^T), float64,
    `component_class` [K] (0, without labels), and `log_likelihood`, the mean of a latent's in nats before the last step.

    Source of its use: Ghosh et al. 2020, "From Variational to Deterministic Autoencoders", section 4 (10 components).
    """

    weights: Tensor
    means: Tensor
    cholesky: Tensor
    component_class: Tensor
    units = ("weights", "means", "cholesky")
    narrowest = torch.float64

    def __init__(self, latent_dim: int, components: int | str = 10, *, classes: int = 0, iterations: int = 100,
                 tolerance: float = 1e-3, floor: float = 1e-6, seed: int = 0) -> None:
        super().__init__()
        if components != "auto":
            whole_number("components", components)
        for name, value in (("latent_dim", latent_dim), ("iterations", iterations)):
            whole_number(name, value)
        if not (tolerance >= 0 and 0 < floor < math.inf):
            raise ArgumentError(f"tolerance is {tolerance!r} and floor {floor!r}; expected at least 0, and a number above 0.")
        if classes != 0:
            whole_number("classes", classes)
        self.latent_dim, self.components, self.iterations = latent_dim, components, iterations
        self.data_shape, self.classes = (latent_dim,), classes
        self.tolerance, self.floor, self.seed = tolerance, floor, seed
        self.log_likelihood = math.nan
        self._resize(1 if isinstance(components, str) else components, torch.device("cpu"))

    def _resize(self, components: int, device: torch.device) -> None:
        """Room for so many Gaussians: equal weights, N(0, I) each."""
        k, dtype = self.latent_dim, torch.float64
        self.register_buffer("weights", torch.full((components,), 1 / components, dtype=dtype, device=device))
        self.register_buffer("means", torch.zeros(components, k, dtype=dtype, device=device))
        self.register_buffer("cholesky", torch.eye(k, dtype=dtype, device=device).repeat(components, 1, 1))
        self._name_classes(torch.zeros(components, dtype=torch.long, device=device))

    def _name_classes(self, component_class: Tensor) -> None:
        self.register_buffer("component_class", component_class, persistent=self.classes > 0)

    def make_room(self, saved: Mapping[str, Tensor]) -> None:
        """Have as many components as a state that will be loaded, where their number was chosen and not given.

        Raises:
            ValueError: what will be loaded is no mixture.
        """
        if "weights" in saved:
            weights, labels = saved["weights"], saved.get("component_class", torch.zeros(1, dtype=torch.long))
            if not (len(weights) and (weights >= 0).all() and 0 < float(weights.sum()) < math.inf):
                raise ValueError("the weights of a mixture's Gaussians are not shares above 0")
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < max(self.classes, 1):
                raise ValueError(f"Gaussians are of the classes {int(labels.min())} to {int(labels.max())}, of {self.classes}")
        if (self.components == "auto" or self.classes) and "weights" in saved:
            self._resize(len(saved["weights"]), self.weights.device)

    @torch.no_grad()
    def fit(self, latents: Any, labels: Tensor | None = None) -> Mixture:
        """Fit to latents [N, k], or to one draw of each of (mu, std), on the device where they lie; of each class of `labels`,
        int64 [N], apart, if the mixture has classes.

        Raises:
            ArgumentError: a wrong shape, labels of a mixture without classes. DataError: NaN, infinity, or fewer than 2 latents
                (of a class that has any).
        """
        codes = as_latents(latents, self.latent_dim)
        if labels is not None:
            if not self.classes:
                raise unknown_condition(labels)
            labels = as_classes(labels, len(codes), self.classes, codes.mean.device, "labels", each=True)
        device = codes.mean.device
        self.to(device)
        generator = torch.Generator(device).manual_seed(self.seed)
        z = codes.draw(generator).double()
        self._ridge = _ridge(z, self.floor)
        if not self.classes:
            self._fit_all(z, generator)
            return self
        labels = checked_labels(labels, self.classes, "the latents")
        enough_of_each(labels)
        parts, likelihood = [], 0.0
        for label in labels.unique().tolist():
            rows = z[labels == label]
            self._fit_all(rows, generator, f" of class {label}")
            share = len(rows) / len(z)
            parts.append((self.weights * share, self.means, self.cholesky, torch.full_like(self.component_class, label)))
            likelihood += share * (self.log_likelihood + math.log(share))
        weights, means, cholesky, component_class = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        self._resize(len(weights), device)
        for name, value in (("weights", weights), ("means", means), ("cholesky", cholesky)):
            getattr(self, name).copy_(value)
        self._name_classes(component_class)
        self.log_likelihood = likelihood  # of latent and label
        return self

    def _fit_all(self, z: Tensor, generator: torch.Generator, which: str = "") -> None:
        if len(z) < 2:
            raise DataError(f"a mixture needs 2 latents{which} or more.")
        if isinstance(self.components, str):
            self._choose(z, generator)
        else:
            self._fit(z, self.components, generator, self.iterations)

    def _choose(self, z: Tensor, generator: torch.Generator) -> None:
        """Fit with the number of components that held-out latents ask for."""
        order = torch.randperm(len(z), generator=generator, device=z.device)[:FEW]
        held, kept = z[order[::HELD_OUT]], z[torch.cat([order[i::HELD_OUT] for i in range(1, HELD_OUT)])]
        best, count = -math.inf, 1
        for candidate in CANDIDATES:
            if candidate > max(1, len(kept) // (2 * self.latent_dim)):
                break
            self._fit(kept, candidate, generator, TRIED)
            if not (likelihood := float(self.log_prob(held).mean())) > best:
                break
            best, count = likelihood, candidate
        self._fit(z, count, generator, self.iterations)

    def _fit(self, z: Tensor, components: int, generator: torch.Generator, iterations: int) -> None:
        self._resize(components, z.device)
        clusters, sums = _cluster(z, components, generator), sums_of(z, components)
        self._maximise(sums, (_one_hot(part, components) for part in clusters.split(sums.rows)))
        before = -math.inf
        for _ in range(iterations):
            self.log_likelihood = self._iterate(sums) / len(z)
            if self.log_likelihood - before < self.tolerance:
                break
            before = self.log_likelihood

    def _iterate(self, sums: Sums) -> float:
        """Both steps of expectation maximisation in one pass; the log-likelihood before it."""
        total = self.weights.new_zeros(())

        def shares() -> Iterator[Tensor]:
            for log_joint in sums.log_joints(*self._whitening(), self.means, self.log_joint):
                of_row = log_joint.logsumexp(1, keepdim=True)
                total.add_(of_row.sum())
                yield log_joint.sub_(of_row).exp_()

        self._maximise(sums, shares())
        return float(total)

    def _whitening(self) -> tuple[Tensor, Tensor]:
        """L^-1 of each component, [K, k, k], and the logarithm of its weight over that of its normaliser, [K]."""
        count, k = self.means.shape
        identity = torch.eye(k, dtype=self.means.dtype, device=self.means.device).expand(count, k, k)
        scale = self.weights.log() - self.cholesky.diagonal(dim1=1, dim2=2).log().sum(1) - 0.5 * k * math.log(2 * math.pi)
        return torch.linalg.solve_triangular(self.cholesky, identity, upper=False), scale

    def log_joint(self, z: Tensor) -> Tensor:
        """log (weight_j N(z; mean_j, covariance_j)) of float64 latents [N, k], [N, K]."""
        (count, k), (whiten, scale) = self.means.shape, self._whitening()  # of z to L^-1 z, all of them in one product
        columns, offset = whiten.reshape(count * k, k).T, (whiten @ self.means[:, :, None]).reshape(count * k)
        parts = [torch.addmm(offset, rows, columns, beta=-1).view(len(rows), count, k).square_().sum(2)
                 for rows in z.split(max(1, ROWS * 64 // count))]
        return scale - 0.5 * (torch.cat(parts) if parts else z.new_zeros(0, count))

    def log_prob(self, z: Any, *, condition: Any = None) -> Tensor:
        """Log density of latents [N, k] in nats, float64 [N]; of those of a class where `condition` says so: one for all, or one
        a row. Minus infinity of a class that there were no latents of.

        Raises:
            ArgumentError: another shape, or a condition that it does not know. DataError: NaN or infinity.
        """
        if not isinstance(z, Tensor):
            z = as_latents(z, self.latent_dim).mean
        elif z.ndim != 2 or z.shape[1] != self.latent_dim:
            as_latents(z, self.latent_dim)  # says what is wrong
        elif not torch.compiler.is_compiling() and readable(z, self):
            require_finite(z)
        joint = self.log_joint(z.to(self.means))
        if condition is None:
            return joint.logsumexp(1)
        classes = as_classes(condition, len(joint), self.classes, joint.device)
        assert classes is not None
        own = self.component_class == classes[:, None]
        share = torch.where(own, self.weights, 0.0).sum(1)
        return torch.where(share > 0, joint.where(own, -math.inf).logsumexp(1) - share.log(), -math.inf)

    def _maximise(self, sums: Sums, shares: Iterable[Tensor]) -> None:
        """The M-step: weights, means and covariances from p(component | z) of the parts of z, one after the other."""
        mass, mean, covariance = sums.weighted(shares, len(self.weights))
        self.weights.copy_(mass / mass.sum())
        self.means.copy_(mean)
        self.cholesky.copy_(self._factors(covariance))

    def _factors(self, covariance: Tensor) -> Tensor:
        """Cholesky factors of covariances [K, k, k] with the floor added; more of it where rounding has left one indefinite."""
        ridge = self._ridge.diag()
        factors, failed = torch.linalg.cholesky_ex(covariance + ridge)
        while failed.any():
            ridge = 10 * ridge
            again, failed_again = torch.linalg.cholesky_ex(covariance + ridge)
            factors = torch.where((failed > 0)[:, None, None], again, factors)
            failed = torch.where(failed > 0, failed_again, failed)
        return factors

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None, *, condition: Any = None) -> Tensor:
        """n draws, float32 [n, k]; of classes, where `condition` says so: one for all, or n of them.

        Raises:
            ArgumentError: a condition that it does not know, or of a class of which there were no latents.
        """
        device = self.means.device
        labels = as_classes(condition, n, self.classes, device)
        if labels is None:
            chosen = drawn_by(self.weights, n, generator)
        else:
            chosen = torch.empty(n, dtype=torch.long, device=device)
            for label in labels.unique().tolist():
                rows, own = labels == label, self.weights * (self.component_class == label)
                if not own.any():
                    raise never_seen(label)
                chosen[rows] = drawn_by(own, int(rows.sum()), generator)
        eps = torch.randn(n, self.latent_dim, 1, generator=generator, device=device, dtype=torch.float64)
        z = torch.empty(n, self.latent_dim, dtype=torch.float64, device=device)
        for j in range(len(self.weights)):  # by component, so that no [n, k, k] is made
            rows = (chosen == j).nonzero()[:, 0]
            z[rows] = self.means[j] + eps[rows, :, 0] @ self.cholesky[j].T
        return z.float()


def _ridge(z: Tensor, floor: float) -> Tensor:
    """`floor` times the variance of each dimension of latents [N, k], [k]; of one that does not vary the least of the others'."""
    finite = z.isfinite().all(1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise DataError(f"row {row} of the latents is NaN or infinite when it is drawn; a posterior's std is too large.")
    spread = z.var(0, correction=0)
    if not spread.isfinite().all():
        raise DataError("the latents' variance is too large for float64; divide them by a constant.")
    varies = spread.sqrt() > 1e-12 * z.mean(0).abs()  # less is rounding
    ridge = floor * torch.where(varies, spread, spread[varies].amin() if varies.any() else 1.0)
    return ridge.clamp_min(torch.finfo(ridge.dtype).tiny)


def enough_of_each(labels: Tensor) -> None:
    """DataError, if a class has a single latent, to which no Gaussian can be fitted."""
    found, counts = labels.unique(return_counts=True)
    if (counts < 2).any():
        raise DataError(f"a mixture needs 2 latents of class {int(found[counts < 2][0])} or more; there is 1. Leave it out.")


def _cluster(z: Tensor, clusters: int, generator: torch.Generator, rounds: int = 10, starts: int = 4) -> Tensor:
    """Index of each row's cluster, [N]: the tightest k-means of several from k-means++ (Arthur & Vassilvitskii 2007), of some
    of the rows where there are many."""
    some = z if len(z) <= FEW else z[torch.randperm(len(z), generator=generator, device=z.device)[:FEW]]
    best, least = some[:1], math.inf
    for _ in range(starts):
        centres = _spread(some, clusters, generator)
        for _ in range(rounds):
            shares = _one_hot(torch.cdist(some, centres).argmin(1), len(centres))
            count = shares.sum(0)[:, None]
            centres = torch.where(count > 0, (shares.T @ some) / count.clamp_min(1), centres)
        cost = float(torch.cdist(some, centres).amin(1).square().sum())
        if cost < least:
            best, least = centres, cost
    return torch.cat([torch.cdist(rows, best).argmin(1) for rows in z.split(FEW)])


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
