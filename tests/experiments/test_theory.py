from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vaefast.data import manifold
from vaefast.errors import ArgumentError
from vaefast.experiments import theory
from vaefast.experiments.papers.dai_wipf import claims
from vaefast.experiments.theory import dimension, gamma, manifold_case
from vaefast.experiments.theory.eigenvalues import spearman
from vaefast.experiments.theory.job import fingerprint
from vaefast.models import VAE, DiagonalGaussian, TwoStageVAE

K = 6


def silent(text):
    pass


def check_files(out, name):
    record = json.loads((out / f"{name}.json").read_text())
    assert Image.open(out / f"{name}.png").width > 400 and (out / f"{name}.svg").read_text().count("<text") > 5
    return record


# --- figure 1a -------------------------------------------------------------------------------------------------------


class Constant(nn.Module):
    """A network that gives the same for every input."""

    def __init__(self, *shape):
        super().__init__()
        self.value = nn.Parameter(torch.full(shape, 0.3, dtype=torch.float64))

    def forward(self, x):
        return self.value.expand(len(x), *self.value.shape)


@pytest.mark.parametrize("mode", ["learned", "optimal", 1.0, 0.2])
def test_the_error_is_read_off_the_records(mode):
    model = VAE(Constant(4), Constant(1, 5, 5), data_shape=(1, 5, 5), latent_dim=2, gamma=mode, gamma_init=0.37).double()
    x = torch.rand(16, 1, 5, 5, dtype=torch.float64)
    terms = {key: float(value.detach()) for key, value in model(x).items()}
    found = gamma.curve([{"stage": "stage1", "step": 50, **terms}], 25, optimal=mode == "optimal")
    error = float((x - 0.3).square().mean())
    assert found["squared_error"] == pytest.approx([error], rel=1e-6) and found["step"] == [50]
    expected = 0.5 * math.log(error) if mode == "optimal" else math.log(0.37 if mode == "learned" else mode)
    assert found["log_gamma"] == pytest.approx([expected], abs=1e-6)


def records(log_gammas, errors, dims=784):
    return [{"stage": "stage1", "step": 50 * (i + 1), "gamma": math.exp(at),
             "reconstruction": dims * (0.5 * error * math.exp(-2 * at) + at + 0.5 * math.log(2 * math.pi))}
            for i, (at, error) in enumerate(zip(log_gammas, errors))] + [{"stage": "stage2", "step": 1, "loss": 0.0}]


def test_fig1a(tmp_path):
    learned = records([0, -0.5, -1, -1.5, -2], [0.06, 0.05, 0.04, 0.03, 0.01])
    record = theory.fig1a(learned, records([0] * 4, [0.06] * 4), image_shape=(1, 28, 28), out=tmp_path, say=silent)
    assert record["falling"] == 1 and record["error_ratio"] == pytest.approx(6) and len(record["learned"]["step"]) == 5
    assert check_files(tmp_path, "fig1a") == record
    before = (tmp_path / "fig1a.svg").read_bytes()
    theory.fig1a(learned, records([0] * 4, [0.06] * 4), image_shape=(1, 28, 28), out=tmp_path, say=silent)
    assert (tmp_path / "fig1a.svg").read_bytes() == before
    with pytest.raises(ArgumentError, match="no records of stage1 with a gamma"):
        theory.fig1a(learned[-1:], learned, image_shape=(1, 28, 28), out=tmp_path)


# --- figure 1b -------------------------------------------------------------------------------------------------------


class Spread(nn.Module):
    """Dimension j has posterior variance s_j^2 and adds 0.1 / s_j, or nothing where s_j = 1, to every pixel."""

    def __init__(self, variances):
        super().__init__()
        self.register_buffer("std", torch.tensor(variances).sqrt())

    def encode(self, x):
        return DiagonalGaussian(x.flatten(1)[:, : len(self.std)], 2 * self.std.log().expand(len(x), -1), "logvar")

    def decode(self, z):
        reach = torch.where(self.std < 1, 0.1 / self.std, 0.0)
        return (z * reach).sum(1)[:, None, None, None].expand(-1, 1, 3, 3)


