"""Distributions of the columns of a table given what a decoder returns.

Everywhere: x is [B, c], a block of c columns that are distributed alike, `raw` what the decoder returns for them, [B, `width`];
likelihoods are in nats and of every entry, [B, c]. Numbers are standardised, counts whole numbers of 0 and more, words their
index, booleans 0 and 1. Counts are computed in float64 whatever they come in: their terms cancel in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models.images import full_precision
from vaefast.ops import HALF_LOG_2PI

FLOOR = 0.01
"""Least scale of a standardised number's noise. Without one a likelihood has no bound: Mattei & Frellsen 2018, section 2."""
LOG_RATES = (-20.0, 20.0)
"""What the logarithm of a rate is clamped to, and of a dispersion: beyond it a negative binomial is a Poisson."""


def gaussian_nll(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-log N(x; mean, scale^2)."""
    return 0.5 * ((x - mean) * torch.exp(-log_scale)).square() + log_scale + HALF_LOG_2PI


def laplace_nll(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-log of exp(-|x - mean| / scale) / (2 scale)."""
    return (x - mean).abs() * torch.exp(-log_scale) + log_scale + math.log(2)


def student_t_nll(x: Tensor, mean: Tensor, log_scale: Tensor, df: Tensor) -> Tensor:
    """-log of Student's t of `df` degrees of freedom, at (x - mean) / scale, over scale."""
    wide = df.double()  # two large logarithms of the gamma function that nearly cancel
    constant = torch.lgamma(wide / 2) - torch.lgamma((wide + 1) / 2) + 0.5 * torch.log(wide * math.pi)
    y = (x - mean) * torch.exp(-log_scale)
    spread = torch.hypot(torch.ones_like(y), y * torch.rsqrt(df))  # sqrt(1 + y^2 / df), of any y
    return (df + 1) * torch.log(spread) + log_scale + constant.to(y.dtype)


def poisson_nll(x: Tensor, log_rate: Tensor) -> Tensor:
    """rate - x log rate + log x!."""
    x, log_rate = x.double(), log_rate.double()
    return torch.exp(log_rate) - x * log_rate + torch.lgamma(x + 1)


def negative_binomial_nll(x: Tensor, log_mean: Tensor, log_dispersion: Tensor) -> Tensor:
    """-log of Gamma(x + r) / (Gamma(r) x!) (r / (r + m))^r (m / (r + m))^x, of mean m and dispersion r: variance m + m^2 / r."""
    x, log_mean, log_dispersion = x.double(), log_mean.double(), log_dispersion.double()
    r, odds = torch.exp(log_dispersion), log_mean - log_dispersion
    coefficient = torch.lgamma(x + 1) - _log_rising(x, r)
    return coefficient + r * _softplus(odds) + x * _softplus(-odds)


def _log_rising(x: Tensor, r: Tensor) -> Tensor:
    """log Gamma(x + r) - log Gamma(r), by Stirling's series where r is large and the two nearly cancel."""
    large = r > 1e4
    small, much = torch.where(large, 1.0, r), torch.where(large, r, 1e4)

    def rest(y: Tensor) -> Tensor:
        return 1 / (12 * y) - 1 / (360 * y**3)

    stirling = (much + x - 0.5) * torch.log1p(x / much) - x + x * torch.log(much) + rest(much + x) - rest(much)
    return torch.where(large, stirling, torch.lgamma(x + small) - torch.lgamma(small))


def zero_inflated_nll(x: Tensor, gate: Tensor, nll: Tensor, nll_of_zero: Tensor) -> Tensor:
    """-log of pi [x = 0] + (1 - pi) p(x) with pi = sigmoid(gate), from -log p(x) and -log p(0)."""
    never, else_ = F.logsigmoid(gate), F.logsigmoid(-gate)
    return torch.where(x == 0, -torch.logaddexp(never, else_ - nll_of_zero), nll - else_)


def bernoulli_nll(x: Tensor, logits: Tensor) -> Tensor:
    """-x log p - (1 - x) log(1 - p) with p = sigmoid(logits)."""
    return _softplus(logits) - x * logits


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)) to the last digit: torch's own is x from 20 on, whose error a large dispersion would multiply."""
    return -F.logsigmoid(-x)


class Margin(NamedTuple):
    """What a likelihood begins with, of a column: how many words it has, their shares, and the mean of counts and booleans."""

    words: int = 0
    shares: tuple[float, ...] = ()
    mean: float = 0.0


