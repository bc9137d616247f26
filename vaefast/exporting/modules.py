"""What is exported of a model: plain modules without a random operator, whose noise is an input."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.models.flow_matching import FlowMatching
from vaefast.models.images import clipped
from vaefast.models.samplers import Mixture
from vaefast.models.vae import VAE

NOT_TO_ENCODE = ("decoder", "adversary", "perceptual")
NOT_TO_DECODE = ("encoder", "flow", "adversary", "perceptual", "discriminator", "regularizer")
"""Modules of a model's own that the other direction needs."""


def without(module: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """The module less those of its own modules, which the exported file should not carry; all else is shared with it."""
    lean = copy.copy(module)
    lean._modules = {name: part for name, part in module._modules.items() if name not in names}
    return lean


class EncoderPart(nn.Module):
    """Examples (and what they are conditioned on) -> mean and std of the posterior, [B, k] each."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first: Any = without(first, NOT_TO_ENCODE)

    def forward(self, x: Tensor, *told: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.first.encode(x, *told)
        return posterior.mean, posterior.std + torch.zeros_like(posterior.mean)  # of a point mass no expanded scalar


class DecoderPart(nn.Module):
    """Codes [B, k] (and what they are conditioned on) -> examples; images in [0, 1]."""

    def __init__(self, first: nn.Module, images: bool) -> None:
        super().__init__()
        self.first: Any = without(first, NOT_TO_DECODE)
        self.images = images

    def forward(self, z: Tensor, *told: Tensor) -> Tensor:
        decoded: Tensor = self.first.decode(z, *told)
        return clipped(decoded, None) if self.images else decoded


class PriorCodes(nn.Module):
    """Noise u [B, k] -> codes of the prior, std u."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, u: Tensor) -> Tensor:
        return u if self.std == 1 else self.std * u


class SecondVAECodes(nn.Module):
    """Noise u and eps [B, k] -> codes of the paper's second stage, z_hat(u) + gamma_z eps."""

    def __init__(self, second: VAE) -> None:
        super().__init__()
        self.second: Any = without(second, NOT_TO_DECODE)

    def forward(self, u: Tensor, eps: Tensor) -> Tensor:
        codes: Tensor = self.second.decode(u) + self.second.gamma * eps
        return codes


class FlowCodes(nn.Module):
    """Noise u [B, k] (and labels or vectors) -> what the flow carries it to; the solver's steps are unrolled."""

    def __init__(self, second: FlowMatching, steps: int) -> None:
        super().__init__()
        self.second, self.steps = second, steps

    def forward(self, u: Tensor, *told: Tensor) -> Tensor:
        return self.second.decode(u, steps=self.steps, condition=told[0] if told else None)


class MixtureCodes(nn.Module):
    """A uniform number `choice` [B] in [0, 1), noise eps [B, k] (and labels [B]) -> codes of a mixture of Gaussians, mean_j +
    L_j eps, where j is the component in whose share of [0, 1) the number lies.

    The mixture is float64; means and factors are rounded to float32 here, shares after they are added up.
    """

    edges: Tensor
    means: Tensor
    cholesky: Tensor
    known: Tensor

    def __init__(self, mixture: Mixture) -> None:
        super().__init__()
        weights = mixture.weights.double()[None]
        if mixture.classes:  # a row for each class, in which the others' components have no share
            labels = torch.arange(mixture.classes, device=weights.device)[:, None]
            weights = weights * (mixture.component_class[None] == labels)
        total = weights.sum(1, keepdim=True)
        self.labelled = mixture.classes > 0
        edges = weights.cumsum(1) / torch.where(total > 0, total, 1.0)
        # where the last component begins to have no end; components without a share before it end where they begin
        last = weights.shape[1] - 1 - (weights.flip(1) > 0).to(torch.uint8).argmax(1)
        edges = torch.where(torch.arange(weights.shape[1], device=weights.device) >= last[:, None], torch.inf, edges)
        self.register_buffer("edges", edges.float())
        self.register_buffer("means", mixture.means.float())
        self.register_buffer("cholesky", mixture.cholesky.float())
        self.register_buffer("known", torch.where(total[:, 0] > 0, 1.0, torch.nan).float())

    def forward(self, choice: Tensor, eps: Tensor, *told: Tensor) -> Tensor:
        edges = self.edges[told[0]] if self.labelled else self.edges
        component = (choice[:, None] >= edges).sum(1)
        codes = self.means[component] + (self.cholesky[component] @ eps[:, :, None])[:, :, 0]
        return codes * self.known[told[0]][:, None] if self.labelled else codes


class SamplerPart(nn.Module):
    """Noise (and labels or vectors) -> examples: codes by one module, decoded by another.

    Args:
        codes: noise -> codes.
        decoder: codes -> examples.
        noises: how many of the inputs are noise of the codes; the next is what is conditioned on, if there is one.
        tells_codes, tells_decoder: which of both are told it.
    """

    def __init__(self, codes: nn.Module, decoder: nn.Module, noises: int, tells_codes: bool, tells_decoder: bool) -> None:
        super().__init__()
        self.codes, self.decoder, self.noises = codes, decoder, noises
        self.tells_codes, self.tells_decoder = tells_codes, tells_decoder

    def forward(self, *inputs: Tensor) -> Tensor:
        noise, told = inputs[:self.noises], inputs[self.noises:]
        z = self.codes(*noise, *(told if self.tells_codes else ()))
        images: Tensor = self.decoder(z, *(told if self.tells_decoder else ()))
        return images
