"""Normalizing flows: maps z -> z' of [B, k] with the log of their Jacobian's absolute determinant, [B].

Their parameters are shared by all inputs (they are not amortised). All begin as the identity.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.nets.shapes import whole_number

ONE = math.log(math.e - 1)
"""softplus(ONE) = 1."""


class PlanarFlow(nn.Module):
    """z' = z + u_hat tanh(w.z + b), kept invertible by w.u_hat = -1 + softplus(w.u) > -1.

    Source: Rezende & Mohamed 2015, section 4.1 and appendix A.1.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        w = torch.randn(latent_dim) / math.sqrt(latent_dim)
        self.w, self.b = nn.Parameter(w), nn.Parameter(torch.zeros(()))
        self.u = nn.Parameter(ONE * w / w.square().sum())  # u_hat = 0: the identity

    def u_hat(self) -> Tensor:
        """The direction in which z moves, [k]."""
        wu = self.w @ self.u
        return self.u + (F.softplus(wu) - 1 - wu) * self.w / self.w.square().sum()

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        t = torch.tanh(z @ self.w + self.b)
        # 1 + u_hat . psi with psi = (1 - t^2) w, as a sum of two numbers that are not negative: nothing cancels
        square = t.square()
        log_det = torch.log(square + (1 - square) * F.softplus(self.w @ self.u))
        return torch.addcmul(z, t[:, None], self.u_hat()), log_det


class RadialFlow(nn.Module):
    """z' = z + beta (z - c) / (alpha + |z - c|), kept invertible by beta = -alpha + softplus(b) > -alpha, alpha > 0.

    Source: Rezende & Mohamed 2015, section 4.1 and appendix A.2.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.center = nn.Parameter(torch.randn(latent_dim))
        self.raw_alpha = nn.Parameter(torch.tensor(ONE))
        self.raw_beta = nn.Parameter(torch.tensor(ONE))  # beta = 0: the identity

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        alpha, reach = F.softplus(self.raw_alpha).clamp_min(torch.finfo(z.dtype).tiny), F.softplus(self.raw_beta)
        beta = reach - alpha
        away = z - self.center
        r = torch.linalg.vector_norm(away, dim=1)
        # k - 1 directions across the radius, and the one along it, 1 + alpha beta / (alpha + r)^2; both of terms that are not
        # negative, so that nothing cancels near the centre, where they may be tiny
        whole = alpha + r
        across = (r + reach) / whole
        along = (r / whole) * ((whole + alpha) / whole) + (alpha / whole) * (reach / whole)
        return z + (beta / whole)[:, None] * away, (self.latent_dim - 1) * across.log() + along.log()


class MaskedLinear(nn.Linear):
    """`nn.Linear` whose weight is multiplied by a fixed mask [out, in] of zeros and ones."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class InverseAutoregressiveFlow(nn.Module):
    """z'_i = m_i + s_i z_i with s_i = 2 sigmoid(a_i); m_i and a_i see z_1 ... z_{i-1} alone, by a masked network.

    The factor 2 lets s_i pass 1 and makes a = 0 the identity, however long the chain.

    Args:
        latent_dim: k.
        width: of its two hidden layers; 4 k, but at least 64, by default.
        reverse: take the dimensions from the last to the first; a chain alternates.

    Source: Kingma et al. 2016, "Improved Variational Inference with Inverse Autoregressive Flow", section 4; Germain et
    al. 2015, "MADE", for the masks.
    """

    def __init__(self, latent_dim: int, *, width: int | None = None, reverse: bool = False) -> None:
        super().__init__()
        width = max(64, 4 * latent_dim) if width is None else width
        inputs = torch.arange(1, latent_dim + 1)
        inputs = inputs.flip(0) if reverse else inputs
        hidden = torch.arange(width) % max(1, latent_dim - 1) + 1
        self.first = MaskedLinear((hidden[:, None] >= inputs).float())
        self.second = MaskedLinear((hidden[:, None] >= hidden).float())
        self.last = MaskedLinear((inputs[:, None] > hidden).float().repeat(2, 1))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        h = F.elu(self.second(F.elu(self.first(z))))
        m, a = self.last(h).chunk(2, dim=1)
        return torch.addcmul(m, 2 * torch.sigmoid(a), z), (F.logsigmoid(a) + math.log(2)).sum(1)


FlowName = Literal["planar", "radial", "iaf"]
FLOWS = {"planar": PlanarFlow, "radial": RadialFlow, "iaf": InverseAutoregressiveFlow}


class Flow(nn.Module):
    """`depth` flows of one kind in a row: z [B, k] -> (z', log|det| [B]).

    Args:
        kind: "planar", "radial" or "iaf".
        depth: how many.
        latent_dim: k.

    Raises:
        ArgumentError: another kind, or numbers below 1.
    """

    def __init__(self, kind: str, depth: int, latent_dim: int) -> None:
        super().__init__()
        if kind not in FLOWS:
            raise ArgumentError(f"kind is {kind!r}; expected one of {', '.join(FLOWS)}.")
        for name, value in (("depth", depth), ("latent_dim", latent_dim)):
            whole_number(name, value)
        self.kind, self.depth, self.latent_dim = kind, depth, latent_dim
        options = [{"reverse": bool(i % 2)} if kind == "iaf" else {} for i in range(depth)]
        self.steps = nn.ModuleList(FLOWS[kind](latent_dim, **o) for o in options)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        input_dtype = z.dtype
        z = z.to(next(self.parameters()).dtype)
        total = z.new_zeros(z.shape[0])
        for step in self.steps:
            z, log_det = step(z)
            total = total + log_det
        return z.to(input_dtype), total.to(input_dtype)
