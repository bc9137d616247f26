"""Orthogonal regularisation of weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def orthogonal_penalty(module: nn.Module) -> Tensor:
    """Half the sum of squared dot products between different rows of each convolution's and dense layer's weight [out, ...].

    A scalar with gradient 2 (W W^T with its diagonal zeroed) W; embeddings are left out. It may be large: BigGAN weighs it 1e-4.

    Source: Brock et al. 2019, section 3.1, equation 3, without the factor that the text has and the code has not.
    """
    penalties = []
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            rows = layer.weight.flatten(1)
            # |W W^T| = |W^T W|: the smaller of the two, and no mask, as a generator's first layer has 10,000s of rows
            gram = rows.T @ rows if rows.shape[0] > rows.shape[1] else rows @ rows.T
            penalties.append(0.5 * (gram.square().sum() - rows.square().sum(1).square().sum()))
    return torch.stack(penalties).sum()
