"""One WAE loss on a batch that the processes share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaefast.models import WAE
from vaefast.nets import use_global_batch


def values(rank: int, size: int) -> tuple[Tensor, Tensor]:
    """Penalty and loss, and the encoder's gradient, of this process's part of the batch."""
    torch.manual_seed(5)
    model = WAE(nn.Linear(4, 2), nn.Linear(2, 4), data_shape=(4,), latent_dim=2).double()
    use_global_batch(model)
    x = torch.rand(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(3)
    terms = model(x.chunk(size)[rank])
    terms["loss"].backward()
    return torch.stack([terms["penalty"].detach(), terms["loss"].detach()]), model.encoder.weight.grad
