"""Latents of an encoder, as samplers of the aggregate posterior take them: points, or Gaussians to draw points from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaefast.digest import tensor_digest
from vaefast.errors import ArgumentError, DataError


@dataclass(frozen=True, eq=False, repr=False)
class Latents:
    """N points, or the N posteriors N(mean, diag(std^2)) that points are drawn from.

    Attributes:
        mean: [N, k], finite; float32 or float64.
        std: [N, k], 0 or more; None where the points are known as they are.
        labels: int64 [N], where there are classes; or vectors, float [N, d], that they are conditioned on.
    """

    mean: Tensor
    std: Tensor | None = None
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.mean)

    def __repr__(self) -> str:
        kind = "points" if self.std is None else "posteriors"
        return f"Latents({len(self):,} {kind} of {self.dims} dimensions, {self.mean.dtype}, {self.mean.device})"

    @property
    def dims(self) -> int:
        """k."""
        return self.mean.shape[1]

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        """One point of each row, [N, k]: mean + std * eps, or the points themselves."""
        if self.std is None:
            return self.mean
        eps = torch.randn(self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype)
        return torch.addcmul(self.mean, self.std, eps)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of a drawn point, float64 [k] each."""
        mean = self.mean.double()
        variance = mean.var(0, correction=0)
        if self.std is not None:
            variance = variance + self.std.double().square().mean(0)
        return mean.mean(0), variance.sqrt()

    def scale(self) -> float:
        """Standard deviation of a drawn point in one dimension, averaged over the dimensions."""
        return float(self.moments()[1].mean())

    def digest(self) -> str:
        """SHA-256 (hex) of shapes, dtypes and values."""
        return tensor_digest([("", self.mean), ("", self.std), *([] if self.labels is None else [("labels", self.labels)])])

    def subset(self, index: Tensor) -> Latents:
        """The latents at `index`, int64."""
        return Latents(*(None if t is None else t[index] for t in (self.mean, self.std, self.labels)))  # type: ignore[arg-type]

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Latents:
        """The same latents elsewhere."""
        return Latents(self.mean.to(device, dtype), None if self.std is None else self.std.to(device, dtype),
                       None if self.labels is None else self.labels.to(device))


def as_latents(latents: Any, latent_dim: int | None = None) -> Latents:
    """Check what a user hands in as latents.

    Args:
        latents: a tensor, array or data frame of numbers [N, k]; a tuple (mu, std) of two such; or `Latents`.
        latent_dim: the k that is expected; any if None.

    Raises:
        ArgumentError: another form or shape.
        DataError: no rows, NaN, infinity, or a negative standard deviation.
    """
    labels = None
    if isinstance(latents, Latents):
        mean, std, labels = latents.mean, latents.std, latents.labels
    elif isinstance(latents, tuple):
        if len(latents) != 2:
            raise ArgumentError(f"latents is a tuple of {len(latents)}; expected (mu, std), or one tensor [N, k].")
        mean, std = _matrix(latents[0], "mu"), _matrix(latents[1], "std")
        if std.shape != mean.shape:
            raise ArgumentError(f"std has shape {list(std.shape)}; expected that of mu, {list(mean.shape)}.")
        if (std < 0).any():
            raise DataError(f"std holds {float(std.min()):.4g}; expected standard deviations, 0 or more (not log std or log "
                            "variance).")
        std = std.to(mean)
    else:
        mean, std = _matrix(latents, "latents"), None
    if latent_dim is not None and mean.shape[1] != latent_dim:
        raise ArgumentError(f"the latents have {mean.shape[1]} dimensions; expected latent_dim = {latent_dim}.")
    return Latents(mean, std, labels)


def plain_array(values: Any) -> Any:
    """A data frame, or an array in an order that torch does not take, as an array that it takes; all else as it is."""
    if isinstance(values, Tensor) or not (hasattr(values, "to_numpy") or isinstance(values, np.ndarray)):
        return values
    array = values.to_numpy() if hasattr(values, "to_numpy") else values
    if array.dtype == object:
        array = array.astype(np.float64)  # a frame's columns of several kinds of numbers; words raise an error
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")


def _matrix(values: Any, name: str) -> Tensor:
    if isinstance(values, Tensor) and values.layout != torch.strided:
        raise ArgumentError(f"{name} is a tensor of layout {str(values.layout).removeprefix('torch.')}; pass a dense one "
                            "(x.to_dense()).")
    try:
        tensor = torch.as_tensor(plain_array(values)).detach()
    except (TypeError, ValueError, RuntimeError):
        raise ArgumentError(f"{name} is of type {type(values).__name__}; expected a tensor or array [N, k] of numbers.") from None
    if tensor.ndim != 2 or tensor.shape[1] < 1 or tensor.is_complex():
        raise ArgumentError(f"{name} has shape {list(tensor.shape)}; expected [N, k]: a row of k numbers for each example "
                            "(flatten the latents of a spatial autoencoder).")
    if not len(tensor):
        raise DataError(f"{name} has no rows; expected one for each training example.")
    if tensor.dtype != torch.float64:
        tensor = tensor.float()
    finite = torch.isfinite(tensor).all(1)
    if not finite.all():
        raise DataError(f"row {int((~finite).nonzero()[0])} of {name} holds NaN or infinity; leave such examples out.")
    return tensor
