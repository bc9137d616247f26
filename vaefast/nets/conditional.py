"""Networks that are told a condition beside the image or the code: a class, or a vector of numbers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.own import own_network
from vaefast.nets.shapes import CodeShape, checked_latents, whole_number

WIDEST = 16
"""Most dimensions in which a condition is told."""
PASSED_ON = ("scale_param", "output", "image_range", "deterministic")
"""What networks say of themselves, and a wrapped one as well."""


def condition_size(classes: int | None, condition_dim: int | None) -> int:
    """How many classes, or numbers of a vector, a condition has; 0: there is none.

    Raises:
        ArgumentError: both are given, or one is no whole number above 0.
    """
    if classes is not None and condition_dim is not None:
        raise ArgumentError(f"classes is {classes!r} and condition_dim {condition_dim!r}; a condition is a class or a vector: "
                            "give one of the two.")
    if classes is None and condition_dim is None:
        return 0
    return whole_number("classes", classes) if condition_dim is None else whole_number("condition_dim", condition_dim)


def told_width(size: int) -> int:
    """e, the dimensions in which a condition of so many classes or numbers is told."""
    return min(size, WIDEST)


def told_shape(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """The shape of examples (D,) or (C, ...) beside which a condition of `size` stands, for the encoder."""
    return (shape[0] + told_width(size), *shape[1:])


def told_codes(latent_dim: CodeShape, size: int) -> CodeShape:
    """`latent_dim` of codes beside which a condition of `size` stands, for the decoder."""
    if isinstance(latent_dim, int):
        return latent_dim + told_width(size)
    c, h, w = latent_dim
    return c + told_width(size), h, w


class _Conditional(nn.Module):
    """A network beside whose input a linear embedding of the condition stands.

    Args:
        name: what messages call the network.
        network: built for the larger input.
        classes, condition_dim: one of the two.
    """

    def __init__(self, name: str, network: nn.Module, classes: int | None, condition_dim: int | None) -> None:
        super().__init__()
        size = condition_size(classes, condition_dim)
        if not size:
            raise ArgumentError("neither classes nor condition_dim is given; say what the condition is.")
        self.network = own_network(name, network)
        # in units of 1, of one-hot classes and of vectors whose numbers have a deviation of 1
        self.embedding = nn.Parameter(nn.init.orthogonal_(torch.empty(size, told_width(size))))
        if classes is not None:
            self.embedding.data.mul_(math.sqrt(size))
        for attribute in PASSED_ON:
            if hasattr(network, attribute):
                setattr(self, attribute, getattr(network, attribute))

    def told(self, condition: Tensor, like: Tensor) -> Tensor:
        """Classes, int [B], or vectors [B, size] -> [B, e], in the dtype of `like`."""
        if condition.ndim == 1:
            return F.embedding(condition, self.embedding).to(like.dtype)
        return (condition.to(self.embedding.dtype) @ self.embedding).to(like.dtype)


class ConditionalEncoder(_Conditional):
    """An encoder of examples [B, C, ...] and conditions: it sees the condition as e more channels, each constant over an example
    (of vectors [B, D] as e more dimensions), where e is the number of classes, or of a vector's numbers, and at most 16.

    >>> shape = told_shape((1, 28, 28), 10)      # (11, 28, 28)
    >>> encoder = ConditionalEncoder(InfoGANEncoder(shape, 64), classes=10)
    >>> mu, raw = encoder(x, labels)

    Args:
        encoder: built for examples of the larger shape, `told_shape(shape, size)`. What it says of itself is passed on.
        classes: conditions are classes, int [B], from 0 to classes - 1; told by a learned row of e numbers each.
        condition_dim: conditions are vectors [B, condition_dim]; told by a learned linear map to e numbers.

    Raises:
        ArgumentError: not one of the two is given, or what is no module.

    Source: Sohn, Lee & Yan 2015, "Learning Structured Output Representation using Deep Conditional Generative Models", where both
    networks take the condition beside their input.
    """

    def __init__(self, encoder: nn.Module, *, classes: int | None = None, condition_dim: int | None = None) -> None:
        super().__init__("encoder", encoder, classes, condition_dim)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        told = self.told(condition, x)
        planes = told.view(*told.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
        return self.network(torch.cat([x, planes], 1))


class ConditionalDecoder(_Conditional):
    """A decoder of codes [B, k] and conditions, which it takes as e more dimensions of the code, or as e more maps, each
    constant, where codes are maps; e as of `ConditionalEncoder`.

    Args:
        decoder: built for the larger codes, `told_codes(latent_dim, size)`. What it says of itself is passed on.
        latent_dim: (c, h, w) of codes that are maps, and flat outside; None where they have no places.
        classes, condition_dim: as of `ConditionalEncoder`.

    Raises:
        ArgumentError: as `ConditionalEncoder`.
    """

    def __init__(self, decoder: nn.Module, *, latent_dim: CodeShape | None = None, classes: int | None = None,
                 condition_dim: int | None = None) -> None:
        super().__init__("decoder", decoder, classes, condition_dim)
        maps = None if latent_dim is None else checked_latents(latent_dim)[1]
        self.places = 1 if maps is None else maps[1] * maps[2]

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        return self.network(torch.cat([z, self.told(condition, z).repeat_interleave(self.places, 1)], 1))
