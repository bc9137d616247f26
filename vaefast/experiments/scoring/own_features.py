"""The user's own network of features, or one that is known by name, as what images are scored with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaefast import data
from vaefast.api.own_networks import features_from
from vaefast.digest import tensor_digest
from vaefast.errors import ArgumentError
from vaefast.metrics.features import Extractor, extractor_name
from vaefast.metrics.named_extractor import DIGITS
from vaefast.models.mode import evaluating


def own_features(features: str | Extractor, device: torch.device) -> Extractor:
    """The user's own network, or one that a name stands for (`vaefast.api.own_networks.features_from`), as an extractor: of float
    images on the device, in eval mode, with what tells it from others."""
    network = features_from(features, device) if isinstance(features, str) else features
    if not callable(network):
        raise ArgumentError(f"features is of type {type(network).__name__}; expected a network, a function of images, or a name.")
    module = network if isinstance(network, torch.nn.Module) else None

    def extract(images: Tensor) -> Tensor:
        with evaluating(*([] if module is None else [module])):
            rows = network(data.to_float(images).to(device))
        if not isinstance(rows, Tensor) or rows.ndim < 2 or len(rows) != len(images) or rows.is_complex():
            given = f"{rows.dtype} {list(rows.shape)}".removeprefix("torch.") if isinstance(rows, Tensor) else type(rows).__name__
            raise ArgumentError(f"features made {given} of {len(images)} images; expected a tensor of real numbers, "
                                f"[{len(images)}, ...].")
        return rows.flatten(1).cpu()

    digest = getattr(network, "digest", None)
    if digest is None and module is not None:
        digest = tensor_digest(sorted(module.state_dict().items()))[:DIGITS]
    made: Any = extract
    made.identity = f"those of {getattr(network, 'name', None) or extractor_name(network)}"
    made.digest, made.input = digest, getattr(network, "input", None)
    return extract
