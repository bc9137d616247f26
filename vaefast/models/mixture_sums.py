"""What expectation maximisation of a Gaussian mixture sums over latents: densities, and moments weighted by shares, in products
of large matrices. Two ways: `Powers`, which multiplies squares and products of latents that were made before, and `Rows`, which
multiplies the latents themselves, a component at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

ROWS = 4096
"""Latents that go through the sums at a time, so that what they are summed from stays in the caches."""
KEPT = 2**27
"""Bytes of the latents' products that are there at a time, and that are kept from one step to the next."""
MANY = 80
"""Components from which on products that are not kept, but made anew in each step, still pay (60,000 latents of 64 dimensions on
two AVX2 cores: 2.6 s to make them, and 0.012 s a component, against 0.045 s)."""
LOSES = 1e9
"""Squares of standard scores from which on their sum loses too many of float64's digits."""


class Sums(Protocol):
    """Of latents z [N, k], some of which at a time are a part."""

    rows: int
    """Latents of a part."""

    def log_joints(self, whiten: Tensor, scale: Tensor, means: Tensor, exact: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """log (weight_j N(z; mean_j, covariance_j)) of each part [rows, K], from L^-1 [K, k, k], the logarithm of each weight
        over its normaliser [K], and the means; `exact` gives it for latents, where squares would lose its digits."""

    def weighted(self, shares: Iterable[Tensor], components: int) -> tuple[Tensor, Tensor, Tensor]:
        """Mass [K], means [K, k] and covariances [K, k, k] of all parts' latents weighted by their shares [rows, K]."""


def sums_of(z: Tensor, components: int) -> Sums:
    """The faster way for latents z [N, k], float64."""
    powers = Powers(z)
    return powers if powers.kept or components >= MANY else Rows(z)


class Powers:
    """Latents about their mean, and the products of their dimensions: [rows, k + k (k + 1) / 2]."""

    def __init__(self, z: Tensor) -> None:
        self._z, self._centre, k = z, z.mean(0), z.shape[1]  # near which squares lose few digits
        self._pairs = torch.triu_indices(k, k, device=z.device).unbind()
        size = k * (k + 3) // 2 * z.element_size()
        self.rows, self.kept = max(1, min(ROWS, KEPT // size)), len(z) * size <= KEPT

    @cached_property
    def _largest(self) -> float:
        return float((self._z - self._centre).square().amax())

    @cached_property
    def _all(self) -> list[Tensor]:
        return list(self._made())

    def _parts(self) -> Iterable[Tensor]:
        """Each part's powers, first and second."""
        return self._all if self.kept else self._made()

    def _made(self) -> Iterator[Tensor]:
        i, j = self._pairs
        for rows in self._z.split(self.rows):
            rows = rows - self._centre
            yield torch.cat([rows, rows[:, i] * rows[:, j]], 1)

    def log_joints(self, whiten: Tensor, scale: Tensor, means: Tensor, exact: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        k, precision, mean = means.shape[1], whiten.mT @ whiten, means - self._centre
        if float(precision.diagonal(dim1=1, dim2=2).amax()) * self._largest > LOSES:
            yield from (exact(powers[:, :k] + self._centre) for powers in self._parts())
            return
        i, j = self._pairs
        linear = (precision @ mean[:, :, None])[:, :, 0]
        constant = scale - 0.5 * (linear * mean).sum(1)
        weights = torch.cat([linear, precision[:, i, j] * torch.where(i == j, -0.5, -1.0)], 1).T.contiguous()
        yield from (torch.addmm(constant, powers, weights) for powers in self._parts())

    def weighted(self, shares: Iterable[Tensor], components: int) -> tuple[Tensor, Tensor, Tensor]:
        k, (i, j) = len(self._centre), self._pairs
        sums, mass = self._centre.new_zeros(components, k + len(i)), _no_mass(self._centre, components)
        for powers, part in zip(self._parts(), shares, strict=True):
            sums.addmm_(part.T, powers)
            mass += part.sum(0)
        sums /= mass[:, None]
        mean, covariance = sums[:, :k], self._centre.new_zeros(components, k, k)
        covariance[:, i, j] = covariance[:, j, i] = sums[:, k:]
        return mass, mean + self._centre, covariance.sub_(mean[:, :, None] * mean[:, None, :])


class Rows:
    """Latents as they are."""

    def __init__(self, z: Tensor) -> None:
        self._z, self._centre, self.rows = z, z.mean(0), ROWS

    def log_joints(self, whiten: Tensor, scale: Tensor, means: Tensor, exact: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        yield from map(exact, self._z.split(self.rows))

    def weighted(self, shares: Iterable[Tensor], components: int) -> tuple[Tensor, Tensor, Tensor]:
        k = len(self._centre)
        sums, covariance = self._centre.new_zeros(components, k), self._centre.new_zeros(components, k, k)
        mass = _no_mass(self._centre, components)
        for rows, part in zip(self._z.split(self.rows), shares, strict=True):
            rows = rows - self._centre
            sums.addmm_(part.T, rows)
            for j, share in enumerate(part.T):
                covariance[j].addmm_((rows * share[:, None]).T, rows)
            mass += part.sum(0)
        mean = sums / mass[:, None]
        covariance /= mass[:, None, None]
        return mass, mean + self._centre, covariance.sub_(mean[:, :, None] * mean[:, None, :])


def _no_mass(like: Tensor, components: int) -> Tensor:
    """What mass begins with, so that a component that nothing is a share of is divided by something."""
    return like.new_full((components,), 10 * torch.finfo(like.dtype).eps)
