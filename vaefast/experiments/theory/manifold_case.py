"""One VAE on one manifold of known dimension: what it finds as gamma falls, and where a learned gamma ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaefast.data import manifold
from vaefast.metrics import active_dimensions, posterior_spectrum
from vaefast.models import VAE
from vaefast.models.mode import evaluating
from vaefast.nets import SecondStageDecoder, SecondStageEncoder
from vaefast.training import Ramp, Stage, StageSettings, Trainer
from vaefast.training.sources import ImageSource

LOWEST = -4.0
"""log gamma at which the sweep ends and gamma is set free."""
FITTED_BELOW = -1.0
"""Slopes are fitted to the sweep below this log gamma, where gamma^2 is far under the data's variances."""
_POINTS = 100  # records of a sweep


@dataclass(frozen=True)
class Case:
    """A manifold of dimension r in d dimensions; see `vaefast.data.manifold`."""

    kind: str
    r: int
    d: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.r}-in-{self.d}"

    @property
    def latent_dim(self) -> int:
        """More than twice as many dimensions as the manifold has."""
        return 2 * self.r + 4


@dataclass(frozen=True)
class Budget:
    """Steps of the sweep and with gamma learned, width of the two hidden layers, points of the manifold."""

    sweep: int
    learned: int
    width: int = 128
    points: int = 20_000


def run_case(case: Case, budget: Budget, seed: int, device: torch.device) -> dict[str, Any]:
    """Train on the manifold: log gamma falls from 0 to -4 in a straight line, then gamma is learned from there.

    Gamma falls slowly because a VAE whose gamma falls faster than its networks learn, below their error, keeps superfluous
    dimensions busy with that error.

    Returns:
        JSON-ready: "active_dimensions" after the sweep and at the end; "gamma" learned, and "root_squared_error", which
        it follows downwards; "loss_slope" and "kl_slope", nats per unit of log gamma, where theory has d - r and -r;
        "sweep": {log_gamma, loss, kl}; for linear manifolds "optimum_at_1", so that the best possible loss of the sweep
        is optimum_at_1 + (d - r) log gamma, and "excess", the mean loss above it.
    """
    x = manifold(case.r, case.d, case.kind, n=budget.points, seed=seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        encoder = SecondStageEncoder(case.d, case.latent_dim, budget.width, depth=2)
        decoder = SecondStageDecoder(case.d, case.latent_dim, budget.width, depth=2)
    falling, learned = (VAE(encoder, decoder, data_shape=(case.d,), latent_dim=case.latent_dim, gamma=gamma,
                            gamma_init=math.exp(LOWEST)) for gamma in (1.0, "learned"))
    source = ImageSource(x, device)
    kept: dict[str, int] = {}

    def count(model: VAE, stage: str) -> dict[str, float]:
        kept[stage] = _active(model, x.to(device))
        return {}

    trainer = Trainer(nn.ModuleList([falling, learned]), [
        Stage("sweep", falling, lambda: source, StageSettings(
            steps=budget.sweep, batch_size=128, lr=2e-3, schedule="cosine", warmup_steps=50,
            ramps={"log_gamma": Ramp(0.0, LOWEST, round(0.9 * budget.sweep))}), evaluate=lambda: count(falling, "sweep")),
        Stage("learned", learned, lambda: source, StageSettings(
            steps=budget.learned, batch_size=128, lr=5e-4, schedule="cosine", warmup_steps=50, gamma_lr_factor=2.0),
            evaluate=lambda: count(learned, "end")),
    ], device=device, precision="fp32", seed=seed, compile="off", log_every=max(1, budget.sweep // _POINTS))
    history = trainer.fit()
    sweep = {"log_gamma": [math.log(p["gamma"]) for p in history.of("sweep")],
             **{key: [p[key] for p in history.of("sweep")] for key in ("loss", "kl")}}
    result = {"kind": case.kind, "r": case.r, "d": case.d, "latent_dim": case.latent_dim,
              "active_dimensions": kept["end"], "active_dimensions_after_sweep": kept["sweep"],
              "gamma": float(learned.gamma), "root_squared_error": root_error(learned, x.to(device), seed),
              "loss_slope": slope(sweep["log_gamma"], sweep["loss"]), "kl_slope": slope(sweep["log_gamma"], sweep["kl"]),
              "expected_loss_slope": case.d - case.r, "expected_kl_slope": -case.r, "seconds": round(trainer.seconds, 1),
              "sweep": sweep}
    if case.kind == "linear":
        best = linear_optimum(x, case.r)
        result |= {"optimum_at_1": best, "excess": float(np.mean([
            loss - best - (case.d - case.r) * at for at, loss in below(sweep["log_gamma"], sweep["loss"])]))}
    return result


def below(log_gamma: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    """(log gamma, value) where log gamma is below -1."""
    return [(at, value) for at, value in zip(log_gamma, values) if at < FITTED_BELOW]


def slope(log_gamma: Sequence[float], values: Sequence[float]) -> float:
    """Least-squares slope of `values` over the log gammas below -1."""
    at, value = zip(*below(log_gamma, values))
    return float(np.polyfit(at, value, 1)[0])


def linear_optimum(x: Tensor, r: int) -> float:
    """Smallest loss of a VAE on points of an r-dimensional linear manifold, less (d - r) log gamma, in nats a point.

    With the covariance's r eigenvalues lambda above gamma^2 the best model is probabilistic PCA (Tipping and Bishop 1999;
    a linear VAE attains it: Dai et al. 2018), of negative log-likelihood
    d/2 log(2 pi) + 1/2 sum_r (log lambda + 1) + (d - r) log gamma.
    """
    variances = torch.linalg.eigvalsh(torch.cov(x.double().T, correction=0))[-r:]
    return float(0.5 * x.shape[1] * math.log(2 * math.pi) + 0.5 * (variances.log() + 1).sum())


@torch.no_grad()
def _active(model: VAE, x: Tensor) -> int:
    """Dimensions whose s_j^2, averaged over the points, is below 0.5."""
    with evaluating(model):
        return active_dimensions(posterior_spectrum(model.encode(x).std))


@torch.no_grad()
def root_error(model: VAE, x: Tensor, seed: int) -> float:
    """Root mean squared error a coordinate of reconstructions from drawn codes."""
    with evaluating(model):
        error = x - model.reconstruct(x, torch.Generator(x.device).manual_seed(seed))
    return float(error.double().square().mean().sqrt())
