"""A Hugging Face Accelerate loop of one's own networks around vaefast's fused ops.

    pip install accelerate
    python examples/with_accelerate.py
    accelerate launch examples/with_accelerate.py --epochs 20            # on whatever `accelerate config` says

`ops.reparam_kl` draws the codes and takes the KL in one pass, `ops.gaussian_nll` reads the uint8 pixels; both keep little for
the backward pass, and run under autocast, DDP and torch.compile as any other op.
"""

from __future__ import annotations

import argparse

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vaefast import data, ops


class MLP(nn.Module):
    """A VAE of two layers each way, with a learned noise level gamma."""

    def __init__(self, pixels: int, latent_dim: int, width: int = 256) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, 2 * latent_dim))
        self.decoder = nn.Sequential(nn.Linear(latent_dim, width), nn.ReLU(), nn.Linear(width, pixels))
        self.log_gamma = nn.Parameter(torch.tensor(-1.0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.encoder(x / 255).chunk(2, 1)
        z, kl = ops.reparam_kl(mu, logvar)
        nll = ops.gaussian_nll(x, self.decoder(z).view(x.shape), self.log_gamma, from_logits=True)
        return nll.mean(), kl.mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--latent-dim", type=int, default=16)
    args = parser.parse_args()
    accelerator = Accelerator()
    images = data.load("digits")
    model = MLP(images.images[0].numel(), args.latent_dim)
    loader = DataLoader(images, 64, shuffle=True, drop_last=True)
    model, optimizer, loader = accelerator.prepare(model, torch.optim.Adam(model.parameters(), 1e-3), loader)
    for epoch in range(args.epochs):
        for x, _ in loader:
            nll, kl = model(x)
            optimizer.zero_grad()
            accelerator.backward(nll + kl)
            accelerator.clip_grad_norm_(model.parameters(), 100.0)
            optimizer.step()
        accelerator.print(f"epoch {epoch + 1}: nll {nll.item():.1f}, kl {kl.item():.1f} nats an image")


if __name__ == "__main__":
    main()
