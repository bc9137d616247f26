"""WAE-MMD and WAE-GAN against the formulas of the reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vaefast.errors import ArgumentError, DataError, TrainingError
from vaefast.models import WAE, DiagonalGaussian, pretrain_encoder
from vaefast.models.player import players_of
from vaefast.models.prior_penalty import rbf_bandwidth
from vaefast.models.wae_pretrain import moment_distance
from vaefast.nets import NETS, LatentAdversary

K = 3


def decoder(output: str | None = None) -> nn.Module:
    made = nn.Linear(K, 5)
    if output:
        made.output = output
    return made


def wae(heads: int = 1, output: str | None = None, **options) -> WAE:
    torch.manual_seed(2)
    if options.get("penalty") == "gan":
        options.setdefault("adversary", LatentAdversary(K, 16, 2))
    return WAE(nn.Linear(5, heads * K), decoder(output), data_shape=(5,), latent_dim=K, **options)


def prior_of(model: WAE, codes: torch.Tensor, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return model._prior_beside(codes, None)


def imq(q: torch.Tensor, p: torch.Tensor, sigma: float) -> float:
    """The penalty, pair by pair."""
    n, total = len(q), 0.0
    for scale in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        c = 2 * K * sigma**2 * scale

        def k(a: torch.Tensor, b: torch.Tensor, c: float = c) -> float:
            return (c / (c + (a - b).square().sum())).item()

        for i in range(n):
            for j in range(n):
                total += (k(q[i], q[j]) + k(p[i], p[j])) / (n * (n - 1)) if i != j else 0
                total -= 2 / n**2 * k(q[i], p[j])
    return total


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_the_mmd_penalty_is_the_references(sigma):
    model = wae(prior_std=sigma, lambda_=7.0).double()
    x = torch.rand(6, 5, dtype=torch.float64)
    codes = model.encoder(x).detach()
    torch.manual_seed(3)
    terms = model(x)
    expected = imq(codes, prior_of(model, codes, 3), sigma)
    assert terms["penalty"].item() == pytest.approx(expected, rel=1e-9)
    cost = 0.05 * (x - model.decoder(codes)).square().sum(1).mean()
    torch.testing.assert_close(terms["reconstruction"], cost)
    torch.testing.assert_close(terms["loss"], cost + 7.0 * terms["penalty"])


def test_draws_of_the_prior():
    model = wae(prior_std=2.0)
    for p in (model.prior(50_000), model._prior_beside(torch.zeros(50_000, K), None)):
        assert p.shape == (50_000, K) and abs(p.std() - 2) < 0.02 and abs(p.mean()) < 0.03
    a, b = model.prior(4, torch.Generator().manual_seed(1)), model.prior(4, torch.Generator().manual_seed(1))
    assert torch.equal(a, b)


def test_the_rbf_bandwidth_follows_the_medians_with_a_gradient():
    q = torch.randn(7, K, dtype=torch.float64, requires_grad=True)
    p = torch.randn(7, K, dtype=torch.float64)
    within = torch.pdist(q).square().median()
    between = torch.cdist(q, p).flatten().square().median()
    torch.testing.assert_close(rbf_bandwidth(q, p).square(), within + between)
    assert torch.autograd.gradcheck(lambda q: rbf_bandwidth(q, p), (q,))
    model = wae(kernel="rbf").double()
    x = torch.rand(7, 5, dtype=torch.float64)
    codes = model.encoder(x).detach()
    torch.manual_seed(3)
    found = model(x)["penalty"]
    prior = prior_of(model, codes, 3)
    s2 = torch.pdist(codes).square().median() + torch.cdist(codes, prior).flatten().square().median()
    pairs = ((codes, codes), (prior, prior), (codes, prior))
    kqq, kpp, kqp = (torch.exp(-torch.cdist(a, b).square() / (2 * s2)) for a, b in pairs)
    expected = (kqq.sum() + kpp.sum() - 14) / 42 - 2 * kqp.mean()
    torch.testing.assert_close(found, expected)
    found.backward()
    assert torch.isfinite(model.encoder.weight.grad).all() and model.encoder.weight.grad.any()


@pytest.mark.parametrize("reconstruction", ["l2sq", "l2", "l1"])
@pytest.mark.parametrize("image_range", [(0, 1), (-1, 1)])
@pytest.mark.parametrize("output", ["logits", "image"])
def test_reconstruction_costs_in_either_range(reconstruction, image_range, output):
    model = wae(output=output, reconstruction=reconstruction, image_range=image_range).double()
    x = torch.randint(0, 256, (4, 5), dtype=torch.uint8)
    low, width = image_range[0], image_range[1] - image_range[0]
    inside = low + width * x.double() / 255  # as encoder and cost see the images
    raw = model.decoder(model.encoder(inside))
    x_hat = low + width * raw.sigmoid() if output == "logits" else raw
    error = inside - x_hat
    expected = {"l2sq": 0.05 * error.square().sum(1), "l2": 0.2 * (1e-8 + error.square().sum(1)).sqrt(),
                "l1": 0.02 * error.abs().sum(1)}[reconstruction].mean()
    terms = model(x)
    torch.testing.assert_close(terms["reconstruction"], expected)
    torch.testing.assert_close(model(x.double() / 255)["reconstruction"], expected)
    torch.testing.assert_close(model.reconstruct(x), (x_hat - low) / width)
    gradients = torch.autograd.grad(terms["reconstruction"], (model.decoder.weight,))
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, (model.decoder.weight,)))


@pytest.mark.parametrize("name", NETS)
def test_images_are_in_0_1_whatever_the_range_inside(name):
    shape = (1, 32, 32) if name == "hinrichsen" else (1, 16, 16)
    options = {"wae": {"width": 4}, "wae-stride2": {"width": 4}, "gamix": {"width": 4}, "biggan": {"ch": 2},
               "biggan-deep": {"ch": 4}}.get(name, {})
    build_encoder, build_decoder = NETS[name]
    x = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    for image_range in ((0, 1), (-1, 1)):
        model = WAE(build_encoder(shape, K, deterministic=True, **options), build_decoder(shape, K, **options),
                    data_shape=shape, latent_dim=K, image_range=image_range)
        assert torch.isfinite(model(x)["loss"])
        for images in (model.sample(5), model.reconstruct(x), model.decode(model.encode(x).mean)):
            assert images.shape[1:] == shape
            assert images.min() >= 0 and images.max() <= 1 or model.decoder.output == "image"  # a linear one keeps to no range


def test_a_deterministic_posterior_has_no_spread_and_a_gaussian_one_has():
    x = torch.rand(6, 5)
    for heads in (1, 2):
        q = wae(heads).encode(x)
        assert torch.equal(q.sample(), q.mean) and not q.std.any() and q.mean.shape == (6, K)
        z, kl = q.sample_and_kl()
        assert torch.equal(z, q.mean) and kl.isinf().all()
        # its parts can be stored and drawn from as those of any other
        assert torch.equal(DiagonalGaussian(q.mean, q.raw.contiguous(), q.param).sample(), q.mean)
    model = wae(2, posterior="gaussian")
    q = model.encode(x)
    torch.testing.assert_close(q.std, (0.5 * model.encoder(x)[:, K:]).exp())
    assert not torch.equal(q.sample(), q.sample())
    model(x)["loss"].backward()
    assert model.encoder.weight.grad[K:].any()
    with pytest.raises(ArgumentError, match="needs an encoder that returns"):
        wae(1, posterior="gaussian").encode(x)


# The adversary.


class Constant(nn.Module):
    """T = weight . z + bias, [n, 1] or, wrongly, [n]."""

    def __init__(self, bias: float = 0.0, flat: bool = False) -> None:
        super().__init__()
        self.weight, self.bias, self.flat = nn.Parameter(torch.zeros(K)), nn.Parameter(torch.tensor(bias)), flat

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        logits = z @ self.weight + self.bias
        return logits if self.flat else logits[:, None]


def test_losses_of_an_adversary_that_knows_nothing():
    model = wae(penalty="gan", prior_trick=False, adversary=Constant(), lambda_=10.0)
    x = torch.rand(6, 5)
    assert model(x)["penalty"].item() == pytest.approx(math.log(2))
    terms = model.adversary_loss(x)
    assert terms["loss"].item() == pytest.approx(10 * 2 * math.log(2)) and terms["accuracy"] == 0


def test_losses_of_an_adversary_that_is_sure():
    model = wae(penalty="gan", prior_trick=False, adversary=Constant(3.0), lambda_=1.0)
    x = torch.rand(6, 5)
    softplus = math.log1p(math.exp(-3))
    assert model(x)["penalty"].item() == pytest.approx(softplus)
    terms = model.adversary_loss(x)  # it takes all for draws of the prior
    assert terms["loss"].item() == pytest.approx(softplus + softplus + 3, rel=1e-5) and terms["accuracy"] == 0.5


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_the_prior_trick_adds_the_known_log_density_row_by_row(sigma):
    model = wae(penalty="gan", prior_std=sigma).double()
    z = torch.randn(7, K, dtype=torch.float64)
    found = model.adversary_logits(z)
    assert found.shape == (7, 1)
    density = torch.distributions.Normal(0.0, sigma).log_prob(z).sum(1, keepdim=True)
    off = (K - 1) / 2 * math.log(2 * math.pi)  # the authors' constant; a bias makes up for it
    torch.testing.assert_close(found, model.adversary(z) + density + off)


def test_an_adversary_whose_output_would_broadcast_is_refused():
    for trick in (True, False):
        model = wae(penalty="gan", adversary=Constant(flat=True), prior_trick=trick)
        with pytest.raises(ArgumentError, match=r"returned shape \[6\] for 6 codes; expected \[6, 1\]"):
            model.adversary_loss(torch.rand(6, 5))
    with pytest.raises(ArgumentError, match="no adversary"):
        wae().adversary_loss(torch.rand(6, 5))


def test_gradients_never_reach_the_other_players_weights():
    model, x = wae(penalty="gan"), torch.rand(6, 5)
    autoencoder, adversary = players_of(model)
    assert (autoencoder.name, adversary.name) == ("autoencoder", "adversary")
    assert autoencoder.new_batch and not adversary.new_batch
    own = {id(p) for p in autoencoder.parameters.values()}, {id(p) for p in adversary.parameters.values()}
    assert own[0].isdisjoint(own[1]) and own[0] | own[1] == {id(p) for p in model.parameters()}
    for player, other in ((autoencoder, adversary), (adversary, autoencoder)):
        model.zero_grad()
        player.loss(x)["loss"].backward()
        assert all(p.grad is not None for p in player.parameters.values())
        assert all(p.grad is None for p in other.parameters.values())


def test_the_encoders_gradient_goes_through_the_adversary_as_it_is():
    model, x = wae(penalty="gan").double(), torch.rand(6, 5, dtype=torch.float64)
    expected = nn.functional.softplus(-model.adversary_logits(model.encode(x).mean)).mean()
    grad, = torch.autograd.grad(expected, model.encoder.weight)
    torch.testing.assert_close(torch.autograd.grad(model(x)["penalty"], model.encoder.weight)[0], grad)


def test_mmd_has_one_player():
    model = wae()
    player, = players_of(model)
    assert player.name == "model" and len(player.parameters) == len(list(model.parameters()))
    assert model.adversary is None


# Precision, compilation, settings.


@pytest.mark.parametrize("options", [{}, {"kernel": "rbf"}, {"penalty": "gan"}, {"posterior": "gaussian", "heads": 2}])
def test_autocast_and_compilation(options):
    model, x = wae(output="logits", image_range=(-1, 1), **options), torch.randint(0, 256, (6, 5), dtype=torch.uint8)
    losses = [model.loss, *([model.adversary_loss] if "penalty" in options else [])]
    for loss in losses:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert all(v.dtype == torch.float32 for v in loss(x).values())
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        results = []
        for call in (loss, compiled):
            torch.manual_seed(4)
            terms = call(x)
            model.zero_grad()
            terms["loss"].backward()
            results.append((terms, [p.grad.clone() for p in model.parameters() if p.grad is not None]))
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("options", "message"), [
    ({"penalty": "kl"}, "penalty"), ({"kernel": "linear"}, "kernel"), ({"reconstruction": "mse"}, "reconstruction"),
    ({"posterior": "laplace"}, "posterior"), ({"lambda_": -1.0}, "lambda_"), ({"prior_std": 0.0}, "prior_std"),
    ({"image_range": (0, 255)}, "image_range"), ({"image_range": 1}, "image_range"),
    ({"adversary": nn.Linear(3, 1)}, "adversary was given")])
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        wae(**options)


def test_mmd_of_one_code_is_refused():
    with pytest.raises(ArgumentError, match="at least 2"):
        wae()(torch.rand(1, 5))


# The encoder's pretraining.


def test_the_distance_of_moments():
    codes, prior = torch.randn(9, 2, dtype=torch.float64), torch.randn(9, 2, dtype=torch.float64)
    covariances = [(z - z.mean(0)).T @ (z - z.mean(0)) / 8 for z in (codes, prior)]
    expected = (codes.mean(0) - prior.mean(0)).square().sum() / 2 + (covariances[0] - covariances[1]).square().sum() / 4
    torch.testing.assert_close(moment_distance(codes, prior), expected)


def test_pretraining_ends_near_the_priors_moments_and_moves_the_encoder_alone():
    torch.manual_seed(0)
    model = wae(prior_std=2.0).eval()
    before = [p.clone() for p in model.decoder.parameters()]
    distances = pretrain_encoder(model, (torch.rand(256, 5) for _ in range(400)), steps=400, lr=0.05, stop_below=0.3)
    assert distances[0] > 3 and distances[-1] < 0.3 and len(distances) < 400
    assert all(d >= 0.3 for d in distances[:-1])
    assert all(torch.equal(a, b) for a, b in zip(before, model.decoder.parameters()))
    assert not model.encoder.training and all(p.grad is None for p in model.parameters())


def test_pretraining_takes_the_batches_there_are_and_says_when_there_are_none():
    model = wae()
    assert len(pretrain_encoder(model, [[torch.rand(8, 5), "label"]] * 3, stop_below=0.0)) == 3
    with pytest.raises(ArgumentError, match="batches is empty"):
        pretrain_encoder(model, [])
    with pytest.raises(ArgumentError, match="1 image"):
        pretrain_encoder(model, [torch.rand(1, 5)])
    with pytest.raises(DataError, match="row 0 holds NaN"):
        pretrain_encoder(model, [torch.full((4, 5), math.nan)])
    torch.nn.init.constant_(next(model.encoder.parameters()), math.nan)
    with pytest.raises(TrainingError, match="distance of nan"):
        pretrain_encoder(model, [torch.rand(4, 5)])
