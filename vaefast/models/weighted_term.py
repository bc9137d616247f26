"""A term beside the reconstruction in an autoencoder's loss, and what it weighs: a number, or by the ratio of gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models.inner_gradients import norm_of_gradient, of_norms

Loss = Callable[..., dict[str, Tensor]]
TermWeight = float | Literal["adaptive"]
ADAPTIVE = "adaptive"
_MOST = 1e4
"""Where the term's gradient vanishes."""


class WeightedTerm(nn.Module):
    """Its weight is the buffer `weight`, which a stage's `ramps` can schedule; or, where it is "adaptive", what makes its
    gradient at the decoder's last layer `share` times that of the reconstruction, of each batch anew. The buffer holds the last.

    Args:
        name: of the argument, for errors.
        weight: above 0, or "adaptive".
        share: of the gradient, where it is adaptive.
        without: how the model is built without the term, for errors.

    Raises:
        ArgumentError: a weight that cannot work.

    Source: Esser et al. 2021, "Taming Transformers for High-Resolution Image Synthesis", equation 7.
    """

    weight: Tensor

    def __init__(self, name: str, weight: Any, share: float, without: str) -> None:
        super().__init__()
        self.adaptive, self.share = weight == ADAPTIVE, share
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not self.adaptive and not (number and 0 < weight < math.inf):
            raise ArgumentError(f"{name} is {weight!r}; expected a number above 0, or {ADAPTIVE!r} ({without} for none).")
        self.register_buffer("weight", torch.tensor(share if self.adaptive else float(weight)), persistent=False)

    def added(self, loss: Tensor, term: Tensor, decoder: nn.Module) -> Tensor:
        """loss + weight `term`; the weight goes by the gradients of both at the decoder's last layer, where it is adaptive."""
        if self.adaptive and torch.is_grad_enabled() and term.requires_grad:
            layer = last_layer(decoder)
            sizes = [norm_of_gradient(value, layer) for value in (loss, term)]
            weight = (self.share * sizes[0] / sizes[1].clamp_min(1e-12)).clamp_max(_MOST)
            self.weight.copy_(of_norms(weight, sizes, self.weight))
        return torch.addcmul(loss, self.weight, term)


def whole_where_adaptive(loss: Loss, *terms: WeightedTerm | None) -> Callable[[], Loss] | None:
    """`Player.compiled` of a loss with such terms: gradients inside a loss, which adaptive weights take, cannot be compiled."""
    return (lambda: loss) if any(term is not None and term.adaptive for term in terms) else None


def last_layer(decoder: nn.Module) -> nn.Parameter:
    """The weights of the decoder's last layer: its last trained matrix or kernel, in the order in which it lists them.

    Raises:
        ArgumentError: it has none.
    """
    layers = [p for p in decoder.parameters() if p.ndim > 1 and p.requires_grad]
    if not layers:
        raise ArgumentError("a weight is 'adaptive', which goes by the gradient at the decoder's last layer, and the decoder has "
                            "no layer that trains; give a number.")
    return layers[-1]
