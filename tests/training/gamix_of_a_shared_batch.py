"""One GAMIX loss on a batch that the processes share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaefast.models import GAMIXVAE
from vaefast.nets import use_global_batch


def values(rank: int, size: int) -> tuple[Tensor, Tensor]:
    """Loss and global KL, whole and accumulated in two parts, and the encoder's gradients of this process's rows."""
    torch.manual_seed(5)
    model = GAMIXVAE(nn.Linear(4, 4), nn.Linear(2, 4), data_shape=(4,), latent_dim=2, var="mixture", memory=2,
                     reconstruction_weight=0.0).double()
    use_global_batch(model)
    x = torch.rand(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).chunk(size)[rank]
    autoencoder, = model.players()
    found: list[Tensor] = []
    gradients: list[Tensor] = []
    for parts in ([(x,)], [(p,) for p in x.chunk(2)]):
        model.zero_grad()
        with autoencoder.around(parts):
            for part in parts:
                terms = autoencoder.loss(*part)
                (terms["loss"] / len(parts)).backward()
                found += [terms["global_kl"].detach(), terms["kl_largest"]] if len(parts) == 1 else [terms["global_kl"].detach()]
        gradients.append(model.encoder.weight.grad.clone())
    return torch.stack(found), torch.stack(gradients)
