"""Regularisers R of an inference distribution q(z|x), for objectives E_q[log p(x|z)] - R(q).

| name | R | member of the family |
| --- | --- | --- |
| elbo | beta KL(q(z|x) \\|\\| N(0, I)) | VAE, with beta other than 1 beta-VAE |
| none | 0 | the unregularised VAE |
| l2norm | 0.5 \\|z\\|^2 of the drawn z | |
| center | sum_k 0.5 mu_k^2 - log s_k | |
| mmd | lambda MMD^2(q(z), N(0, I)) | WAE-MMD, InfoVAE with alpha = 1 |
| adversarial | lambda times how badly an adversary takes codes for draws of the prior | WAE-GAN, adversarial autoencoder |
| tc | KL + (beta - 1) total correlation of q(z) | beta-TC-VAE |
| info | (1 - alpha) KL + (alpha + lambda - 1) MMD^2(q(z), N(0, I)) | InfoVAE |

Sources: Zhao, Song & Ermon 2017, "Towards Deeper Understanding of Variational Autoencoding Models", and their code; Higgins et
al. 2017 (beta-VAE); Chen et al. 2018 (beta-TC-VAE); Zhao et al. 2019 (InfoVAE); Tolstikhin et al. 2018 (WAE).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vaefast import ops
from vaefast.errors import ArgumentError
from vaefast.models.posterior import DiagonalGaussian
from vaefast.models.prior_penalty import PriorPenalty

Value = tuple[Tensor, dict[str, Tensor]]
"""R of each example [B] or of the batch [], and what it is made of, [B] or [] each, by name."""
Outcome = tuple[Tensor, Tensor, dict[str, Tensor]]
"""A draw z of each posterior, [B, k], and a `Value`."""


class Regularizer(nn.Module):
    """R of a batch's posteriors. A subclass says what R is with `value`; `terms` of it are logged beside it.

    `needs_spread`: whether R is infinite for a deterministic encoder, whose std is 0. `extensive`: whether R is a sum over latent
    dimensions, whose mean is taken by `GeneralVAE(reduction="mean")`.
    """

    needs_spread = False
    extensive = True

    def forward(self, posterior: DiagonalGaussian, generator: torch.Generator | None) -> Outcome:
        """Draws of the posteriors, their R, and what it is made of."""
        z = posterior.sample(generator)
        value, terms = self.value(posterior, z, generator)
        return z, value, terms

    def value(self, posterior: DiagonalGaussian, z: Tensor, generator: torch.Generator | None) -> Value:
        """R, and what it is made of, from the draws z [B, k] of posteriors."""
        raise NotImplementedError

    def _weight(self, name: str, value: float) -> None:
        """Register a weight as a buffer, which a stage's `ramps` can schedule."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise ArgumentError(f"{name} is {value!r}; expected a number, 0 or more.")
        self.register_buffer(name, torch.tensor(float(value)), persistent=False)


class Elbo(Regularizer):
    """beta KL(q(z|x) || N(0, I)), in closed form, in one pass with the draw."""

    needs_spread = True
    beta: Tensor

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self._weight("beta", beta)

    def forward(self, posterior: DiagonalGaussian, generator: torch.Generator | None) -> Outcome:
        z, kl = posterior.sample_and_kl(generator)
        return z, self.beta * kl, {"kl": kl}


class Unregularized(Regularizer):
    """R = 0."""

    def value(self, posterior: DiagonalGaussian, z: Tensor, generator: torch.Generator | None) -> Value:
        return z.new_zeros(()), {}


class SquaredNorm(Regularizer):
    """0.5 |z|^2 of the drawn codes."""

    def value(self, posterior: DiagonalGaussian, z: Tensor, generator: torch.Generator | None) -> Value:
        return 0.5 * z.square().sum(1), {}


class Center(Regularizer):
    """sum_k 0.5 mu_k^2 - log s_k: the KL to N(0, I) without what keeps s from growing."""

    needs_spread = True

    def value(self, posterior: DiagonalGaussian, z: Tensor, generator: torch.Generator | None) -> Value:
        return (0.5 * posterior.mean.square() - posterior.log_std).sum(1), {}


