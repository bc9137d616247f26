"""The objectives of Zhao, Song & Ermon on models of finitely many x and z, where every expectation is a sum.

With q(x, z) = p_D(x) q(z|x), and p(x, z) = p(z) p(x|z):

    E_q log p(x|z)                = I_q(x; z) - H(p_D) - E_q(z) KL(q(x|z) || p(x|z))
    E_pD KL(q(z|x) || p(z))       = I_q(x; z) + KL(q(z) || p(z))
    ELBO, the first less the second = - H(p_D) - E_q(z) KL(q(x|z) || p(x|z)) - KL(q(z) || p(z))

So the best p(x|z) is, for every z, the member of its family nearest to q(x|z) (proposition 1); the mutual information is not in
the ELBO, which with a rich family has an optimum that ignores z; and without a regulariser the optimum has the most information.

Source: Zhao, Song & Ermon 2017, "Towards Deeper Understanding of Variational Autoencoding Models"; the equations restate its
results from the definitions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vaefast.errors import ArgumentError


class DiscreteModel(NamedTuple):
    """X values of x, Z of z. Rows are distributions; all entries above 0, float64."""

    p_data: Tensor  # p_D(x), [X]
    q: Tensor  # q(z|x), [X, Z]
    decoder: Tensor  # p(x|z), [Z, X]
    prior: Tensor  # p(z), [Z]

    def aggregate(self) -> Tensor:
        """q(z), [Z]."""
        return self.p_data @ self.q

    def posterior(self) -> Tensor:
        """q(x|z), [Z, X]."""
        return (self.p_data[:, None] * self.q / self.aggregate()).T

    def data_entropy(self) -> Tensor:
        """H(p_D), nats."""
        return -_expected_log(self.p_data, self.p_data)

    def mutual_information(self) -> Tensor:
        """I_q(x; z), nats."""
        return self.p_data @ kl(self.q, self.aggregate())

    def reconstruction(self) -> Tensor:
        """E_q log p(x|z), nats."""
        return self.p_data @ (self.q * self.decoder.T.log()).sum(1)

    def posterior_kl(self) -> Tensor:
        """E_pD KL(q(z|x) || p(z)), nats."""
        return self.p_data @ kl(self.q, self.prior)

    def aggregate_kl(self) -> Tensor:
        """KL(q(z) || p(z)), nats."""
        return kl(self.aggregate(), self.prior)

    def decoder_gap(self) -> Tensor:
        """E_q(z) KL(q(x|z) || p(x|z)), nats: 0 where the decoder is exact."""
        return self.aggregate() @ kl(self.posterior(), self.decoder)

    def elbo(self) -> Tensor:
        """E_q log p(x|z) - E_pD KL(q(z|x) || p(z)), nats."""
        return self.reconstruction() - self.posterior_kl()

    def transition(self) -> Tensor:
        """T(x, x') = sum_z q(z|x) p(x'|z) of the chain, [X, X]."""
        return self.q @ self.decoder


def random_model(x: int, z: int, seed: int = 0, sharpness: float = 1.0) -> DiscreteModel:
    """A model of x and z values whose logits are normal with standard deviation `sharpness`."""
    if x < 2 or z < 1:
        raise ArgumentError(f"x is {x} and z {z}; expected at least 2 values of x and 1 of z.")
    rng = torch.Generator().manual_seed(seed)

    def rows(*shape: int) -> Tensor:
        return torch.softmax(sharpness * torch.randn(shape, generator=rng, dtype=torch.float64), -1)

    return DiscreteModel(rows(x), rows(x, z), rows(z, x), rows(z))


def identities(model: DiscreteModel) -> dict[str, float]:
    """What is left of each of the three identities above: 0 to rounding."""
    information, entropy, gap = model.mutual_information(), model.data_entropy(), model.decoder_gap()
    return {"reconstruction": float(model.reconstruction() - (information - entropy - gap)),
            "posterior_kl": float(model.posterior_kl() - (information + model.aggregate_kl())),
            "elbo": float(model.elbo() - (-entropy - gap - model.aggregate_kl()))}


def blur(model: DiscreteModel, values: Tensor) -> tuple[Tensor, Tensor]:
    """What the best decoder of Gaussians with a fixed variance draws, and what it cannot know.

    Args:
        values: what each x looks like, [X, d].

    Returns:
        The best means E_q(x|z)[x], [Z, d], and the squared error that is left, sum_i Var_q(x|z)[x_i], [Z].
    """
    weights = model.posterior()
    means = weights @ values
    return means, weights @ values.square().sum(1) - means.square().sum(1)


def stationary(transition: Tensor) -> Tensor:
    """The distribution [X] that a chain with all entries above 0 keeps."""
    n = len(transition)
    equations = torch.cat([transition.T - torch.eye(n, dtype=transition.dtype), torch.ones(1, n, dtype=transition.dtype)])
    right = torch.zeros(n + 1, 1, dtype=transition.dtype)
    right[-1] = 1
    return torch.linalg.lstsq(equations, right, driver="gelsd").solution[:, 0]


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) over the last dimension, nats."""
    return _expected_log(p, p) - _expected_log(p, q)


def _expected_log(p: Tensor, q: Tensor) -> Tensor:
    return (p * q.log()).sum(-1)
