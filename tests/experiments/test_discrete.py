"""The identities and propositions of Zhao, Song & Ermon on discrete models, in float64."""

from __future__ import annotations

import math

import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.experiments.theory import propositions
from vaefast.experiments.theory.discrete import DiscreteModel, blur, identities, kl, random_model, stationary
from vaefast.experiments.theory.propositions import BITS, STATEMENTS, independent_bits, maximise


@pytest.mark.parametrize(("x", "z"), [(5, 3), (3, 7), (16, 1), (31, 13)])
@pytest.mark.parametrize("sharpness", [0.3, 3.0])
def test_the_identities(x, z, sharpness):
    for seed in range(3):
        left = identities(random_model(x, z, seed, sharpness))
        assert len(left) == 3 and all(abs(value) < 1e-10 for value in left.values())
    with pytest.raises(ArgumentError):
        random_model(1, 2)


def test_the_best_decoder_is_the_nearest_member_for_every_z():
    """The family: independent bits. Fitted jointly, by E_q log p(x|z); and for each z alone, by KL(q(x|z) || p)."""
    model, member = random_model(8, 3, seed=1, sharpness=2.0), independent_bits
    joint = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    best = maximise(lambda: model._replace(decoder=member(joint)).reconstruction(), joint)
    for z in range(3):
        alone = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
        maximise(lambda a=alone, z=z: -kl(model.posterior()[z], member(a)[0]), alone)
        torch.testing.assert_close(member(alone)[0], member(joint)[z], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(joint.sigmoid(), model.posterior() @ BITS, rtol=1e-5, atol=1e-7)  # the nearest has its moments
    assert best < model._replace(decoder=model.posterior()).reconstruction()  # which no member is


def test_the_error_left_by_gaussians_is_the_variance():
    model, rng = random_model(9, 4, seed=2), torch.Generator().manual_seed(1)
    values = torch.rand(9, 5, generator=rng, dtype=torch.float64)
    means, left = blur(model, values)
    weights, decoded = model.posterior(), torch.zeros(4, 5, dtype=torch.float64, requires_grad=True)

    def error():
        return (weights * torch.cdist(decoded, values).square()).sum(1)

    maximise(lambda: -(decoded[:, None] - values).square().sum(2).mul(weights).sum(), decoded)
    torch.testing.assert_close(decoded.detach(), means, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(error().detach(), left)
    variance = (weights[:, :, None] * (values - means[:, None]).square()).sum((1, 2))
    torch.testing.assert_close(left, variance)


def test_the_elbo_of_a_rich_family_does_not_need_the_code():
    """p(x|z) = p_D and q(z|x) = p(z) reach -H(p_D), which nothing exceeds; so do others, that use z as much as they can."""
    made = random_model(6, 6, seed=3, sharpness=2.0)
    ignored = DiscreteModel(made.p_data, made.prior.expand(6, 6), made.p_data.expand(6, 6), made.prior)
    top = -made.data_entropy().item()
    assert ignored.elbo().item() == pytest.approx(top, abs=1e-12) and abs(ignored.mutual_information().item()) < 1e-12
    used = DiscreteModel(made.p_data, torch.eye(6).double() * (1 - 6e-13) + 1e-13, torch.eye(6).double() * (1 - 6e-13) + 1e-13,
                         made.p_data)
    assert used.elbo().item() == pytest.approx(top, abs=1e-9)
    assert used.mutual_information().item() == pytest.approx(-top, abs=1e-9)
    for seed in range(3):
        start = random_model(6, 6, seed=seed + 10)
        q, p = (t.log().clone().requires_grad_() for t in (start.q, start.decoder))
        reached = maximise(lambda q=q, p=p: made._replace(q=q.softmax(1), decoder=p.softmax(1)).elbo(), q, p)
        assert reached <= top + 1e-10


def test_without_a_regulariser_the_optimum_has_the_most_information():
    made = random_model(5, 5, seed=4)
    q, p = (t.log().clone().requires_grad_() for t in (made.q, made.decoder))

    def model():
        return made._replace(q=q.softmax(1), decoder=p.softmax(1))

    before = model().mutual_information().item()
    reached = maximise(lambda: model().reconstruction(), q, p)
    after = model().mutual_information().item()
    # E_q log p(x|z) = I - H - gap is at most 0, where I is at its largest, H(p_D), or at a local optimum that merges few x
    assert reached <= 1e-10 and after == pytest.approx(reached + made.data_entropy().item(), abs=1e-5) and after > 5 * before
    fewer = random_model(4, 2, seed=5)  # two codes for four values: no more than log 2 nats
    q, p = (t.log().clone().requires_grad_() for t in (fewer.q, fewer.decoder))
    maximise(lambda: fewer._replace(q=q.softmax(1), decoder=p.softmax(1)).reconstruction(), q, p)
    sides = [abs(fewer.p_data[list(part)].sum().item() - 0.5) for part in ((0,), (1,), (2,), (3,), (0, 1), (0, 2), (0, 3))]
    most = max(-(a * math.log(a) + (1 - a) * math.log(1 - a)) for a in (0.5 + s for s in sides))
    assert 0.6 * most < fewer._replace(q=q.detach().softmax(1)).mutual_information().item() <= most + 1e-9


def test_the_chain_of_an_exact_decoder_keeps_the_data_and_another_does_not():
    model = random_model(7, 3, seed=6, sharpness=2.0)
    exact = model._replace(decoder=model.posterior())
    assert exact.aggregate_kl() > 0.01  # its codes are not the prior's
    torch.testing.assert_close(stationary(exact.transition()), exact.p_data, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(exact.p_data @ exact.transition(), exact.p_data)
    torch.testing.assert_close(torch.linalg.matrix_power(exact.transition(), 500)[0], exact.p_data, rtol=1e-8, atol=1e-10)
    ancestral = exact.prior @ exact.decoder
    assert (ancestral - exact.p_data).abs().sum() > 0.01
    assert (stationary(model.transition()) - model.p_data).abs().sum() > 0.01


def test_every_proposition_on_random_models(tmp_path):
    found = propositions(out=tmp_path, preset="smoke", seed=3, say=lambda text: None)
    assert len(found["statements"]) == len(STATEMENTS) == 6 and all(s["holds"] for s in found["statements"])
    assert (tmp_path / "propositions.json").is_file()
    again = propositions(out=tmp_path, preset="smoke", seed=3, say=lambda text: None)
    assert again["statements"] == found["statements"]
