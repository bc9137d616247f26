"""The noise level of a decoder whose errors are scaled by one gamma: fixed, learned, or in closed form."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models.likelihood import gaussian_nll, laplace_nll, optimally_scaled_nll

GAMMA_DECAY = 0.99
"""Decay of the moving mean of the closed-form log gamma, which is what evaluation uses."""
_EARLY = 10
"""It is (1 + t) / (10 + t) after t batches, where that is less: gamma falls fast at first, and one that lags spoils scores."""


Gamma = Literal["learned", "optimal"] | float
"""How large a decoder's noise is: learned by gradient, the optimum for the weights as they are, or a number."""


class NoiseLevel(nn.Module):
    """A scalar `log_gamma`, and the likelihood of data at it. With `sync` set, the closed form is of all processes' batch.

    In closed form `gamma_batches` counts those that its moving mean has seen.
    """

    log_gamma: Tensor
    gamma_batches: Tensor
    sync = False

    def _set_gamma(self, gamma: str | float, gamma_init: float, *, learns: bool = True) -> None:
        """Register `log_gamma`: a parameter if gamma is "learned" and the model `learns` it; a buffer otherwise."""
        number = isinstance(gamma, (int, float)) and not isinstance(gamma, bool) and 0 < gamma < math.inf
        if gamma not in ("learned", "optimal") and not number:
            raise ArgumentError(f"gamma is {gamma!r}; expected 'learned', 'optimal' or a number above 0.")
        self.gamma_mode = gamma
        start = torch.tensor(math.log(gamma_init if isinstance(gamma, str) else gamma))
        if gamma == "learned" and learns:
            self.log_gamma = nn.Parameter(start)
        else:
            self.register_buffer("log_gamma", start)
        if gamma == "optimal":
            self.register_buffer("gamma_batches", torch.zeros((), dtype=torch.long))

    def read_older(self, state: dict[str, Tensor], prefix: str) -> None:
        """Of files from before batches were counted: as if many had been seen. Models without that noise could have a count."""
        if hasattr(self, "gamma_batches"):
            state.setdefault(f"{prefix}gamma_batches", torch.tensor(10**6))
        elif self.gamma_mode == "learned" and "log_gamma" in self._buffers:
            state.pop(f"{prefix}gamma_batches", None)

    @property
    def gamma(self) -> Tensor:
        """Scale of the decoder's noise, a scalar: its standard deviation, of a Gaussian."""
        return self.log_gamma.detach().exp()

    def _scaled_nll(self, x: Tensor, raw: Tensor, *, from_logits: bool, kind: str = "gaussian") -> Tensor:
        """-log p(x|z), [B], of the decoder's output as it comes: with `from_logits` its sigmoid is taken within the sum."""
        if self.gamma_mode != "optimal" or not self.training:
            nll = (gaussian_nll if kind == "gaussian" else laplace_nll)(x, raw, self.log_gamma, from_logits=from_logits)
            assert isinstance(nll, Tensor)
            return nll
        scaled_nll, log_gamma = optimally_scaled_nll(x, raw, from_logits=from_logits, sync=self.sync, kind=kind)
        with torch.no_grad():
            share = ((_EARLY - 1) / (_EARLY + self.gamma_batches)).clamp_min(1 - GAMMA_DECAY)
            self.log_gamma.lerp_(log_gamma.to(self.log_gamma.dtype), share.to(self.log_gamma.dtype))
            self.gamma_batches += 1
        return scaled_nll
