"""The Fréchet distance (and KID) of a model's samples inside a training loop of one's own.

    python examples/fid_in_my_loop.py                                  # in features of a small network of one's own
    python examples/fid_in_my_loop.py --inception-weights FILE         # FID and KID, in Inception's
    python examples/fid_in_my_loop.py --features timm:resnet18@FILE    # in another network's (docs/metrics.md)

The real images are seen once. Compare distances of one extractor, and of equal counts, alone.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from vaefast import data, metrics, ops


class Own(nn.Module):
    """Random convolutions: any callable from images (uint8, or floats in [0, 1]) to rows [B, F] is an extractor."""
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 64, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(data.to_float(x)).flatten(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inception-weights", metavar="FILE")
    parser.add_argument("--features", metavar="NAME", help="a network that vaefast.metrics.named_extractor knows")
    parser.add_argument("--epochs", type=int, default=5)
    args, _ = parser.parse_args(), torch.manual_seed(0)
    extractor = (metrics.Inception(args.inception_weights) if args.inception_weights else
                 metrics.named_extractor(args.features) if args.features else Own().eval())
    images, k = data.load("digits").images, 16
    real = metrics.extract_features(extractor, images)
    known = metrics.GaussianStatistics(real.shape[1]).update(real)

    encoder = nn.Sequential(nn.Flatten(), nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, 2 * k))
    decoder = nn.Sequential(nn.Linear(k, 256), nn.ReLU(), nn.Linear(256, 1024), nn.Unflatten(1, (1, 32, 32)))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)
    for epoch in range(1, args.epochs + 1):
        for x in images[torch.randperm(len(images))].split(64):
            z, kl = ops.reparam_kl(*encoder(x / 255).chunk(2, 1))
            loss = (ops.gaussian_nll(x, decoder(z), torch.tensor(-1.5), from_logits=True) + kl).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            fake = metrics.extract_features(extractor, decoder(torch.randn(1000, k)).sigmoid())
        distance = known.distance(metrics.GaussianStatistics(fake.shape[1]).update(fake))
        kid = metrics.kid(real, fake, subset_size=500)
        print(f"epoch {epoch}: loss {loss.item():.1f}, Fréchet distance {distance:.4f}, KID {kid.mean:.5f} +- {kid.std:.5f}")


if __name__ == "__main__":
    main()
