"""A latent diffusion model as a good user writes it in plain PyTorch: DDPM's loss on standardised codes, DDIM's steps.

Source: Ho et al. 2020; the cosine schedule of Nichol & Dhariwal 2021; Song et al. 2021 (DDIM, eta 0).
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from vaefast.nets import VelocityNet

STEPS = 1000
LARGEST = 4.0
"""Of standardised codes: without a bound the first steps, whose share of signal is 1e-5, magnify the network's error."""


class PlainDiffusion:
    """The network is the flow's own, which predicts the noise here."""

    def __init__(self, k: int) -> None:
        torch.manual_seed(0)
        self.net = VelocityNet(k)
        t = torch.arange(STEPS + 1, dtype=torch.float64) / STEPS
        kept = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
        self.kept = (kept / kept[0]).clamp(1e-5, 1).float()

    def fit(self, mean: Tensor, std: Tensor, seconds: float, lr: float = 1e-3, batch: int = 512) -> float:
        """Train on draws of posteriors N(mean, std^2), [N, k] each, for so long; the seconds it took."""
        codes = mean + std * torch.randn_like(mean)
        self.center, self.scale = codes.mean(0), codes.std(0)
        optimizer = torch.optim.Adam(self.net.parameters(), lr=lr)
        average = {name: p.detach().clone() for name, p in self.net.named_parameters()}
        start, done = time.perf_counter(), 0
        while (passed := time.perf_counter() - start) < seconds:
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1, done / 200) * 0.5 * (1 + math.cos(math.pi * passed / seconds))
            rows = torch.randint(len(mean), (batch,))
            z = (mean[rows] + std[rows] * torch.randn(batch, mean.shape[1]) - self.center) / self.scale
            t = torch.randint(1, STEPS + 1, (batch,))
            kept, eps = self.kept[t, None], torch.randn_like(z)
            loss = (self.net(kept.sqrt() * z + (1 - kept).sqrt() * eps, t / STEPS) - eps).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            with torch.no_grad():
                for name, p in self.net.named_parameters():
                    average[name].lerp_(p, 1 - min(0.999, (1 + done) / (10 + done)))
        self.net.load_state_dict(average)
        self.done = done
        return time.perf_counter() - start

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None, steps: int = 50) -> Tensor:
        """n codes, [n, k]."""
        x = torch.randn(n, len(self.center), generator=generator)
        times = torch.linspace(STEPS, 0, steps + 1).round().long()
        for now, then in zip(times[:-1], times[1:], strict=True):
            eps = self.net(x, (now / STEPS).expand(n))
            z = ((x - (1 - self.kept[now]).sqrt() * eps) / self.kept[now].sqrt()).clamp(-LARGEST, LARGEST)
            x = self.kept[then].sqrt() * z + (1 - self.kept[then]).sqrt() * eps
        return x * self.scale + self.center