def test_fig1b(tmp_path):
    variances = [1.0, 0.01, 0.25, 0.04]
    images = torch.rand(20, 1, 3, 3)
    said = []
    record = theory.fig1b(Spread(variances), images, out=tmp_path, preset="quick", device="cpu", say=said.append)
    assert record["eigenvalues"] == pytest.approx(sorted(variances), rel=1e-5) and record["active_dimensions"] == 3
    expected = [255**2 * 0.01 / v if v < 1 else 0.0 for v in sorted(variances)]
    assert record["image_variance"] == pytest.approx(expected, rel=0.1) and record["spearman"] == pytest.approx(-1)
    assert check_files(tmp_path, "fig1b") == record and "3 of 4" in said[0]
    assert theory.fig1b(Spread(variances), images, out=tmp_path, preset="quick", device="cpu", say=said.append) == record
    assert "done before" in said[-1] and len(said) == 2
    other = theory.fig1b(Spread(variances[:3]), images, out=tmp_path, preset="quick", device="cpu", say=silent)
    assert len(other["eigenvalues"]) == 3  # another model is not answered with the first one's numbers
    with pytest.raises(ArgumentError, match="smoke, quick, paper"):
        theory.fig1b(Spread(variances), images, out=tmp_path, preset="demo")


def test_spearman_and_fingerprint():
    from scipy.stats import spearmanr

    a, b = torch.randn(30), torch.randn(30)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert spearman(a, -a.exp()) == pytest.approx(-1)
    x = torch.zeros(3, dtype=torch.bfloat16)
    assert fingerprint(x) == fingerprint(x.clone()) != fingerprint(x.float()) and fingerprint(x) != fingerprint(x + 1)
    assert fingerprint(nn.Linear(2, 2)) != fingerprint(nn.Linear(2, 2))


# --- figure 2 and table 3 --------------------------------------------------------------------------------------------


class Scaling(nn.Module):
    """x -> mean x * scale, log variance: a posterior so narrow that its draws are its means."""

    def __init__(self, scale):
        super().__init__()
        self.register_buffer("scale", scale)

    def forward(self, x):
        mean = x.flatten(1) * self.scale
        return mean, torch.full_like(mean, -30.0)


SCALES = torch.tensor([2.0, 1.5, 1.0, 0.5, 0.25, 0.0])


@pytest.fixture
def whitening():
    """A two-stage model whose q(z) is N(0, scales^2) on standard normal images, and whose q(u) is close to N(0, I)."""
    first = VAE(Scaling(SCALES), nn.Identity(), data_shape=(K,), latent_dim=K)
    second = VAE(Scaling(1 / SCALES.clamp_min(0.25)), nn.Identity(), data_shape=(K,), latent_dim=K)
    images = torch.randn(5000, K)
    return TwoStageVAE(first, second), images


def test_fig2(whitening, tmp_path):
    model, images = whitening
    record = theory.fig2(model, images, out=tmp_path, preset="smoke", device="cpu", say=silent)
    assert record["n"] == 2000 and record["latent_dim"] == K and record["band"] == pytest.approx([1 - 0.0548, 1.0548], abs=1e-4)
    assert record["singular_values"]["stage1"] == pytest.approx(SCALES.tolist(), abs=0.08)
    assert record["singular_values"]["stage2"][:5] == pytest.approx([1.0] * 5, abs=0.08)
    assert record["outside"]["prior"] < 0.03 and record["outside"]["stage1"] > 0.8
    assert check_files(tmp_path, "fig2") == record
    assert theory.fig2(model, images, out=tmp_path, preset="smoke", device="cpu", say=silent) == record
    fewer = theory.fig2(model, images[:300], out=tmp_path, preset="smoke", device="cpu", say=silent)
    assert fewer["n"] == 300


def test_table3(whitening, tmp_path):
    model, images = whitening
    model.second.encoder.scale.copy_(1 / SCALES.clamp_min(1e-3))
    model.first.encoder.scale[-1] = 1e-3
    record = theory.table3(model, images, out=tmp_path, data="mnist", preset="smoke", device="cpu", say=silent)
    assert record["stage1"]["value"] > 0.05 and abs(record["stage2"]["value"]) < 0.004 and abs(record["reference"]) < 0.004
    assert record["paper"]["ratio"] == pytest.approx(2.85 / 0.43) and record["ratio_at_least"] > 5
    assert record["ratio"] is None or record["ratio"] > record["ratio_at_least"]
    assert check_files(tmp_path, "table3") == record
    assert theory.table3(model, images, out=tmp_path, preset="smoke", device="cpu", say=silent)["paper"] is None


# --- manifolds -------------------------------------------------------------------------------------------------------