class ColumnLikelihood(nn.Module):
    """The distribution of c columns given a code; subclasses are the rows of `LIKELIHOODS`.

    Args:
        margins: of the c columns.
        scale: of the noise of numbers: "learned", one for each column; "predicted" from the code; or a number above 0, in
            standard deviations of the column.
    """

    name = ""
    kind = ""
    """Of the columns that it takes: "number", "count", "boolean" or "category"."""
    per_column = 1
    """Numbers of the decoder's that a column takes."""

    def __init__(self, margins: Sequence[Margin], scale: str | float = "learned") -> None:
        super().__init__()
        self.count, self.width = len(margins), self.per_column * len(margins)

    def start(self, margins: Sequence[Margin]) -> Tensor:
        """The decoder's bias [width] that gives the columns' own distributions."""
        return torch.zeros(self.width)

    def _split(self, raw: Tensor) -> tuple[Tensor, ...]:
        return full_precision(raw).unflatten(1, (-1, self.count)).unbind(1)

    def nll(self, x: Tensor, raw: Tensor) -> Tensor:
        """-log p(x|z), [B, c]."""
        raise NotImplementedError

    def log_prob(self, x: Tensor, raw: Tensor) -> Tensor:
        """log p(x|z), [B, c]."""
        return -self.nll(x, raw)

    def mean(self, raw: Tensor) -> Tensor:
        """Mean, [B, c]; of words, which have none, the most probable one."""
        raise NotImplementedError

    def mode(self, raw: Tensor) -> Tensor:
        """Most probable value, [B, c]."""
        return self.mean(raw)

    def draw(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """x ~ p(x|z), [B, c]."""
        raise NotImplementedError


class _Numbers(ColumnLikelihood):
    kind = "number"

    def __init__(self, margins: Sequence[Margin], scale: str | float = "learned") -> None:
        super().__init__(margins, scale)
        number = isinstance(scale, (int, float)) and not isinstance(scale, bool) and 0 < scale < math.inf
        if scale not in ("learned", "predicted") and not number:
            raise ArgumentError(f"scale is {scale!r}; expected 'learned', 'predicted' or a number above 0.")
        self.scale = scale
        if scale == "predicted":
            self.width *= 2
        elif scale == "learned":
            self.raw_scale = nn.Parameter(torch.zeros(self.count))

    def _location(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale, [B, c] and [B, c] or [c]."""
        mean, *rest = self._split(raw)
        if isinstance(self.scale, (int, float)):
            return mean, mean.new_tensor(math.log(self.scale))
        floor = math.log(FLOOR)
        return mean, floor + F.softplus((rest[0] if rest else self.raw_scale.to(mean.dtype)) - floor)

    def mean(self, raw: Tensor) -> Tensor:
        return self._location(raw)[0]


class Gaussian(_Numbers):
    """N(mean, scale^2)."""

    name = "gaussian"

    def nll(self, x: Tensor, raw: Tensor) -> Tensor:
        return gaussian_nll(x, *self._location(raw))

    def draw(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, log_scale = self._location(raw)
        return mean + log_scale.exp() * torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)


class Laplace(_Numbers):
    """Density exp(-|x - mean| / scale) / (2 scale)."""

    name = "laplace"

    def nll(self, x: Tensor, raw: Tensor) -> Tensor:
        return laplace_nll(x, *self._location(raw))

    def draw(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, log_scale = self._location(raw)
        u = _uniform(mean, generator) - 0.5
        return mean - log_scale.exp() * u.sign() * torch.log1p(-2 * u.abs())


class StudentT(_Numbers):
    """Student's t at (x - mean) / scale, whose degrees of freedom, above 1, are learned for each column."""

    name = "student-t"

    def __init__(self, margins: Sequence[Margin], scale: str | float = "learned") -> None:
        super().__init__(margins, scale)
        self.raw_df = nn.Parameter(torch.full((self.count,), 5.0))

    @property
    def df(self) -> Tensor:
        """Degrees of freedom, [c]."""
        return 1 + F.softplus(self.raw_df)

    def nll(self, x: Tensor, raw: Tensor) -> Tensor:
        mean, log_scale = self._location(raw)
        return student_t_nll(x, mean, log_scale, self.df.to(mean.dtype))

    def draw(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, log_scale = self._location(raw)
        u, angle = _uniform(mean, generator), 2 * math.pi * _uniform(mean, generator)
        df = self.df.to(mean.dtype)  # Bailey 1994, "Polar Generation of Random Variates with the t-Distribution"
        return mean + log_scale.exp() * torch.sqrt(df * torch.expm1(-2 / df * torch.log(u))) * torch.cos(angle)


class Poisson(ColumnLikelihood):
    """rate^x exp(-rate) / x!; the decoder gives log rate."""

    name, kind = "poisson", "count"

    def start(self, margins: Sequence[Margin]) -> Tensor:
        log_mean = torch.tensor([math.log(max(m.mean, 1e-3)) for m in margins])
        return torch.cat([log_mean, torch.zeros(self.width - self.count)])

    def _log_mean(self, raw: Tensor) -> Tensor:
        return self._split(raw)[0].double().clamp(*LOG_RATES)

    def _counts_nll(self, x: Tensor, raw: Tensor) -> Tensor:
        return poisson_nll(x, self._log_mean(raw))

    def _draw_counts(self, raw: Tensor, generator: torch.Generator | None) -> Tensor:
        return torch.poisson(self._log_mean(raw).exp(), generator=generator)

    def _counts_mode(self, raw: Tensor) -> Tensor:
        return self._log_mean(raw).exp().floor()

    def nll(self, x: Tensor, raw: Tensor) -> Tensor:
        return self._counts_nll(x, raw).to(x.dtype)

    def mean(self, raw: Tensor) -> Tensor:
        return self._log_mean(raw).exp().to(raw.dtype)

    def mode(self, raw: Tensor) -> Tensor:
        return self._counts_mode(raw).to(raw.dtype)

    def draw(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self._draw_counts(raw, generator).to(raw.dtype)


class NegativeBinomial(Poisson):
    """Counts of mean m, from the decoder, and dispersion r, learned for each column: variance m + m^2 / r."""

    name = "negative-binomial"

    def __init__(self, margins: Sequence[Margin], scale: str | float = "learned") -> None:
        super().__init__(margins, scale)
        self.log_dispersion = nn.Parameter(torch.zeros(self.count))

    def _dispersion(self) -> Tensor:
        return self.log_dispersion.double().clamp(*LOG_RATES)

    def _counts_nll(self, x: Tensor, raw: Tensor) -> Tensor:
        return negative_binomial_nll(x, self._log_mean(raw), self._dispersion())

    def _counts_mode(self, raw: Tensor) -> Tensor:
        r, m = self._dispersion().exp(), self._log_mean(raw).exp()
        return (m * (1 - 1 / r)).clamp_min(0).floor()

    def _draw_counts(self, raw: Tensor, generator: torch.Generator | None) -> Tensor:
        log_mean, r = self._log_mean(raw), self._dispersion().exp()
        return torch.poisson(log_mean.exp() * standard_gamma(r.expand_as(log_mean), generator) / r, generator=generator)


class _ZeroInflated(Poisson):
    """With probability sigmoid(gate), from the decoder, 0, and else as without it."""

    per_column = 2

    def start(self, margins: Sequence[Margin]) -> Tensor:
        return torch.cat([super().start(margins)[:self.count], torch.full((self.count,), -2.0)])

    def _gate(self, raw: Tensor) -> Tensor:
        return self._split(raw)[1].double()

    def nll(self, x: Tensor, raw: Tensor) -> Tensor:
        zero = self._counts_nll(torch.zeros_like(x), raw)
        return zero_inflated_nll(x, self._gate(raw), self._counts_nll(x, raw), zero).to(x.dtype)

    def mean(self, raw: Tensor) -> Tensor:
        return (torch.sigmoid(-self._gate(raw)) * self._log_mean(raw).exp()).to(raw.dtype)

    def mode(self, raw: Tensor) -> Tensor:
        there = super().mode(raw)
        return torch.where(self.nll(torch.zeros_like(there), raw) < self.nll(there, raw), torch.zeros_like(there), there)

    def draw(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        gate = self._gate(raw)
        counts = self._draw_counts(raw, generator)
        return torch.where(_uniform(gate, generator) < torch.sigmoid(gate), torch.zeros_like(counts), counts).to(raw.dtype)


class ZeroInflatedPoisson(_ZeroInflated):
    """A Poisson with more zeros. Source: Lambert 1992, "Zero-Inflated Poisson Regression"."""

    name = "zero-inflated-poisson"


class ZeroInflatedNegativeBinomial(_ZeroInflated, NegativeBinomial):
    """A negative binomial with more zeros."""

    name = "zero-inflated-negative-binomial"


class Bernoulli(ColumnLikelihood):
    """1 with probability sigmoid(raw)."""

    name, kind = "bernoulli", "boolean"

    def start(self, margins: Sequence[Margin]) -> Tensor:
        return torch.tensor([m.mean for m in margins]).clamp(1e-3, 1 - 1e-3).logit()

    def nll(self, x: Tensor, raw: Tensor) -> Tensor:
        return bernoulli_nll(x, full_precision(raw))

    def mean(self, raw: Tensor) -> Tensor:
        return torch.sigmoid(full_precision(raw))

    def mode(self, raw: Tensor) -> Tensor:
        return (raw > 0).to(raw.dtype)

    def draw(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean = self.mean(raw)
        return (_uniform(mean, generator) < mean).to(raw.dtype)


class Categorical(ColumnLikelihood):
    """One of a column's words, with probabilities softmax(raw); the columns' logits stand one after the other in raw."""

    name, kind = "categorical", "category"
    _place: Tensor
    _absent: Tensor

    def __init__(self, margins: Sequence[Margin], scale: str | float = "learned") -> None:
        super().__init__(margins, scale)
        words = [m.words for m in margins]
        if min(words) < 1:
            raise ArgumentError("a categorical column has no words; expected 1 or more.")
        self.width, most = sum(words), max(words)
        # a rectangle [c, most] of all columns' logits, which one softmax takes
        within, first = torch.arange(most), torch.tensor(words).cumsum(0) - torch.tensor(words)
        absent = within >= torch.tensor(words)[:, None]
        self.register_buffer("_absent", absent, persistent=False)
        self.register_buffer("_place", (first[:, None] + within).masked_fill(absent, 0).flatten(), persistent=False)

    def start(self, margins: Sequence[Margin]) -> Tensor:
        shares = [m.shares or (1 / m.words,) * m.words for m in margins]
        return torch.cat([torch.tensor(s).clamp_min(1e-3).log() for s in shares])

    def log_probabilities(self, raw: Tensor) -> Tensor:
        """Of every word, [B, c, most words]; -infinity of those that a column has not."""
        logits = full_precision(raw).index_select(1, self._place).unflatten(1, self._absent.shape)
        return F.log_softmax(logits.masked_fill(self._absent, -math.inf), -1)

    def nll(self, x: Tensor, raw: Tensor) -> Tensor:
        return -self.log_probabilities(raw).gather(-1, x.long()[..., None])[..., 0]

    def mean(self, raw: Tensor) -> Tensor:
        return self.log_probabilities(raw).argmax(-1).to(raw.dtype)

    def draw(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        log_p = self.log_probabilities(raw)
        waits = torch.empty_like(log_p).exponential_(generator=generator)  # the first to come, at rates p
        return (log_p - waits.log()).argmax(-1).to(raw.dtype)


LIKELIHOODS: Mapping[str, type[ColumnLikelihood]] = {row.name: row for row in (
    Gaussian, Laplace, StudentT, Poisson, NegativeBinomial, ZeroInflatedPoisson, ZeroInflatedNegativeBinomial, Bernoulli,
    Categorical)}
"""By name. A new one is a class and its place here."""
USUAL = {"number": "gaussian", "count": "negative-binomial", "boolean": "bernoulli", "category": "categorical"}
"""The likelihood of a kind of columns, where none is named."""


class ColumnLikelihoods(nn.Module):
    """All columns of a table: those of one likelihood are computed together, as a block, whatever their number.

    Args:
        names: of the columns' likelihoods, C of `LIKELIHOODS`.
        margins: of the columns, C.
        scale: see `ColumnLikelihood`.

    `width` numbers of a decoder are read, block by block; `start` is a bias for it that gives every column's own distribution.

    Raises:
        ArgumentError: an unknown name, or a scale that cannot be.
    """

    order: Tensor
    back: Tensor

    def __init__(self, names: Sequence[str], margins: Sequence[Margin], scale: str | float = "learned") -> None:
        super().__init__()
        if unknown := next((name for name in names if name not in LIKELIHOODS), None):
            raise ArgumentError(f"likelihood is {unknown!r}; expected one of {', '.join(LIKELIHOODS)}.")
        blocks: dict[tuple[str, int], list[int]] = {}
        for i, (name, margin) in enumerate(zip(names, margins, strict=True)):
            # words of about one number (a factor of 2) share a rectangle, so that at most half of it is empty
            blocks.setdefault((name, max(margin.words - 1, 0).bit_length()), []).append(i)
        self.blocks = nn.ModuleList(LIKELIHOODS[name]([margins[i] for i in places], scale)
                                    for (name, _), places in blocks.items())
        order = torch.tensor([i for places in blocks.values() for i in places])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)
        self._counts = [block.count for block in self._all()]
        self._widths = [block.width for block in self._all()]
        self.width = sum(self._widths)
        kinds = [LIKELIHOODS[name].kind for name in names]
        self.discrete = [i for i, kind in enumerate(kinds) if kind in ("category", "boolean")]
        """Where columns of words and booleans stand."""
        self.values = [margins[i].words if kinds[i] == "category" else 2 for i in self.discrete]
        """How many values they have."""
        self.start = torch.cat([block.start([margins[i] for i in places])
                                for block, places in zip(self._all(), blocks.values())])

    def _all(self) -> list[ColumnLikelihood]:
        return list(self.blocks)  # type: ignore[arg-type]

    def _each(self, raw: Tensor) -> zip[tuple[ColumnLikelihood, Tensor]]:
        return zip(self._all(), raw.split(self._widths, 1))

    def entries(self, x: Tensor, raw: Tensor) -> Tensor:
        """-log p of every entry of x [B, C], [B, C]."""
        parts = x.index_select(1, self.order).split(self._counts, 1)
        return torch.cat([block.nll(part, r) for (block, r), part in zip(self._each(raw), parts)], 1).index_select(1, self.back)

    def nll(self, x: Tensor, raw: Tensor, observed: Tensor | None = None) -> Tensor:
        """-log p of rows x [B, C], [B]: the sum over the entries that are `observed` [B, C] (True), all if None. What stands in
        the others, such as 0, counts for nothing."""
        parts = x.index_select(1, self.order).split(self._counts, 1)
        nll = torch.cat([block.nll(part, r) for (block, r), part in zip(self._each(raw), parts)], 1)
        return (nll if observed is None else torch.where(observed.index_select(1, self.order), nll, 0)).sum(1)

    def mean(self, raw: Tensor) -> Tensor:
        """Means, [B, C]; of words the most probable one."""
        return self._gathered([block.mean(r) for block, r in self._each(raw)])

    def mode(self, raw: Tensor) -> Tensor:
        """The most probable value of every entry, [B, C]."""
        return self._gathered([block.mode(r) for block, r in self._each(raw)])

    def best(self, raw: Tensor) -> Tensor:
        """One value for every entry, [B, C]: the mean of numbers and counts, the most probable word or boolean."""
        return self._gathered([block.mode(r) if block.kind == "boolean" else block.mean(r) for block, r in self._each(raw)])

    def draw(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """x ~ p(x|z), [B, C]."""
        return self._gathered([block.draw(r, generator) for block, r in self._each(raw)])

    def _gathered(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts), 1).index_select(1, self.back)


def standard_gamma(shape: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draws of the gamma distribution of shape a > 0 and scale 1, float64, of any shape.

    torch's own sampler takes no generator. Source: Marsaglia & Tsang 2000, "A Simple Method for Generating Gamma Variables".
    """
    a = shape.double().contiguous().view(-1)
    d = torch.where(a < 1, a + 1, a) - 1 / 3
    c = torch.rsqrt(9 * d)
    drawn, left = torch.empty_like(a), torch.arange(len(a), device=a.device)
    while len(left):
        x = torch.randn(left.shape, generator=generator, device=a.device, dtype=a.dtype)
        v = (1 + c[left] * x).clamp_min(0) ** 3
        accepted = (v > 0) & (_uniform(x, generator).log() < 0.5 * x.square() + d[left] * (1 - v + v.log()))
        drawn[left[accepted]] = (d[left] * v)[accepted]
        left = left[~accepted]
    lowered = torch.where(a < 1, _uniform(a, generator).log() / a, 0).exp()
    return (drawn * lowered).view(shape.shape)


def _uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Between 0 and 1, neither of them."""
    u = torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    eps = torch.finfo(like.dtype).eps
    return u.clamp(0.5 * eps, 1 - eps)