class AggregatePrior(Regularizer, PriorPenalty):
    """lambda times how far the codes of a batch are, all together, from draws of N(0, prior_std^2 I).

    Args:
        latent_dim: k.
        penalty: "mmd", the maximum mean discrepancy (unbiased; batches of 2 or more), or "gan": an adversary tells codes from
            draws, and R is the mean of softplus(-T(z)), without gradients to T.
        lambda_: weight.
        prior_std, kernel, prior_trick, adversary: see `vaefast.models.WAE`.
    """

    extensive = False
    lambda_: Tensor

    def __init__(self, latent_dim: int, penalty: str = "mmd", *, lambda_: float = 100.0, prior_std: float = 1.0,
                 kernel: str = "imq", prior_trick: bool = True, adversary: nn.Module | None = None) -> None:
        super().__init__()
        self._set_penalty(penalty, latent_dim, prior_std=prior_std, kernel=kernel, prior_trick=prior_trick, adversary=adversary)
        self._weight("lambda_", lambda_)

    def value(self, posterior: DiagonalGaussian, z: Tensor, generator: torch.Generator | None) -> Value:
        penalty = self._penalty(z, generator)
        return self.lambda_ * penalty, {"penalty": penalty}

    def adversary_loss(self, z: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Terms of the adversary's loss of codes [B, k], which get no gradient: `loss` and its `accuracy`."""
        return self._adversary_terms(z.detach(), self.lambda_, generator)


class InfoVAE(AggregatePrior):
    """(1 - alpha) KL(q(z|x) || N(0, I)) + (alpha + lambda - 1) MMD^2(q(z), N(0, I)).

    alpha = 0 and lambda = 1 is the ELBO, alpha = 1 MMD alone. Args: alpha, up to 1; lambda_, with alpha + lambda_ of 1 or more.
    """

    alpha: Tensor

    def __init__(self, latent_dim: int, *, alpha: float = 0.0, lambda_: float = 100.0, kernel: str = "imq") -> None:
        super().__init__(latent_dim, lambda_=lambda_, kernel=kernel)
        if not (isinstance(alpha, (int, float)) and -math.inf < alpha <= 1 <= alpha + lambda_):
            raise ArgumentError(f"alpha is {alpha!r} and lambda_ {lambda_!r}; expected alpha up to 1, and alpha + lambda_ of 1 "
                                "or more.")
        self.needs_spread = alpha < 1
        self.register_buffer("alpha", torch.tensor(float(alpha)), persistent=False)

    def forward(self, posterior: DiagonalGaussian, generator: torch.Generator | None) -> Outcome:
        if not self.needs_spread:
            z, kl = posterior.sample(generator), posterior.mean.new_zeros(())
        else:
            z, kl = posterior.sample_and_kl(generator)
        penalty = self._penalty(z, generator)
        value = (1 - self.alpha) * kl.mean() + (self.alpha + self.lambda_ - 1) * penalty
        return z, value, {"kl": kl, "penalty": penalty} if self.needs_spread else {"penalty": penalty}


class TotalCorrelation(Regularizer):
    """KL + (beta - 1) TC, TC the total correlation of q(z) by minibatch-weighted sampling.

    Args:
        beta: weight of TC; 1 is the ELBO.
        dataset_size: N of the paper's estimator. It shifts the TC by a constant, (k - 1) log N, and no gradient; None leaves it
            out: q(z) is then that of the batch.

    Of a batch per process, where several train together.

    Source: Chen et al. 2018, "Isolating Sources of Disentanglement in VAEs", equation 2 (whose other two weights are 1) and
    appendix C.1; the KL is in closed form, not from the draw.
    """

    needs_spread = True
    beta: Tensor

    def __init__(self, beta: float = 6.0, *, dataset_size: int | None = None) -> None:
        super().__init__()
        self._weight("beta", beta)
        self.dataset_size = dataset_size

    def forward(self, posterior: DiagonalGaussian, generator: torch.Generator | None) -> Outcome:
        z, kl = posterior.sample_and_kl(generator)
        tc = ops.total_correlation(z, posterior.mean, posterior.raw, param=posterior.param, dataset_size=self.dataset_size)
        return z, kl.mean() + (self.beta - 1) * tc, {"kl": kl, "total_correlation": tc}


class Custom(Regularizer):
    """A user's R: function (mu [B, k], scale [B, k], z [B, k]) -> R of each example [B], or of the batch [].

    `scale` is the posterior's standard deviation. A function that is an `nn.Module` is trained with the model.
    """

    extensive = False

    def __init__(self, function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def value(self, posterior: DiagonalGaussian, z: Tensor, generator: torch.Generator | None) -> Value:
        value = self.function(posterior.mean, posterior.std, z)
        if not isinstance(value, Tensor) or value.shape not in (torch.Size(), torch.Size([len(z)])):
            given = f"shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise ArgumentError(f"the regularizer returned {given} for {len(z)} codes; expected a tensor, [] or {[len(z)]}.")
        return value, {}


RegularizerName = Literal["elbo", "none", "l2norm", "center", "mmd", "adversarial", "tc", "info"]
_BUILDERS: dict[str, tuple[Callable[..., Regularizer], tuple[str, ...]]] = {
    "elbo": (lambda k, **o: Elbo(**o), ("beta",)),
    "none": (lambda k: Unregularized(), ()),
    "l2norm": (lambda k: SquaredNorm(), ()),
    "center": (lambda k: Center(), ()),
    "mmd": (lambda k, **o: AggregatePrior(k, "mmd", **o), ("lambda_", "prior_std", "kernel")),
    "adversarial": (lambda k, **o: AggregatePrior(k, "gan", **o), ("lambda_", "prior_std", "prior_trick", "adversary")),
    "tc": (lambda k, **o: TotalCorrelation(**o), ("beta", "dataset_size")),
    "info": (lambda k, **o: InfoVAE(k, **o), ("alpha", "lambda_", "kernel")),
}

REGULARIZERS = tuple(_BUILDERS)


def make_regularizer(name: str | Regularizer | Callable[..., Any], latent_dim: int, **options: Any) -> Regularizer:
    """The regulariser `name` for k = `latent_dim`; one that is a `Regularizer` already, as it is; or a user's function.

    Args:
        options: of its class, such as `beta`, `lambda_`, `alpha` or `adversary`; None stands for the default.

    Raises:
        ArgumentError: another name, an option that it does not have, or a value that cannot work.
    """
    options = {key: value for key, value in options.items() if value is not None}
    if not isinstance(name, str):
        if options:
            raise ArgumentError(f"{next(iter(options)).rstrip('_')} was given with a regularizer of your own, which has no such "
                                "setting here.")
        if isinstance(name, Regularizer):
            return name
        if callable(name):
            return Custom(name)
    if name not in _BUILDERS:
        raise ArgumentError(f"regularizer is {name!r}; expected one of {', '.join(REGULARIZERS)}, or a function of mu, scale "
                            "and z.")
    build, taken = _BUILDERS[name]
    for key in options:
        if key not in taken:
            raise ArgumentError(f"{key.rstrip('_')} is {options[key]!r}; regularizer {name!r} has "
                                f"{'no settings' if not taken else 'only ' + ', '.join(t.rstrip('_') for t in taken)}.")
    return build(latent_dim, **options)
