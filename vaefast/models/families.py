"""Families of distributions p(x|z) that a decoder's output is read as.

Everywhere: `raw` is what the decoder returns, [B, `channels_out(c)`, *space] for data x of [B, c, *space] (uint8, or float in
[0, 1]); likelihoods are sums over an example, in nats.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models import categorical, logistic_mixture
from vaefast.models.images import gives_logits
from vaefast.models.likelihood import bernoulli_nll
from vaefast.models.noise_level import NoiseLevel
from vaefast.nets.shapes import whole_number


class Family(nn.Module):
    """A family of distributions of one example given what a decoder returns.

    Args:
        from_logits: the mean is sigmoid(raw), in [0, 1]; else `raw` itself.
    """

    name = ""

    def __init__(self, *, from_logits: bool = False) -> None:
        super().__init__()
        self.from_logits = from_logits

    def channels_out(self, channels: int) -> int:
        """Channels that a decoder must return for data of so many."""
        return channels

    def uniforms(self, channels: int) -> int:
        """Uniform numbers that a draw of one pixel takes."""
        return channels

    def nll(self, x: Tensor, raw: Tensor) -> Tensor:
        """-log p(x|z) of each example, [B]."""
        raise NotImplementedError

    def mean(self, raw: Tensor) -> Tensor:
        """Mean of p(x|z), [B, c, *space]."""
        return torch.sigmoid(raw) if self.from_logits else raw

    def sample(self, raw: Tensor, generator: torch.Generator | None = None, *, uniforms: Tensor | None = None) -> Tensor:
        """x ~ p(x|z), [B, c, *space], not clipped.

        `uniforms`, [B, uniforms(c), *space] in [0, 1), are what it is made of; drawn by `generator` if not given.
        """
        if uniforms is None:
            shape = (len(raw), self._uniforms_of(raw), *raw.shape[2:])
            uniforms = torch.rand(shape, generator=generator, device=raw.device, dtype=raw.dtype)
        eps = torch.finfo(uniforms.dtype).eps
        return self._from_uniforms(raw, uniforms.clamp(0.5 * eps, 1 - eps))

    def _uniforms_of(self, raw: Tensor) -> int:
        return raw.shape[1]

    def _from_uniforms(self, raw: Tensor, u: Tensor) -> Tensor:
        raise NotImplementedError


class Gaussian(Family, NoiseLevel):
    """N(mean, gamma^2 I).

    Args:
        gamma: "learned" (a trained scalar, starting at `gamma_init`), "optimal" (the closed form of each batch) or a number.
        gamma_init: first value of a learned gamma.
        from_logits: see `Family`.
    """

    name = "gaussian"

    def __init__(self, gamma: str | float = "learned", *, gamma_init: float = 1.0, from_logits: bool = False) -> None:
        super().__init__(from_logits=from_logits)
        self._set_gamma(gamma, gamma_init)

    def nll(self, x: Tensor, raw: Tensor) -> Tensor:
        return self._scaled_nll(x, raw, from_logits=self.from_logits, kind=self.name)

    def _from_uniforms(self, raw: Tensor, u: Tensor) -> Tensor:
        return self.mean(raw) + self.gamma * torch.special.ndtri(u)


class Laplace(Gaussian):
    """Laplace(mean, gamma): density exp(-|x - mean| / gamma) / (2 gamma) of each value. Arguments as for `Gaussian`."""

    name = "laplace"

    def _from_uniforms(self, raw: Tensor, u: Tensor) -> Tensor:
        centred = u - 0.5
        return self.mean(raw) - self.gamma * centred.sign() * torch.log1p(-2 * centred.abs())


class Bernoulli(Family):
    """Bernoulli(sigmoid(raw)): proper for data of 0 and 1, cross-entropy for grey values."""

    name = "bernoulli"

    def __init__(self) -> None:
        super().__init__(from_logits=True)

    def nll(self, x: Tensor, raw: Tensor) -> Tensor:
        return bernoulli_nll(x, raw)

    def _from_uniforms(self, raw: Tensor, u: Tensor) -> Tensor:
        return (u < self.mean(raw)).to(raw.dtype)


class Categorical(Family):
    """A probability for each level of a grey pixel, of which raw [B, levels, *space] are the logits.

    Args:
        levels: 2 to 256; level n stands for n / (levels - 1).
    """

    name = "categorical"

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        if not 2 <= whole_number("levels", levels) <= 256:
            raise ArgumentError(f"levels is {levels}; expected 2 to 256.")
        self.levels = levels

    def channels_out(self, channels: int) -> int:
        if channels != 1:
            raise ArgumentError(f"family 'categorical' models grey images; these have {channels} channels. Use logistic-mixture.")
        return self.levels

    def nll(self, x: Tensor, raw: Tensor) -> Tensor:
        return categorical.nll(x, raw)

    def mean(self, raw: Tensor) -> Tensor:
        return categorical.mean(raw)

    def _uniforms_of(self, raw: Tensor) -> int:
        return 1

    def _from_uniforms(self, raw: Tensor, u: Tensor) -> Tensor:
        edges = torch.softmax(raw, 1).cumsum(1)
        level = (u >= edges).sum(1, keepdim=True).clamp_max(self.levels - 1)
        return level.to(raw.dtype) / (self.levels - 1)


class LogisticMixture(Family):
    """Discretised mixture of logistics over the 256 values of 8-bit pixels; see `vaefast.nets.logistic_mixture`.

    Args:
        channels: c of the data [B, c, *space].
        components: logistics in a pixel's mixture.
    """

    name = "logistic-mixture"

    def __init__(self, channels: int, components: int = 10) -> None:
        super().__init__()
        self.channels, self.components = whole_number("channels", channels), whole_number("components", components)

    def channels_out(self, channels: int) -> int:
        return logistic_mixture.raw_channels(channels, self.components)

    def uniforms(self, channels: int) -> int:
        return 1 + channels

    def nll(self, x: Tensor, raw: Tensor) -> Tensor:
        return logistic_mixture.nll(x, raw)

    def mean(self, raw: Tensor) -> Tensor:
        return logistic_mixture.mean(raw, self.channels)

    def _uniforms_of(self, raw: Tensor) -> int:
        return self.uniforms(self.channels)

    def _from_uniforms(self, raw: Tensor, u: Tensor) -> Tensor:
        return logistic_mixture.sample(raw, u)


FamilyName = Literal["bernoulli", "gaussian", "laplace", "logistic-mixture", "categorical"]
FAMILIES: tuple[FamilyName, ...] = get_args(FamilyName)


def make_family(name: str, channels: int, decoder: nn.Module | None = None, *, gamma: str | float = "learned",
                gamma_init: float = 1.0, components: int = 10, levels: int = 256) -> Family:
    """The family `name` for data of `channels` channels.

    Args:
        decoder: says in its attribute `output` whether a Gaussian's or Laplace's mean is the sigmoid of what it returns
            ("logits"). Without a decoder it is.
        gamma, gamma_init: of "gaussian" and "laplace". components: of "logistic-mixture". levels: of "categorical".

    Raises:
        ArgumentError: another name, a setting that cannot work, or a decoder that returns no logits for "bernoulli".
    """
    logits = decoder is None or gives_logits(decoder)
    if name == "bernoulli":
        if not logits:
            raise ArgumentError("family 'bernoulli' needs a decoder that returns logits (attribute output = 'logits').")
        return Bernoulli()
    if name == "gaussian":
        return Gaussian(gamma, gamma_init=_above_zero(gamma_init), from_logits=logits)
    if name == "laplace":
        return Laplace(gamma, gamma_init=_above_zero(gamma_init), from_logits=logits)
    if name == "logistic-mixture":
        return LogisticMixture(channels, components)
    if name == "categorical":
        return Categorical(levels)
    raise ArgumentError(f"family is {name!r}; expected one of {', '.join(FAMILIES)}.")


def _above_zero(gamma_init: float) -> float:
    if not 0 < gamma_init < math.inf:
        raise ArgumentError(f"gamma_init is {gamma_init!r}; expected a number above 0.")
    return gamma_init
