"""Stand-ins for the Inception weights and for photographs, and pytorch-fid's network with any weights.

Random weights cost the same time as the real ones and show every difference in arithmetic; a number made with them means
nothing else. Batch norm is set to what a batch of pictures has, so features keep the pictures apart.
"""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import torch
from PIL import Image
from torch import Tensor, nn

from vaefast.metrics.inception_network import CLASSES, FEATURES, InceptionNetwork

_SCALE = 0.3  # brings features to the size that real ones have


def pictures(n: int, side: int, seed: int, channels: int = 3) -> Tensor:
    """uint8 [n, channels, side, side]: smooth colours and noise, of differing brightness and contrast."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 5, 5, generator=rng)
    smooth = nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")
    noise = torch.rand(n, channels, side, side, generator=rng) * torch.rand(n, 1, 1, 1, generator=rng)
    contrast = 0.3 + 0.7 * torch.rand(n, 1, 1, 1, generator=rng)
    return ((smooth + 0.5 * noise) * contrast).clamp(0, 1).mul(255).round().to(torch.uint8)


def write_pngs(images: Tensor, folder: Path) -> Path:
    """Write images as 00000.png and so on."""
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        array = image.permute(1, 2, 0).numpy()
        Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(folder / f"{i:05d}.png")
    return folder


def peer(state: dict[str, Tensor]) -> nn.Module:
    """pytorch-fid's own network, with these weights in place of the download."""
    from pytorch_fid import inception

    with mock.patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state):
        return inception.InceptionV3().eval()


@torch.no_grad()
def random_state(seed: int = 0) -> dict[str, Tensor]:
    """Weights in the layout of pytorch-fid's file."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    state = {"fc.weight": normal(CLASSES, FEATURES) * 0.05, "fc.bias": normal(CLASSES)}
    network = InceptionNetwork()
    for name, unit in network.named_modules():
        if not hasattr(unit, "fold"):
            continue
        outputs, inputs, height, width = unit.weight.shape
        state |= {
            f"{name}.conv.weight": normal(outputs, inputs, height, width) * (2 / (inputs * height * width)) ** 0.5,
            f"{name}.bn.weight": 0.5 + torch.rand(outputs, generator=rng),
            f"{name}.bn.bias": 0.3 * normal(outputs),
            f"{name}.bn.running_mean": torch.zeros(outputs),
            f"{name}.bn.running_var": torch.ones(outputs),
            f"{name}.bn.num_batches_tracked": torch.tensor(0),
        }
    model = peer(state)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean over the batches seen, here one
    model.train()(pictures(8, 48, seed=seed) / 255)
    blocks = [m for block in model.blocks for m in block if not isinstance(m, (nn.MaxPool2d, nn.AdaptiveAvgPool2d))]
    for (name, _), module in zip(network.named_children(), blocks, strict=True):
        state |= {f"{name}.{key}": value.clone() for key, value in module.state_dict().items()}
    for key in state:
        if key.startswith("Mixed_7c.") and key.endswith(("bn.weight", "bn.bias")):
            state[key] *= _SCALE
    return state
