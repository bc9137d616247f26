"""Kernel inception distance: squared MMD of features under the kernel (a . b / d + 1)^3, over random subsets.

Unbiased for every subset size, unlike the Fréchet distance, so it suits small samples (Bińkowski et al., "Demystifying
MMD GANs", 2018, section 4). With Inception features it is the KID; any features do.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vaefast.float32 import widest

from .. import ops
from ..errors import ArgumentError
from .features import Extractor, check_paths, extract_features, extractor_name, open_images
from .inception import Inception


class KernelInceptionDistance(NamedTuple):
    """Mean and standard deviation (divided by the number of subsets) over the subsets. Tables often show 1,000 times it."""

    mean: float
    std: float


class KernelInception(NamedTuple):
    """A kernel inception distance of images and what it is of. `float()` gives the mean alone."""

    mean: float
    std: float
    real: int  # images
    fake: int
    subsets: int
    subset_size: int
    features: str

    def __float__(self) -> float:
        return self.mean

    def __str__(self) -> str:
        return (f"KID {self.mean:.6f} +- {self.std:.6f} ({self.real:,} real, {self.fake:,} generated images; {self.subsets} "
                f"subsets of {self.subset_size:,}; {self.features})")


@torch.no_grad()
def kid(
    features_1: Tensor, features_2: Tensor, *, subsets: int = 100, subset_size: int = 1000, degree: int = 3,
    gamma: float | None = None, coef0: float = 1.0, seed: int = 0,
) -> KernelInceptionDistance:  # fmt: skip
    """Kernel inception distance between two sets of features, by torch-fidelity's definition.

    Args:
        features_1, features_2: [N, d] and [M, d], one float dtype and device.
        subsets: how many pairs of subsets, >= 1.
        subset_size: rows drawn without replacement from either set for each, from 2 to min(N, M).
        degree, gamma, coef0: of the kernel (gamma a . b + coef0)^degree; gamma is 1 / d by default.
        seed: of the subsets, which are the same on every device.

    Returns:
        `KernelInceptionDistance`. All subsets are taken in one call of `vaefast.ops.mmd2_subsets`; no Gram matrix of a
        whole set, and no stack of those of the subsets, is kept.

    Raises:
        ArgumentError: shapes or devices that do not fit, a subset larger than a set, NaN or infinity, features so large that
            the distance leaves float64.
    """
    for name, f in (("features_1", features_1), ("features_2", features_2)):
        if not isinstance(f, Tensor) or f.dim() != 2 or not f.is_floating_point():
            given = f"{f.dtype} {list(f.shape)}" if isinstance(f, Tensor) else type(f).__name__
            raise ArgumentError(f"{name} is {given}; expected features [rows, d] of a float dtype.")
        if not torch.isfinite(f.sum(dtype=torch.float32)) and not torch.isfinite(f).all():
            raise ArgumentError(f"{name} holds NaN or infinity.")
    if features_1.shape[1] != features_2.shape[1]:
        raise ArgumentError(
            f"features_2 has {features_2.shape[1]} dimensions; expected {features_1.shape[1]}, as features_1 has."
        )
    least = min(len(features_1), len(features_2))
    for name, value, low, high in (("subsets", subsets, 1, None), ("subset_size", subset_size, 2, least)):
        if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
            limit = f"{low} to {high}, the rows of the smaller set" if high is not None else f">= {low}"
            raise ArgumentError(f"{name} is {value!r}; expected an int {limit}.")
    rng = torch.Generator().manual_seed(seed)
    rows_1, rows_2 = (
        torch.stack([torch.randperm(len(f), generator=rng)[:subset_size] for _ in range(subsets)]).to(f.device)
        for f in (features_1, features_2)
    )
    wide = widest(features_1.device)
    values = ops.mmd2_subsets(features_1, features_2, rows_1, rows_2, degree=degree, gamma=gamma, coef0=coef0, dtype=wide)
    if not torch.isfinite(values).all():
        largest = max(float(f.abs().max()) for f in (features_1, features_2))
        raise ArgumentError(f"Features reach {largest:.1e}, and their kernel values are larger than {wide} can hold; scale both "
                            "sets down.")
    size = float(values.abs().max()) or 1.0  # so that no square leaves float64
    return KernelInceptionDistance(float(values.mean()), float((values / size).std(correction=0)) * size)


def kernel_inception_distance(
    real: Any, fake: Any, *, extractor: Extractor | None = None, weights: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu", resize: str = "pytorch-fid", stretch: bool = False, rounded: bool = False,
    size: int | tuple[int, int] | None = None, on_bad: str = "error", subsets: int = 100, subset_size: int | None = None,
    seed: int = 0, notice: Callable[[str], None] = warnings.warn,
) -> KernelInception:  # fmt: skip
    """KID between two sets of images: `kid` of their Inception features.

    Args:
        real, fake: as for `fid`, but for statistics.
        extractor, weights, device, resize, stretch, rounded, size, on_bad, notice: as for `fid`.
        subsets, seed: as for `kid`.
        subset_size: as for `kid`; None: 1,000, or all of the smaller set where that is less.

    Raises:
        DataNotFoundError: no Inception weights or path. ArgumentError, DataError, CheckpointError: as `fid` and `kid` do.
    """
    check_paths(real, fake)
    extractor = extractor or Inception(weights, device=device, resize=resize, notice=notice)
    first = extract_features(extractor, open_images(real, size=size, on_bad=on_bad), rounded=rounded)
    second = extract_features(extractor, open_images(fake, size=size, on_bad=on_bad), stretch=stretch, rounded=rounded)
    rows = min(1000, len(first), len(second)) if subset_size is None else subset_size
    distance = kid(first, second, subsets=subsets, subset_size=rows, seed=seed)
    return KernelInception(*distance, len(first), len(second), subsets, rows, extractor_name(extractor))
