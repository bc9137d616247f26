"""What models of images, and of data of any other shape, have to settle apart: networks by default, units, and what is an image's
alone."""

from __future__ import annotations

from typing import Any

from torch import nn

from vaefast.data import ArraySet
from vaefast.errors import ArgumentError
from vaefast.models.images import gives_logits
from vaefast.models.standardiser import Standardiser

OF_IMAGES, OF_DATA = "infogan", "residual"
"""Networks where the user names none."""


def are_images(shape: tuple[int, ...]) -> bool:
    """Whether examples of that shape are images, (C, H, W)."""
    return len(shape) == 3


def nets_or_default(nets: str | None, shape: tuple[int, ...]) -> str:
    """The networks' name: "infogan" of images and "residual" of anything else, where none is given."""
    return nets if nets is not None else OF_IMAGES if are_images(shape) else OF_DATA


def settled_nets(nets: str | None, shape: tuple[int, ...], encoder: nn.Module | None) -> dict[str, str]:
    """The entry of a model's config; none where the networks are the user's own."""
    return {} if encoder is not None else {"nets": nets_or_default(nets, shape)}


def standardiser_for(shape: tuple[int, ...], standardise: bool | None) -> Standardiser | None:
    """The units of data that are no images; None for those of images, which are [0, 1], and where the user wants none.

    Raises:
        ArgumentError: `standardise` is no truth value, or asked for of images.
    """
    if standardise is not None and not isinstance(standardise, bool):
        raise ArgumentError(f"standardise is {standardise!r}; expected True, False or None.")
    if are_images(shape):
        if standardise:
            raise ArgumentError("standardise is True with images, whose values lie in [0, 1]; leave it out, or give the shape as "
                                "data_shape.")
        return None
    return None if standardise is False else Standardiser(shape)


def refuse_what_images_have(shape: tuple[int, ...], **given: Any) -> None:
    """Raise for arguments that only images have, of a model of other data: name=(value, *values that these may have).

    Raises:
        ArgumentError: there is such a value.
    """
    if are_images(shape):
        return
    for name, (value, *allowed) in given.items():
        if value not in allowed:
            way = "leave it out" if allowed[0] is None else f"choose {' or '.join(map(repr, allowed))}"
            raise ArgumentError(f"{name} is {value!r}, which is for images, and data of shape {shape} are real numbers; {way}.")


def refuse_logits(shape: tuple[int, ...], decoder: nn.Module) -> None:
    """Raise for a decoder of logits, of data that are no images.

    Raises:
        ArgumentError: it is one.
    """
    if not are_images(shape) and gives_logits(decoder):
        raise ArgumentError(f"the decoder returns logits (output = 'logits'), and data of shape {shape} are real numbers; give "
                            "it output = 'linear' and have it return the values themselves.")


def describe_arrays(data: ArraySet) -> dict[str, Any]:
    """What a run's config.json says of its data."""
    return {"name": data.name, "split": data.split, "count": len(data), "data_shape": list(data.data_shape),
            "digest": data.digest}
