"""A perceptual term: how far reconstructions are from their images in the features of a network that does not learn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models.images import as_float, full_precision
from vaefast.models.weighted_term import WeightedTerm

SHARE = 1.0
"""Of the reconstruction's gradient, where the weight is adaptive."""


class PerceptualLoss(WeightedTerm):
    """The squared distance of features, each place's brought to length 1 over the channels; means over places, sums over layers.

    Args:
        network: module, images [B, C, H, W] in [0, 1] -> features [B, F, ...] or a list of them, such as
            `vaefast.nets.vgg.VGGFeatures`; of one with a method `maps`, such as `vaefast.metrics.FeatureClassifier`, what that
            gives. A copy is kept, frozen and in eval mode, and not saved with the model. None: `use` gives it later.
        weight: above 0, or "adaptive": as much gradient as the reconstruction (see `WeightedTerm`).

    Raises:
        ArgumentError: no module, or a weight that cannot work.

    Source: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", equation 1; channels
    weigh alike, but for a network with an attribute `layer_weights`, a list of [F] a layer.
    """

    def __init__(self, network: nn.Module | None, weight: Any = "adaptive") -> None:
        super().__init__("perceptual_weight", weight, SHARE, "perceptual=None")
        self._held: tuple[nn.Module, ...] = ()  # no part of the model's state, as it never trains
        if network is not None:
            self.use(network)

    def use(self, network: nn.Module) -> None:
        """Take the features of this network from now on."""
        if not isinstance(network, nn.Module):
            raise ArgumentError(f"perceptual is of type {type(network).__name__}; expected a module, images -> features.")
        self._held = (copy.deepcopy(network).eval().requires_grad_(False).to(self.weight),)

    @property
    def ready(self) -> bool:
        """Whether it has its network."""
        return bool(self._held)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PerceptualLoss:
        for network in self._held:
            network._apply(fn, recurse)
        super()._apply(fn, recurse)
        return self

    def term(self, images: Tensor, x: Tensor) -> Tensor:
        """Mean over the batch of the distance of reconstructions [B, C, H, W] in [0, 1] and images x (uint8 or in [0, 1])."""
        x = as_float(x, images.dtype)
        if self.training:
            images, x = self._shifted(images, x)
        made = self._features(images)
        with torch.no_grad():
            real = self._features(x)
        weights = getattr(self._held[0], "layer_weights", None) or [None] * len(made)
        return torch.stack([_distance(a, b, w) for a, b, w in zip(made, real, weights, strict=True)]).sum()

    def _shifted(self, *images: Tensor) -> list[Tensor]:
        """All images moved round by the same random number of pixels, less than the network's `reduction` a side.

        A network that halves its maps sees less of a pattern with the period of its cells than of any other, and reconstructions
        would fill with it; moved, they have it in other places of the cells each time.
        """
        cells = getattr(self._held[0], "reduction", 1) if self._held else 1
        if cells == 1:
            return list(images)
        for axis in (-1, -2):
            size, device = images[0].shape[axis], images[0].device
            places = (torch.arange(size, device=device) + torch.randint(cells, (1,), device=device)) % size
            images = tuple(x.index_select(axis, places) for x in images)
        return list(images)

    def _features(self, images: Tensor) -> list[Tensor]:
        if not self._held:
            raise ArgumentError("the perceptual term has no network yet, which fit gives it; in a loop of your own call "
                                "perceptual.use(network) first.")
        network = self._held[0]
        features = getattr(network, "maps", network)(images)
        return [full_precision(f) for f in (features if isinstance(features, (list, tuple)) else [features])]


def _distance(a: Tensor, b: Tensor, weights: Tensor | None) -> Tensor:
    difference = (_unit(a) - _unit(b)).square()
    if weights is not None:
        difference = difference * weights.to(difference).view(1, -1, *[1] * (a.ndim - 2))
    return difference.sum(1).mean()


def _unit(features: Tensor) -> Tensor:
    return features * features.square().sum(1, keepdim=True).clamp_min(1e-10).rsqrt()
