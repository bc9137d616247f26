"""Flow matching on codes: a velocity field that carries N(0, I) to where codes lie, along straight lines.

Source: Lipman et al. 2023, "Flow Matching for Generative Modeling"; Liu et al. 2023, "Flow Straight and Fast"; times by the
logistic of a normal as in Esser et al. 2024, "Scaling Rectified Flow Transformers", section 3.1; guidance: Ho & Salimans 2022,
"Classifier-Free Diffusion Guidance".
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError, DataError
from vaefast.models.condition import conditions_for, is_conditional, look_at_conditions, unknown_condition
from vaefast.models.doors import takes_codes, takes_images
from vaefast.models.mode import evaluating
from vaefast.models.ode import integrate
from vaefast.models.standardiser import KeepsUnits, Standardiser
from vaefast.nets.shapes import whole_number
from vaefast.torch_private import has_values

STEPS = 10
"""Of the solver, between codes and N(0, I), where nothing is said."""
EXACT_DIMENSIONS = 64
"""Up to so many, `log_prob` takes the divergence as it is; beyond, by Hutchinson's estimate."""


class FlowMatching(KeepsUnits):
    """A flow dx/dt = v(x, t) from u ~ N(0, I) at t = 0 to codes z at t = 1, trained by regression on z - u.

    Args:
        velocity: (x [B, k], t [B], labels [B] or None) -> [B, k], such as `vaefast.nets.VelocityNet`. One that has
            `condition_dim` takes vectors [B, condition_dim] for labels, here and wherever there are labels.
        latent_dim: k.
        unlabelled: share of the labels that are left out in training, for guidance.

    Codes are standardised inside: `standardise` says with what; until then with mean 0 and deviation 1. With classes, `shares`
    are those of the training data's labels, by which samples that are asked of no class are drawn. Vectors are standardised by
    the training data's, and samples have to be asked of one.
    """

    mean: Tensor
    std: Tensor
    shares: Tensor
    units = ("mean", "std", "shares")

    def __init__(self, velocity: nn.Module, latent_dim: int, *, unlabelled: float = 0.1) -> None:
        super().__init__()
        if not 0 <= unlabelled <= 1:
            raise ArgumentError(f"unlabelled is {unlabelled!r}; expected a share from 0 to 1.")
        self.velocity, self.latent_dim, self.unlabelled = velocity, whole_number("latent_dim", latent_dim), unlabelled
        self.data_shape = (self.latent_dim,)
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("std", torch.ones(latent_dim))
        if self.classes:
            self.register_buffer("shares", torch.full((self.classes,), 1 / self.classes))
        if self.condition_dim:
            self.condition_units = Standardiser((self.condition_dim,))

    @property
    def classes(self) -> int:
        """Number of classes of the labels; 0 where there are none."""
        return getattr(self.velocity, "classes", 0)

    @property
    def condition_dim(self) -> int:
        """Numbers of the vectors in the place of labels; 0 where there are none."""
        return getattr(self.velocity, "condition_dim", 0)

    @torch.no_grad()
    def standardise(self, mean: Tensor, std: Tensor) -> FlowMatching:
        """Take codes as (z - mean) / std, [k] each. A dimension that does not vary keeps its scale."""
        for name, value in (("mean", mean), ("std", std)):
            if value.shape != self.mean.shape or not value.isfinite().all():
                raise DataError(f"{name} of the codes has shape {list(value.shape)} or is not finite; "
                                f"expected finite numbers of shape [{self.latent_dim}].")
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, 1.0))
        return self

    def look_at(self, source: Any) -> None:
        """Take the scale of the codes that will be trained on, whose `moments()` are their mean and deviation, [k] each, and the
        shares of their `labels`, or the units of their vectors."""
        self.standardise(*source.moments())
        look_at_conditions(self, source.labels)

    @takes_images
    def loss(self, z: Tensor, labels: Tensor | None = None, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Squared error of the velocity of codes z [B, k] at random times, a mean over codes and dimensions: `loss`."""
        x1 = self._standardised(z)
        x0 = torch.randn(x1.shape, generator=generator, device=x1.device, dtype=x1.dtype)
        t = torch.randn(len(x1), generator=generator, device=x1.device, dtype=x1.dtype).sigmoid()
        if labels is not None:
            none = torch.rand(len(x1), generator=generator, device=x1.device) < self.unlabelled
            labels = (torch.where(none[:, None], torch.nan, self.condition_units(labels)) if self.condition_dim
                      else torch.where(none, self.classes, labels))
        predicted = self.velocity(torch.lerp(x0, x1, t[:, None]), t, labels)
        return {"loss": (predicted.float() - (x1 - x0)).square().mean()}

    forward = loss

    def _standardised(self, z: Tensor) -> Tensor:
        """Codes in the flow's units, in the dtype of its network."""
        return ((z - self.mean) / self.std).to(self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.velocity.parameters()), self.mean.dtype)

    def prior(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws u ~ N(0, I), [n, k]."""
        return torch.randn(n, self.latent_dim, generator=generator, device=self.mean.device, dtype=self._dtype)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None, *, steps: int = STEPS, solver: str = "heun",
               condition: Any = None, guidance: float = 1.0) -> Tensor:
        """n codes, [n, k]: `decode` of draws from N(0, I), of classes where `condition` says so: one for all, or n of them; None:
        of classes drawn by their shares. Of vectors, which have to be given, likewise.

        Raises:
            ArgumentError: a condition that it does not know, or of a class of which there were no codes; options as of `decode`.
        """
        condition = conditions_for(self, n, condition, generator)
        return self.decode(self.prior(n, generator), steps=steps, solver=solver, condition=condition, guidance=guidance)

    @takes_codes
    @torch.no_grad()
    def decode(self, u: Tensor, *, steps: int = STEPS, solver: str = "heun", condition: Any = None,
               guidance: float = 1.0) -> Tensor:
        """Codes of u [B, k], carried from t = 0 to 1.

        Args:
            steps: of the solver, at least 1.
            solver: "euler", "midpoint" or "heun" (the last two look at the velocity twice a step).
            condition: what a velocity that knows classes, or vectors, is told: one for all, or one a row. None: it is told none.
            guidance: 1: the velocity of the class; above, away from that without a class.

        Raises:
            ArgumentError: a number or condition that cannot work, guidance without a condition, or so much that nothing finite
                comes of it.
        """
        with evaluating(self):
            codes = self._carry(u, 0.0, 1.0, steps, solver, self._guided(condition, guidance)) * self.std + self.mean
        if guidance != 1 and has_values(codes) and not codes.isfinite().all():
            raise ArgumentError(f"guidance is {guidance}, which carries codes beyond what floats hold; 1.5 to 4 is usual.")
        return codes

    @takes_images
    @torch.no_grad()
    def encode(self, z: Tensor, *, steps: int = STEPS, solver: str = "heun", condition: Any = None) -> Tensor:
        """u of codes z [B, k]: the way back from t = 1 to 0; `condition` as of `decode`."""
        with evaluating(self):
            return self._carry(self._standardised(z), 1.0, 0.0, steps, solver, self._guided(condition, 1.0))

    @takes_images
    def log_prob(self, z: Tensor, *, steps: int = 50, solver: str = "heun", condition: Any = None,
                 generator: torch.Generator | None = None) -> Tensor:
        """Log density of codes z [B, k] in nats, [B], by the change of volume along the way back; of those of a `condition`, as
        of `decode`.

        The divergence of the velocity is exact up to 64 dimensions, and beyond that Hutchinson's estimate with one direction of
        signs a code: unbiased, and noisy.
        """
        field = self._guided(condition, 1.0)
        x = self._standardised(z)
        sign = None
        if self.latent_dim > EXACT_DIMENSIONS:
            sign = torch.randint(0, 2, x.shape, generator=generator, device=x.device).to(x.dtype) * 2 - 1

        def both(state: tuple[Tensor, ...], t: Tensor) -> tuple[Tensor, ...]:
            with torch.enable_grad():
                x = state[0].detach().requires_grad_()
                v = field(x, t)
                return v.detach(), divergence(v, x, sign)

        with evaluating(self):
            u, volume = integrate(both, (x, torch.zeros_like(x[:, 0])), 1.0, 0.0, steps, solver)
        log_u = -0.5 * u.square().sum(1) - 0.5 * self.latent_dim * math.log(2 * math.pi)
        return log_u + volume - self.std.log().sum()

    def _carry(self, x: Tensor, start: float, stop: float, steps: int, solver: str,
               field: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return integrate(lambda state, t: (field(state[0], t),), (x,), start, stop, steps, solver)[0]

    def _guided(self, labels: Tensor | None, guidance: float) -> Callable[[Tensor, Tensor], Tensor]:
        """The velocity at one time of all points."""
        checked_guidance(guidance)
        if labels is not None and not is_conditional(self):
            raise unknown_condition(labels)
        if labels is not None and self.condition_dim:
            labels = self.condition_units(labels)
        if guidance != 1 and labels is None:
            raise ArgumentError(f"guidance is {guidance!r} without a condition, to which it would lead; give one, or guidance=1.")

        def field(x: Tensor, t: Tensor) -> Tensor:
            times = t.expand(x.shape[0])
            v = self.velocity(x, times, labels)
            if guidance == 1:
                return v
            free = self.velocity(x, times, None)
            return free + guidance * (v - free)

        return field


def checked_guidance(guidance: Any) -> None:
    """ArgumentError, where it is not a finite number."""
    number = isinstance(guidance, numbers.Real) or isinstance(guidance, Tensor) and guidance.ndim == 0
    if isinstance(guidance, bool) or not number or not math.isfinite(guidance):
        raise ArgumentError(f"guidance is {guidance!r}; expected a finite number: 1 for none, above 1 to lead further to the "
                            "class.")


def divergence(v: Tensor, x: Tensor, sign: Tensor | None) -> Tensor:
    """sum_i dv_i / dx_i of each row, [B]; with `sign`, its estimate sign . (dv/dx) sign."""
    if sign is not None:
        return (torch.autograd.grad(v, x, sign)[0] * sign).sum(1)
    total = torch.zeros_like(x[:, 0])
    for i in range(x.shape[1]):
        total += torch.autograd.grad(v[:, i].sum(), x, retain_graph=i + 1 < x.shape[1])[0][:, i]
    return total


