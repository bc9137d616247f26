"""ELBO surgery: the terms against dense float64 formulas, where they are known, and that they add up."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import vaefast.ops as ops
from vaefast.errors import ArgumentError

TERMS = ("mutual_information", "marginal_kl", "total_correlation", "dimension_wise_kl")


def draw(mu, a, generator=None):
    return mu + torch.exp(0.5 * a) * torch.randn(mu.shape, generator=generator or torch.Generator().manual_seed(1))


def posteriors(n, k, logvar=-1.0):
    generator = torch.Generator().manual_seed(0)
    mu, a = torch.randn(n, k, generator=generator), logvar + 0.5 * torch.randn(n, k, generator=generator)
    return draw(mu, a, generator), mu, a


def dense(z, mu, a, shift=0.0):
    """The terms in float64 from [N, N, k]."""
    z, mu, a = z.double(), mu.double(), a.double()
    normal = torch.distributions.Normal
    pairs = normal(mu, torch.exp(0.5 * a)).log_prob(z[:, None])
    joint = pairs.sum(2).logsumexp(1) - math.log(len(mu)) - shift
    marginals = pairs.logsumexp(1) - math.log(len(mu)) - shift
    own = pairs.diagonal().sum(0)
    prior = normal(0.0, 1.0).log_prob(z)
    return {
        "kl": (own - prior.sum(1)).mean(),
        "mutual_information": (own - joint).mean(),
        "total_correlation": (joint - marginals.sum(1)).mean(),
        "dimension_wise_kl": (marginals - prior).sum(1).mean(),
        "marginal_kl": (joint - prior.sum(1)).mean(),
        "per_dimension_kl": (marginals - prior).mean(0),
    }


@pytest.mark.parametrize("dataset_size", [None, 60_000])
@pytest.mark.parametrize("n, k", [(2, 1), (50, 10), (200, 3)])
def test_terms_and_gradients_equal_the_dense_formulas(cpu_backend, close, n, k, dataset_size):
    if cpu_backend == "triton" and n > 50:
        pytest.skip("slow in the interpreter")
    inputs = [x.requires_grad_() for x in posteriors(n, k)]
    terms = ops.elbo_surgery(*inputs, dataset_size=dataset_size)._asdict()
    expected = dense(*inputs, shift=math.log(dataset_size or 1))
    scale = expected["kl"].abs() + math.log(dataset_size or 1) * k
    for name, term in terms.items():
        assert (term - expected[name]).abs().max() <= 2e-6 * scale, name
        got = torch.autograd.grad(term.sum(), inputs, retain_graph=True)
        wanted = torch.autograd.grad(expected[name].sum(), inputs, retain_graph=True, allow_unused=True)
        for x, y in zip(got, wanted, strict=True):
            if y is not None and y.any():
                assert (x - y).norm() <= 2e-5 * y.norm() + 1e-7, name
    for name in TERMS:
        alone = getattr(ops, name)(*inputs, dataset_size=dataset_size)
        assert (alone - expected[name]).abs() <= 2e-6 * scale, name


def test_the_terms_add_up_to_the_kl_of_these_samples(cpu_backend):
    if cpu_backend == "triton":
        pytest.skip("as on the other backends: arithmetic of the terms")
    for exclude_self in (False, True):
        t = ops.elbo_surgery(*(x.double() for x in posteriors(60, 7)), exclude_self=exclude_self)
        whole = t.mutual_information + t.total_correlation + t.dimension_wise_kl
        torch.testing.assert_close(whole, t.kl, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(t.total_correlation + t.dimension_wise_kl, t.marginal_kl, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(t.per_dimension_kl.sum(), t.dimension_wise_kl, rtol=1e-13, atol=1e-13)


def test_samples_that_tell_nothing_have_no_mutual_information():
    mu, a = torch.zeros(500, 8), torch.zeros(500, 8)
    t = ops.elbo_surgery(draw(mu, a), mu, a)
    for value in (t.mutual_information, t.total_correlation, t.marginal_kl):
        assert abs(value) < 1e-4


def test_disjoint_posteriors_saturate_at_log_n():
    n, k = 300, 6
    mu, a = 3 * torch.randn(n, k), torch.full((n, k), 2 * math.log(1e-4))
    assert abs(ops.mutual_information(draw(mu, a), mu, a) - math.log(n)) < 1e-4


def test_total_correlation_of_independent_and_of_equal_dimensions():
    """Two dimensions that are independent have none; two whose means are equal have about their mutual information."""
    n = 3000
    u, v = torch.randn(2, n, generator=torch.Generator().manual_seed(3))
    a = torch.full((n, 2), -1.0)
    independent, equal = torch.stack([u, v], 1), torch.stack([u, u], 1)
    assert abs(ops.total_correlation(draw(independent, a), independent, a)) < 0.05
    # q(z) is Gaussian with variance 1 + s^2 and covariance 1.
    rho = 1 / (1 + math.exp(-1.0))
    assert abs(ops.total_correlation(draw(equal, a), equal, a) + 0.5 * math.log(1 - rho**2)) < 0.05


def test_dimension_wise_kl_of_gaussian_marginals():
    """Means spread by 2 and widths of 1 make marginals N(0, 5)."""
    mu = 2 * torch.randn(4000, 3, generator=torch.Generator().manual_seed(4))
    a = torch.zeros(4000, 3)
    expected = 3 * 0.5 * (5 - math.log(5) - 1)
    assert abs(ops.dimension_wise_kl(draw(mu, a), mu, a) - expected) < 0.1 * expected


def test_minibatch_weights_are_a_shift():
    z, mu, a = posteriors(40, 5)
    plain, weighted = ops.elbo_surgery(z, mu, a), ops.elbo_surgery(z, mu, a, dataset_size=1000)
    shift = math.log(1000)
    torch.testing.assert_close(weighted.mutual_information, plain.mutual_information + shift)
    torch.testing.assert_close(weighted.total_correlation, plain.total_correlation + 4 * shift)
    torch.testing.assert_close(weighted.dimension_wise_kl, plain.dimension_wise_kl - 5 * shift)


def test_stratified_weights_of_the_whole_data_set_are_the_plain_mean():
    z, mu, a = (x.double() for x in posteriors(40, 5))
    plain, stratified = ops.elbo_surgery(z, mu, a), ops.elbo_surgery(z, mu, a, dataset_size=40, stratified=True)
    for x, y in zip(plain, stratified, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


def test_stratified_weights_are_right_on_average():
    """Of q(z_0), over all batches of 3 with image 0 in them from a data set of 6."""
    z, mu, a = (x.double() for x in posteriors(6, 2, logvar=0.0))
    batch = ops.aggregate_posterior._Batch(False, 6, True)
    for per_dimension in (False, True):
        whole = ops.mixture_log_density(z, mu, a, per_dimension=per_dimension)[0].exp()
        batches = [[0, *others] for others in itertools.combinations(range(1, 6), 2)]
        parts = [batch.log_density(z[b], mu[b], a[b], "logvar", per_dimension)[0].exp() for b in batches]
        torch.testing.assert_close(torch.stack(parts).mean(0), whole, rtol=1e-12, atol=0)


def test_one_gaussian_has_its_closed_form():
    """Equal posteriors N(m, s^2) make q(z) the same Gaussian: no information, no correlation, and its KL to N(0, I)."""
    n, k = 20_000, 3
    m, logvar = torch.tensor([0.5, -2.0, 0.0]), torch.tensor([-2.0, 0.7, 0.0])
    mu, a = m.expand(n, k), logvar.expand(n, k)
    z = draw(mu, a)
    expected = 0.5 * (m.square() + logvar.exp() - logvar - 1)
    # One component is enough for the terms that take any z.
    assert abs(ops.marginal_kl(z, mu[:1], a[:1]) - expected.sum()) < 0.05
    assert abs(ops.dimension_wise_kl(z, mu[:1], a[:1]) - expected.sum()) < 0.05
    assert abs(ops.total_correlation(z, mu[:1], a[:1])) < 1e-5
    t = ops.elbo_surgery(z[:500], mu[:500], a[:500])
    assert abs(t.mutual_information) < 1e-5 and abs(t.total_correlation) < 1e-5
    assert (t.per_dimension_kl - expected).abs().max() < 0.4


def test_separated_clusters_tell_the_cluster():
    """Of 4 groups of 50 equal posteriors only the group can be told: log 4."""
    centres = 100 * torch.randn(4, 5, generator=torch.Generator().manual_seed(5))
    mu, a = centres.repeat_interleave(50, 0), torch.zeros(200, 5)
    assert abs(ops.mutual_information(draw(mu, a), mu, a) - math.log(4)) < 1e-4


@pytest.mark.parametrize("param", ["logvar", "logstd", "softplus"])
def test_gradcheck(param):
    inputs = [torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *x: tuple(ops.elbo_surgery(*x, param=param)), inputs)
    weights = {"dataset_size": 9, "stratified": True}
    assert torch.autograd.gradcheck(lambda *x: tuple(ops.elbo_surgery(*x, param=param, **weights)), inputs)


def test_compiles_in_one_graph_as_a_loss():
    def loss(z, mu, a):
        t = ops.elbo_surgery(z, mu, a, dataset_size=100)
        return t.mutual_information + 6 * t.total_correlation + t.dimension_wise_kl

    inputs = [x.requires_grad_() for x in posteriors(20, 4)]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    got, expected = (torch.autograd.grad(f(*inputs), inputs) for f in (compiled, loss))
    torch.testing.assert_close(got, expected)


def test_sixteen_bit_inputs_give_float32():
    t = ops.elbo_surgery(*(x.bfloat16() for x in posteriors(30, 4)))
    assert all(x.dtype == torch.float32 and x.isfinite().all() for x in t)


@pytest.mark.parametrize(
    "name, arguments, options, words",
    [
        ("mutual_information", (torch.ones(3, 2), torch.ones(4, 2), torch.ones(4, 2)), {}, ["z", "[3, 2]", "mu", "[4, 2]"]),
        ("elbo_surgery", (torch.ones(3, 2), torch.ones(3, 2), torch.ones(3, 1)), {}, ["scale", "[3, 1]", "mu"]),
        ("elbo_surgery", (torch.ones(3, 2), [1.0], torch.ones(3, 2)), {}, ["mu", "list"]),
        ("total_correlation", (torch.ones(3, 2), torch.ones(4, 3), torch.ones(4, 3)), {}, ["z", "[3, 2]", "[M, 3]"]),
        ("marginal_kl", (torch.ones(3, 2),) * 3, {"param": "std"}, ["param", "'std'"]),
        ("elbo_surgery", (torch.ones(3, 2),) * 3, {"dataset_size": 0}, ["dataset_size", "0", ">= 1"]),
        ("elbo_surgery", (torch.ones(3, 2),) * 3, {"dataset_size": 1.5}, ["dataset_size", "1.5"]),
        ("dimension_wise_kl", (torch.ones(3, 2),) * 3, {"dataset_size": 9, "exclude_self": True},
         ["dataset_size", "exclude_self"]),
        ("elbo_surgery", (torch.ones(3, 2),) * 3, {"stratified": True}, ["stratified", "dataset_size is None"]),
        ("elbo_surgery", (torch.ones(3, 2),) * 3, {"stratified": 1}, ["stratified", "1", "True or False"]),
        ("elbo_surgery", (torch.ones(3, 2),) * 3, {"stratified": True, "dataset_size": 2}, ["dataset_size", "2", ">= 3"]),
        ("marginal_kl", (torch.ones(2, 2), torch.ones(3, 2), torch.ones(3, 2)), {"stratified": True, "dataset_size": 9},
         ["z", "[2, 2]", "mu"]),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(name, arguments, options, words):
    with pytest.raises(ArgumentError) as error:
        getattr(ops, name)(*arguments, **options)
    for word in words:
        assert word in str(error.value)