def test_the_linear_optimum_is_that_of_probabilistic_pca():
    x = manifold(3, 7, n=400).double() * 2 + 1
    log_gamma = math.log(0.1)
    variances, axes = torch.linalg.eigh(torch.cov(x.T, correction=0))

    def nll(kept, sigma):
        covariance = axes @ torch.diag(torch.where(torch.arange(7) < 4, sigma**2, kept)) @ axes.T
        normal = torch.distributions.MultivariateNormal(x.mean(0), covariance)
        return float(-normal.log_prob(x).mean())

    best = manifold_case.linear_optimum(x, 3) + 4 * log_gamma
    # what is left of the four empty directions is rounding
    assert nll(variances.clamp_min(0.01), 0.1) == pytest.approx(best, abs=1e-6)
    for factor in (0.8, 1.25):
        assert nll((factor * variances).clamp_min(0.01), 0.1) > best


def test_slope():
    at = np.linspace(0, -4, 41)
    assert manifold_case.slope(list(at), list(np.where(at < -1, 7 + 3 * at, 100))) == pytest.approx(3)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(dimension.CASES, "smoke", (manifold_case.Case("linear", 2, 9),))
    monkeypatch.setitem(dimension.BUDGETS, "smoke", manifold_case.Budget(1000, 200, width=48, points=4000))


def test_manifolds(small, tmp_path, monkeypatch):
    state = torch.random.get_rng_state()
    record = theory.manifolds(out=tmp_path, preset="smoke", device="cpu", say=silent)
    assert torch.equal(state, torch.random.get_rng_state())
    assert record["right"] == record["counted"] == 1
    (case,) = record["cases"]
    assert case["active_dimensions"] == 2 and case["latent_dim"] == 8
    assert case["loss_slope"] == pytest.approx(7, rel=0.08) and case["kl_slope"] == pytest.approx(-2, rel=0.08)
    assert case["gamma"] < math.exp(-4) and case["root_squared_error"] < math.exp(-4)
    assert -0.1 < case["excess"] < 0.8  # nothing is better than the optimum, but for the batches' noise
    assert check_files(tmp_path, "manifolds") == record

    def never(*arguments):
        raise AssertionError("run again")

    monkeypatch.setattr(dimension, "run_case", never)
    assert theory.manifolds(out=tmp_path, preset="smoke", device="cpu", say=silent) == record
    (tmp_path / "manifolds.json").unlink()  # killed before the end: the cases are still there
    assert theory.manifolds(out=tmp_path, preset="smoke", device="cpu", say=silent) == record
    (tmp_path / "manifolds" / "linear-2-in-9.json").write_text("{ half")
    (tmp_path / "manifolds.json").unlink()
    with pytest.raises(AssertionError, match="run again"):
        theory.manifolds(out=tmp_path, preset="smoke", device="cpu", say=silent)


def test_data_that_fill_their_space_have_a_tight_bound(small, tmp_path):
    record = theory.full_dimension(out=tmp_path, preset="smoke", device="cpu", say=silent)
    (case,) = record["cases"]
    assert (case["r"], case["d"], case["active_dimensions"]) == (2, 2, 2)
    assert case["loss_slope"] == pytest.approx(0, abs=0.56) and case["kl_slope"] == pytest.approx(-2, rel=0.08)
    assert record["worst"] == pytest.approx(abs(case["excess"]) / 2) and -0.1 < case["excess"] < 0.8
    assert check_files(tmp_path, "full_dimension") == record
    said, = claims.of_full_dimension({"worst": 0.04})
    assert said.holds and claims.of_full_dimension({})[0].holds is None


@pytest.mark.slow
def test_the_smoke_preset_finds_every_dimension(tmp_path):
    record = theory.manifolds(out=tmp_path, preset="smoke", device="cpu")
    assert record["right"] == record["counted"] == 4
    for case in record["cases"]:
        assert case["loss_slope"] == pytest.approx(case["expected_loss_slope"], rel=0.03)
        assert case["kl_slope"] == pytest.approx(case["expected_kl_slope"], rel=0.03)
        assert case["gamma"] < 0.8 * math.exp(manifold_case.LOWEST)


def test_cases_can_be_drawn():
    for cases in dimension.CASES.values():
        assert len({case.name for case in cases}) == len(cases)
        for case in cases:
            assert manifold(case.r, case.d, case.kind, n=3).shape == (3, case.d)
