"""Latent models that may be conditioned on a class or on a vector of numbers: p(x|z, c) and q(z|x, c), with the prior as it is.

Source: Sohn, Lee & Yan 2015, "Learning Structured Output Representation using Deep Conditional Generative Models", with a prior
of z that does not depend on the condition.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaefast.models.condition import conditions_for, is_conditional, look_at_conditions, no_condition, unknown_condition
from vaefast.models.doors import takes_codes, takes_images
from vaefast.models.latent_model import LatentModel
from vaefast.models.posterior import DiagonalGaussian, FlowPosterior
from vaefast.models.standardiser import Standardiser
from vaefast.nets.conditional import condition_size


class ConditionalModel(LatentModel):
    """A `LatentModel` whose networks are given a condition after their input, where it is built with `classes` or
    `condition_dim`: encoder(x, condition), decoder(z, condition), such as `vaefast.nets.ConditionalEncoder` makes of others.

    Attributes:
        classes: of conditions that are classes, int [B]; 0: they are not.
        condition_dim: numbers of conditions that are vectors, float [B, condition_dim]; 0: they are not. Networks get them
            standardised by the training data's.
        shares: of the classes in the training data, by which samples that are asked of no class are drawn; even until `look_at`.
    """

    classes = 0
    condition_dim = 0
    shares: Tensor
    condition_units: Standardiser

    def _set_condition(self, classes: int | None, condition_dim: int | None) -> None:
        size = condition_size(classes, condition_dim)
        if classes is not None:
            self.classes = size
            self.register_buffer("shares", torch.full((size,), 1 / size))
        elif condition_dim is not None:
            self.condition_dim = size
            self.condition_units = Standardiser((size,))

    def look_at(self, source: Any) -> None:
        """Take the shares of the classes, or the units of the vectors, from the `labels` of what will be trained on. A stream,
        which is not held, has none to look at."""
        if (labels := getattr(source, "labels", None)) is not None:
            look_at_conditions(self, labels)

    def _told(self, condition: Tensor | None) -> tuple[Tensor, ...]:
        """What the networks are given after their input.

        Raises:
            ArgumentError: a condition is missing, or not known.
        """
        if not is_conditional(self):
            if condition is not None:
                raise unknown_condition(condition)
            return ()
        if condition is None:
            raise no_condition(self)
        return (self.condition_units(condition) if self.condition_dim else condition,)

    @takes_images
    def encode(self, x: Tensor, condition: Tensor | None = None) -> DiagonalGaussian | FlowPosterior:
        """q(z|x) of inputs [B, *data_shape], images as uint8 or float in [0, 1], and what they are conditioned on: its `mean`,
        `std` and `sample(generator)` are [B, k]."""
        return self._posterior(self.encoder(self._seen(x), *self._told(condition)))

    def _decode_raw(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return super()._decode_raw(z, *self._told(condition))

    @takes_codes
    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images [B, *data_shape] in [0, 1] of codes [B, k], or other data in their own units: the mean of p(x|z), without its
        noise."""
        return self._own(self._activate(self._decode_raw(z, condition)))

    @takes_images
    def reconstruct(self, x: Tensor, generator: torch.Generator | None = None, condition: Tensor | None = None) -> Tensor:
        """Images decoded from a *drawn* code of each image, [B, *data_shape]."""
        return self.decode(self.encode(x, condition).sample(generator), condition)

    def sample(self, n: int, generator: torch.Generator | None = None, *, condition: Any = None) -> Tensor:
        """Images of n draws from the prior, [n, *data_shape]; no pixel noise is added. `condition` is one for all, or n of them;
        None: classes are drawn by their shares, and vectors have to be given."""
        codes = self.prior(n, generator)
        return self.decode(codes, conditions_for(self, n, condition, generator))
