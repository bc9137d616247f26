"""Training on the fused kernels follows training on the reference: same seeds, same curve."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vaefast import data, ops
from vaefast.models import VAE

STEPS, BATCH = 200, 64


def curve(backend: str) -> torch.Tensor:
    """Loss of every step of a small VAE with a learned gamma on the UCI digits."""
    images = data.load("digits").images
    with ops.backend(backend):
        torch.manual_seed(0)
        d = images[0].numel()
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(d, 64), nn.ReLU(), nn.Linear(64, 16))
        decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, d), nn.Sigmoid(), nn.Unflatten(1, images.shape[1:]))
        vae = VAE(encoder, decoder, data_shape=tuple(images.shape[1:]), latent_dim=8)
        adam = torch.optim.Adam(vae.parameters(), lr=1e-3)
        losses = []
        for _ in range(STEPS):
            loss = vae(images[torch.randint(len(images), (BATCH,))])["loss"]
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.detach())
    return torch.stack(losses).double()


def test_two_hundred_steps_on_each_backend():
    if ops.backends()["reparam_kl"]["cpu"].backend != "cpp":
        pytest.skip("the compiled core is not built")
    fused, reference = curve("cpp"), curve("reference")
    assert fused[-1] < fused[0] - 100  # it has learned something
    torch.testing.assert_close(fused[:20], reference[:20], rtol=1e-5, atol=0)
    torch.testing.assert_close(fused, reference, rtol=1e-3, atol=0)
