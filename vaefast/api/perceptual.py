"""The perceptual term of a model, as users name it."""

from __future__ import annotations

import os
from typing import Any, Literal, get_args

import torch
from torch import nn

from vaefast.api.arguments import CUSTOM
from vaefast.data import ImageSet
from vaefast.data.roots import expanded
from vaefast.errors import ArgumentError, DataError, DataNotFoundError
from vaefast.models.perceptual import PerceptualLoss
from vaefast.nets.vgg import VGGFeatures
from vaefast.weights_file import read_tensors

LearnedName = Literal["classifier", "exemplar"]
LEARNED: tuple[LearnedName, ...] = get_args(LearnedName)
"""Networks that are learned from the training images themselves: those of FD-classifier and FD-exemplar."""


def perceptual_term(perceptual: str | nn.Module | None, weight: Any) -> PerceptualLoss | None:
    """The term, of a network of the user's own, or of one that `fit` brings by its name or file; None for none.

    Raises:
        ArgumentError: another type, or a weight that cannot work.
    """
    if perceptual is None:
        return None
    if not isinstance(perceptual, (str, os.PathLike, nn.Module)):
        raise ArgumentError(f"perceptual is of type {type(perceptual).__name__}; expected {', '.join(map(repr, LEARNED))}, a "
                            "file of torchvision's vgg16 weights, a module (images -> features), or None.")
    return PerceptualLoss(perceptual if isinstance(perceptual, nn.Module) else None, weight)


def equip(term: PerceptualLoss | None, perceptual: Any, images: Any, device: torch.device) -> None:
    """Give a model's term the network that `perceptual` names, unless it has one. Raises as `network_of`."""
    if term is None or term.ready:
        return
    if perceptual == CUSTOM:
        raise ArgumentError("this model was built with a perceptual network of its own, which is not saved; call "
                            "model.first.perceptual.use(network) before you train it on.")
    term.use(network_of(perceptual, images, device))


def network_of(perceptual: str, images: Any, device: torch.device) -> nn.Module:
    """The network that `perceptual` names, for training images: learned from them (and cached), or of files.

    Raises:
        ArgumentError: images that are read as training goes, from which nothing can be learned.
        DataError: no labels for "classifier". DataNotFoundError, CheckpointError: no such file, or another.
    """
    if perceptual in LEARNED:
        if not isinstance(images, ImageSet):
            raise ArgumentError(f"perceptual is {perceptual!r}, which learns from images that are held whole; pass "
                                "materialize=True, or a network of your own.")
        if perceptual == "exemplar":
            from vaefast.metrics import exemplar_network_for  # where it is needed: scores take long to import

            return exemplar_network_for(images, device=device)
        if images.labels is None:
            raise DataError(f"perceptual is 'classifier', and {images.name} has no labels to learn from; choose 'exemplar'.")
        from vaefast.metrics import classifier_for

        return classifier_for(images, device=device)
    files = [expanded(name.strip()) for name in str(perceptual).split(",")]
    for path in files:
        if not path.is_file():
            raise DataNotFoundError(f"perceptual is {str(perceptual)!r}, and {path} is not there; expected "
                                    f"{', '.join(map(repr, LEARNED))}, or a file of torchvision's vgg16 weights.")
    vgg, *layers = (read_tensors(path, "torchvision's vgg16, and LPIPS's vgg after a comma") for path in files)
    return VGGFeatures(vgg, layers[0] if layers else None)
