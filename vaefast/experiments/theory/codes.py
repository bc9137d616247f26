"""Draws from the aggregate posteriors of a two-stage model."""

from __future__ import annotations

import torch
from torch import Tensor

from vaefast.models import TwoStageVAE
from vaefast.models.mode import evaluating


@torch.no_grad()
def aggregate_codes(model: TwoStageVAE, images: Tensor, n: int, *, seed: int, device: torch.device,
                    batch_size: int = 1000) -> tuple[Tensor, Tensor]:
    """n draws (fewer, where there are fewer images) of q(z) and of q(u): x -> z ~ q(z|x) -> u ~ q(u|z), [n, k] each.

    The images are drawn without replacement, and one code of each.
    """
    generator = torch.Generator(device).manual_seed(seed)
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n]
    z, u = [], []
    with evaluating(model):
        for index in chosen.split(batch_size):
            z.append(model.encode(images[index].to(device)).sample(generator))
            u.append(model.second.encode(z[-1]).sample(generator))
    return torch.cat(z), torch.cat(u)
