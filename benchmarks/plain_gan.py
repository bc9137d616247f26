"""The GAN loop that vaefast is held against: what a good user writes in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.plain import LATENT, endless


def generator() -> nn.Module:
    """The neutral generator of torch's own layers, for 28x28."""
    return nn.Sequential(
        nn.Linear(LATENT, 1024), nn.BatchNorm1d(1024), nn.LeakyReLU(0.2),
        nn.Linear(1024, 128 * 7 * 7), nn.BatchNorm1d(128 * 7 * 7), nn.LeakyReLU(0.2),
        nn.Unflatten(1, (128, 7, 7)), nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(64, 1, 4, 2, 1), nn.Sigmoid())


def discriminator(batch_norm: bool) -> nn.Module:
    """The neutral discriminator."""
    def norm(layer: nn.Module) -> nn.Module:
        return layer if batch_norm else nn.Identity()

    return nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(64, 128, 4, 2, 1), norm(nn.BatchNorm2d(128)), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(128 * 7 * 7, 1024), norm(nn.BatchNorm1d(1024)), nn.LeakyReLU(0.2), nn.Linear(1024, 1))


def slope_penalty(d: nn.Module, x: Tensor, fake: Tensor) -> Tensor:
    """WGAN-GP's."""
    share = torch.rand(len(x), 1, 1, 1, device=x.device)
    point = (share * x + (1 - share) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(d(point).sum(), point, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


def gan_step(loss: str, images: Tensor, batch_size: int, device: torch.device) -> Callable[[], None]:
    """One iteration on uint8 images, D's update and G's ("ns" or "wgan-gp"): one pass through G for both, losses read for the
    bar. As in PyTorch's own DCGAN example, G's update computes gradients for D, too, which nobody uses."""
    penalised = loss == "wgan-gp"
    g, d = generator().to(device), discriminator(not penalised).to(device)
    of_g, of_d = (torch.optim.Adam(m.parameters(), lr=1e-4, betas=(0.5, 0.999)) for m in (g, d))
    loader = DataLoader(TensorDataset(images.float() / 255), batch_size, shuffle=True, drop_last=True,
                        pin_memory=device.type == "cuda")
    batches = endless(loader)
    ones, zeros = torch.ones(batch_size, 1, device=device), torch.zeros(batch_size, 1, device=device)

    def step() -> None:
        (x,) = next(batches)
        x = x.to(device, non_blocking=True)
        fake = g(2 * torch.rand(len(x), LATENT, device=device) - 1)
        detached = fake.detach()
        if penalised:
            loss_d = d(detached).mean() - d(x).mean() + 10 * slope_penalty(d, x, detached)
        else:
            loss_d = cross_entropy(d(x), ones) + cross_entropy(d(detached), zeros)
        of_d.zero_grad()
        loss_d.backward()
        of_d.step()
        said = d(fake)
        loss_g = -said.mean() if penalised else cross_entropy(said, ones)
        of_g.zero_grad()
        loss_g.backward()
        of_g.step()
        loss_d.item(), loss_g.item()

    return step
