"""Zhao, Song & Ermon's propositions on random discrete models, each by an optimum that is found and one that is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaefast.experiments.theory.discrete import DiscreteModel, blur, identities, kl, random_model, stationary
from vaefast.experiments.theory.job import Job

MODELS = {"smoke": 2, "quick": 20, "paper": 200}
"""Random models of each statement."""
FOUND = 1e-5
"""How near an optimum that was searched for has to come to the known one."""
BITS = torch.tensor([[i >> b & 1 for b in range(3)] for i in range(8)], dtype=torch.float64)
"""What each of 8 values of x looks like."""


def propositions(*, out: str | Path, preset: str = "quick", seed: int = 0, device: str | torch.device = "auto",
                 say: Callable[[str], None] = print) -> dict[str, Any]:
    """Check them on `MODELS` random models each, in float64; out/propositions.json.

    Returns:
        "statements": for each its "text", the largest deviation of any model, "measured" in words, and whether it "holds".

    Source: Zhao, Song & Ermon 2017, whose results `vaefast.experiments.theory.discrete` restates.
    """
    job = Job("propositions", out, preset, seed, device, say, budget={"models": MODELS.get(preset, 0)})
    if (known := job.known()) is not None:
        return known
    statements = []
    for text, check, most in STATEMENTS:
        off = max(check(seed + i) for i in range(MODELS[preset]))
        statements.append({"text": text, "off": off, "measured": f"off by at most {off:.1g} in {MODELS[preset]} models",
                           "holds": off <= most})
        say(f"{text}: {statements[-1]['measured']}")
    return job.write({"statements": statements})


def maximise(objective: Callable[[], Tensor], *parameters: Tensor) -> float:
    """Ascend `objective()` over the parameters; its value at the end."""
    optimizer = torch.optim.LBFGS(parameters, max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-16,
                                  line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -objective()
        loss.backward()
        return loss

    optimizer.step(closure)
    return objective().item()


def independent_bits(logits: Tensor) -> Tensor:
    """Distributions over 8 values of three independent bits, [Z, 8], of logits [Z, 3]."""
    return (BITS @ logits.T + torch.nn.functional.logsigmoid(-logits).sum(1)).exp().T


def off_identities(seed: int) -> float:
    return max(map(abs, identities(random_model(9, 5, seed, 2.0)).values()))


def off_nearest_members(seed: int) -> float:
    """The decoder of independent bits that maximises E_q log p(x|z) against, for each z alone, the one that is nearest."""
    model = random_model(8, 3, seed, 2.0)
    joint = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    maximise(lambda: model._replace(decoder=independent_bits(joint)).reconstruction(), joint)
    off = (joint.sigmoid() - model.posterior() @ BITS).abs().max().item()  # the nearest has the moments of q(x|z)
    for z in range(3):
        alone = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
        maximise(lambda a=alone, z=z: -kl(model.posterior()[z], independent_bits(a)[0]), alone)  # type: ignore[misc]
        off = max(off, (independent_bits(alone)[0] - independent_bits(joint)[z]).abs().max().item())
    return off


def off_variance(seed: int) -> float:
    """The error that Gaussians of a fixed variance leave against the variance of the images that share a code."""
    model = random_model(9, 4, seed)
    values = torch.rand(9, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    means, left = blur(model, values)
    weights, decoded = model.posterior(), torch.zeros(4, 5, dtype=torch.float64, requires_grad=True)
    maximise(lambda: -(decoded[:, None] - values).square().sum(2).mul(weights).sum(), decoded)
    variance = (weights[:, :, None] * (values - means[:, None]).square()).sum((1, 2))
    return max((decoded - means).abs().max().item(), (left - variance).abs().max().item())


def off_ignored_codes(seed: int) -> float:
    """A rich family that ignores z reaches the ELBO's largest value, -H(p_D); so does one that tells all of x by it."""
    made = random_model(6, 6, seed, 2.0)
    told = torch.eye(6, dtype=torch.float64) * (1 - 6e-13) + 1e-13
    ignored = DiscreteModel(made.p_data, made.prior.expand(6, 6), made.p_data.expand(6, 6), made.prior)
    used = DiscreteModel(made.p_data, told, told, made.p_data)
    top = -made.data_entropy().item()
    q, p = (t.log().clone().requires_grad_() for t in (made.q, made.decoder))
    reached = maximise(lambda: made._replace(q=q.softmax(1), decoder=p.softmax(1)).elbo(), q, p)
    return max(abs(ignored.elbo().item() - top), abs(ignored.mutual_information().item()), abs(used.elbo().item() - top),
               abs(used.mutual_information().item() + top), reached - top)


def off_information(seed: int) -> float:
    """At an optimum without a regulariser I_q(x; z) is what was reached and the entropy of the data, and no less than before."""
    made = random_model(5, 5, seed)
    q, p = (t.log().clone().requires_grad_() for t in (made.q, made.decoder))
    reached = maximise(lambda: made._replace(q=q.softmax(1), decoder=p.softmax(1)).reconstruction(), q, p)
    after = made._replace(q=q.softmax(1), decoder=p.softmax(1)).mutual_information().item()
    if after < made.mutual_information().item():
        return math.inf
    return abs(after - (reached + made.data_entropy().item()))


def off_chain(seed: int) -> float:
    """The chain x -> z ~ q(z|x) -> x ~ p(x|z) of the exact decoder keeps the data's distribution."""
    model = random_model(7, 3, seed, 2.0)
    exact = model._replace(decoder=model.posterior())
    return (stationary(exact.transition()) - exact.p_data).abs().max().item()


STATEMENTS: tuple[tuple[str, Callable[[int], float], float], ...] = (
    ("the ELBO's terms are mutual information, entropy and two divergences", off_identities, 1e-10),
    ("the best decoder is, for every code, the member of its family nearest to q(x|z)", off_nearest_members, FOUND),
    ("Gaussians of a fixed variance draw the mean of the images that share a code, and leave their variance", off_variance,
     FOUND),
    ("the ELBO of a rich family has an optimum that ignores the code, and one that tells all by it", off_ignored_codes, 1e-8),
    ("without a regulariser the optimum has the most mutual information that it can", off_information, 1e-4),
    ("the chain of an exact decoder keeps the data's distribution, whatever the prior", off_chain, 1e-9),
)
"""In words, its check, and the largest deviation at which it holds."""
