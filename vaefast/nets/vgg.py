"""The features of VGG-16 that LPIPS compares images by."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import CheckpointError

_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGGFeatures(nn.Module):
    """Images [B, C, H, W] in [0, 1], grey or RGB -> the outputs of VGG-16's five stages before pooling, [B, F, H / 2^i, W / 2^i].

    Args:
        weights: tensors by torchvision's names for vgg16 (`features.0.weight`, ...); others are ignored.
        layers: LPIPS's weights of channels by its names (`lin0.model.1.weight`, ...), as `layer_weights`; None: all alike.

    Raises:
        CheckpointError: there are not these tensors.

    Source: Simonyan & Zisserman 2015; Zhang et al. 2018 for the five stages.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, weights: Mapping[str, Tensor], layers: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        channels, index = 3, 0
        for widths in _STAGES:
            stage = nn.ModuleList()
            for width in widths:
                convolution = nn.Conv2d(channels, width, 3, padding=1)
                for name, parameter in convolution.named_parameters():
                    with torch.no_grad():
                        parameter.copy_(_of(weights, f"features.{index}.{name}", parameter.shape))
                stage.append(convolution)
                channels, index = width, index + 2
            self.stages.append(stage)
            index += 1
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1))
        self.layer_weights: list[Tensor] | None = None
        if layers is not None:
            self.layer_weights = [_of(layers, f"lin{i}.model.1.weight", torch.Size((1, widths[-1], 1, 1))).flatten()
                                  for i, widths in enumerate(_STAGES)]

    def forward(self, x: Tensor) -> list[Tensor]:
        x = (x.expand(-1, 3, -1, -1) - self.mean) / self.deviation
        features: list[Tensor] = []
        for stage in self.stages:
            x = F.max_pool2d(x, 2) if features else x
            for convolution in stage:  # type: ignore[attr-defined]
                x = F.relu(convolution(x))
            features.append(x)
        return features


def _of(tensors: Mapping[str, Tensor], name: str, shape: torch.Size) -> Tensor:
    if name not in tensors or tensors[name].shape != shape:
        there = f"of shape {list(tensors[name].shape)}" if name in tensors else "not there"
        raise CheckpointError(f"{name} is {there}; expected {list(shape)}, as torchvision's vgg16 and LPIPS's vgg have them.")
    return tensors[name]
