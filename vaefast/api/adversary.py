"""The image adversary of a model, as users name it."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import nn

from vaefast.errors import ArgumentError
from vaefast.nets import PatchGAN

AdversaryName = Literal["patchgan"]
ADVERSARIES: tuple[AdversaryName, ...] = get_args(AdversaryName)
"""Discriminators by name."""


def image_adversary(adversary: AdversaryName | nn.Module | None, channels: int, **options: Any) -> nn.Module | None:
    """The user's own discriminator, or the one by that name (built with `options`), or none."""
    if adversary is None or isinstance(adversary, nn.Module):
        return adversary
    if adversary not in ADVERSARIES:
        raise ArgumentError(f"adversary is {adversary!r}; expected {', '.join(map(repr, ADVERSARIES))}, a discriminator "
                            "module, or None.")
    return PatchGAN(channels, **options)
