"""GANs against independent float64 formulas: losses, penalties, k_t, turns, and who gets gradients."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from vaefast.errors import ArgumentError
from vaefast.models import GAN
from vaefast.models.gan_losses import LOSSES
from vaefast.models.gradient_penalty import PENALTIES, gradient_penalty, squared_slopes
from vaefast.models.player import players_of
from vaefast.nets import BatchNorm, BEGANDiscriminator, InfoGANDiscriminator, InfoGANGenerator
from vaefast.training import PlayerSettings, Stage, StageSettings, Trainer
from vaefast.training.sources import ImageSource

K, SHAPE = 3, (1, 2, 3)
LOG = math.log


class Net(nn.Sequential):
    """Layers from one flat shape to another."""

    def __init__(self, *layers: nn.Module, out: tuple[int, ...] = (1,), output: str = "image") -> None:
        super().__init__(*layers)
        self.out, self.output = out, output

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1)).view(len(x), *self.out)


def gan(loss: str = "ns", *, output: str = "logits", norm: bool = False, **options) -> GAN:
    torch.manual_seed(2)
    generator = Net(nn.Linear(K, 8), BatchNorm(8), nn.Tanh(), nn.Linear(8, 6), out=SHAPE, output=output)
    middle = [BatchNorm(5)] if norm else []
    discriminator = Net(nn.Linear(6, 5), *middle, nn.Softplus(), nn.Linear(5, 6 if loss == "began" else 1),
                        out=SHAPE if loss == "began" else (1,))
    return GAN(generator, discriminator, image_shape=SHAPE, latent_dim=K, loss=loss, **options).double()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(7, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def z() -> Tensor:
    return 2 * torch.rand(7, K, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) - 1


def sg(t: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-t))


FORMULAS = {
    "mm": (lambda a, b: -sg(a).log().mean() - (1 - sg(b)).log().mean(), lambda b: (1 - sg(b)).log().mean()),
    "ns": (lambda a, b: -sg(a).log().mean() - (1 - sg(b)).log().mean(), lambda b: -sg(b).log().mean()),
    "lsgan": (lambda a, b: ((sg(a) - 1) ** 2 + sg(b) ** 2).mean() / 2, lambda b: ((1 - sg(b)) ** 2).mean() / 2),
    "wgan": (lambda a, b: (b - a).mean(), lambda b: (-b).mean()),
    "hinge": (lambda a, b: ((1 - a) * (a < 1) + (1 + b) * (b > -1)).mean(), lambda b: (-b).mean()),
    "relativistic": (lambda a, b: -sg(a - b).log().mean(), lambda a, b: -sg(b - a).log().mean()),
}
FORMULAS |= {"wgan-gp": FORMULAS["wgan"], "dragan": FORMULAS["ns"]}


@pytest.mark.parametrize("loss", FORMULAS)
def test_losses_are_the_papers_formulas(loss, x, z):
    model = gan(loss, penalty="none")
    a, b = model.discriminator(x).flatten(), model.discriminator(model.generator(z).sigmoid()).flatten()
    of_d, of_g = FORMULAS[loss]
    terms = model.discriminator_loss(x, z)
    torch.testing.assert_close(terms["loss"], of_d(a, b))
    torch.testing.assert_close(terms["real"], a.mean().detach())
    torch.testing.assert_close(terms["fake"], b.mean().detach())
    assert ("accuracy" in terms) == (loss not in ("wgan", "wgan-gp", "relativistic"))
    if "accuracy" in terms:
        assert terms["accuracy"] == 0.5 * ((a > 0).double().mean() + (b < 0).double().mean())
    terms = model.generator_loss(x, z)
    torch.testing.assert_close(terms["loss"], of_g(a, b) if loss == "relativistic" else of_g(b))
    fake = model.generator(z).sigmoid()
    spread = fake.var(0, correction=0).sqrt().mean() / x.var(0, correction=0).sqrt().mean()
    torch.testing.assert_close(terms["diversity"], spread.detach())


@pytest.mark.parametrize(("loss", "of_d", "of_g"), [
    ("mm", 2 * LOG(2), -LOG(2)), ("ns", 2 * LOG(2), LOG(2)), ("dragan", 2 * LOG(2), LOG(2)), ("lsgan", 0.25, 0.125),
    ("wgan", 0.0, 0.0), ("wgan-gp", 0.0, 0.0), ("hinge", 2.0, 0.0), ("relativistic", LOG(2), LOG(2))])
def test_values_where_the_discriminator_says_nothing(loss, of_d, of_g):
    zero = torch.zeros(4, dtype=torch.float64)
    assert float(LOSSES[loss].discriminator(zero, zero)) == pytest.approx(of_d)
    assert float(LOSSES[loss].generator(*[zero] * (1 + LOSSES[loss].paired))) == pytest.approx(of_g)


def test_losses_stay_finite_for_large_logits():
    for loss in LOSSES.values():
        for far in (1e4, -1e4):
            a = torch.full((2,), far, requires_grad=True)
            value = loss.discriminator(a, -a) + loss.generator(*([a] if loss.paired else []), -a)
            (gradient,) = torch.autograd.grad(value, a)
            assert value.isfinite() and gradient.isfinite().all()


# Penalties.

def _slope(net: nn.Module, point: Tensor, probability: bool = False, h: float = 1e-5) -> Tensor:
    """Norms of the gradients of each example, by finite differences."""
    found = []
    for one in point:
        steps = h * torch.eye(one.numel(), dtype=one.dtype).view(-1, *one.shape)
        up, down = net(one + steps).flatten(), net(one - steps).flatten()
        if probability:
            up, down = sg(up), sg(down)
        found.append(((up - down) / (2 * h)).norm())
    return torch.stack(found)


@pytest.mark.parametrize("name", [n for n in PENALTIES if n != "none"])
def test_penalties_are_the_papers_formulas(name, x, z):
    model = gan("wgan", penalty=name, lambda_=3.0)
    fake = model.generate(z).detach()
    torch.manual_seed(5)
    terms = model.discriminator_terms(x, fake)
    torch.manual_seed(5)
    if name == "gp":
        share = torch.rand(7, 1, dtype=torch.float64).view(7, 1, 1, 1)
        point = x + share * (fake - x)
    elif name == "dragan":
        noise = torch.rand(7, *SHAPE, dtype=torch.float64)
        share = torch.rand(7, 1, dtype=torch.float64).view(7, 1, 1, 1)
        perturbed = x + 0.5 * ((x - x.mean()) ** 2).mean().sqrt() * noise
        point = x + share * (perturbed - x)
    elif name == "dragan-v3":
        std = ((x - x.mean()) ** 2).mean().sqrt()
        point = (x + std * (torch.rand(7, *SHAPE, dtype=torch.float64) - 0.5)).clamp(0, 1)
    else:
        point = x
    slope = _slope(model.discriminator, point, probability=name == "dragan")
    expected = 0.5 * (slope**2).mean() if name == "r1" else ((1e-4 + slope**2).sqrt() - 1).square().mean()
    torch.testing.assert_close(terms["penalty"], expected.detach(), rtol=1e-6, atol=1e-8)
    a, b = model.discriminator(x).mean(), model.discriminator(fake).mean()
    torch.testing.assert_close(terms["loss"], b - a + 3.0 * expected, rtol=1e-6, atol=1e-8)


def test_the_penalty_of_a_linear_critic_of_slope_one(x):
    critic = nn.Linear(6, 1, bias=False).double()
    with torch.no_grad():
        critic.weight /= critic.weight.norm()
    value = gradient_penalty("gp", lambda images: critic(images.flatten(1)).flatten(), x, x.flip(0))
    assert value.item() == pytest.approx((math.sqrt(1 + 1e-4) - 1) ** 2, rel=1e-9)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("penalty", ["gp", "dragan-v3", "r1", "dragan"])
def test_second_derivatives_are_right(penalty, norm, x, z):
    """The gradient of the whole loss, penalty included, against finite differences of it."""
    model = gan("ns", penalty=penalty, lambda_=2.0, norm=norm)
    fake = model.generate(z).detach()

    def loss() -> Tensor:
        torch.manual_seed(0)
        return model.discriminator_terms(x, fake)["loss"]

    weight = model.discriminator[0].weight
    (gradient,) = torch.autograd.grad(loss(), weight)
    for at in ((0, 0), (2, 3)):
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                weight[at] += step
                values.append(float(loss().detach()))
                weight[at] -= step
        assert float(gradient[at]) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-7)


def test_slopes_are_of_each_example(x):
    weights = torch.arange(1.0, 7.0, dtype=torch.float64)
    squared = squared_slopes(lambda images: (images.flatten(1).square() * weights).sum(1), x)
    torch.testing.assert_close(squared, (2 * x.flatten(1) * weights).square().sum(1))
    with torch.no_grad():
        assert squared_slopes(lambda images: images.flatten(1).sum(1), x).shape == (7,)


def test_weight_penalty_is_of_matrices_alone(x, z):
    plain, weighed = gan("ns"), gan("ns", weight_penalty=0.3)
    matrices = [p for p in plain.discriminator.parameters() if p.ndim > 1]
    expected = sum(float(0.5 * (p.detach() ** 2).sum()) for p in matrices) / len(matrices)
    terms = weighed.discriminator_loss(x, z)
    assert float(terms["weight_penalty"]) == pytest.approx(expected)
    torch.testing.assert_close(terms["loss"], plain.discriminator_loss(x, z)["loss"] + 0.3 * expected)


# BEGAN.

def test_began(x, z):
    model = gan("began", began_lambda=0.1, began_gamma=0.5)
    model.k_t.fill_(0.25)

    def error(images: Tensor) -> Tensor:
        return (model.discriminator(images) - images).abs().mean()

    fake = model.generator(z).sigmoid()
    real, made = error(x), error(fake)
    terms = model.discriminator_loss(x, z)
    torch.testing.assert_close(terms["loss"], real - 0.25 * made)
    torch.testing.assert_close(terms["convergence"], (real + (0.5 * real - made).abs()).detach())
    torch.testing.assert_close(model.generator_loss(x, z)["loss"], made)
    model.balance(x, z)
    assert float(model.k_t) == pytest.approx(0.25 + 0.1 * float((0.5 * real - made).detach()))
    assert "k_t" in model.state_dict() and "k_t" not in gan("ns").state_dict()


def test_k_t_where_both_errors_are_the_same_and_below_zero(x):
    model = gan("began", began_lambda=0.1, began_gamma=0.75)
    model.generate = lambda z, net=None: x  # fakes that are the images
    error = float(model.judge(x).mean().detach())
    model.balance(x)
    assert float(model.k_t) == pytest.approx(0.1 * error * (0.75 - 1)) and model.k_t < 0
    model.began_clip = True
    model.balance(x)
    assert model.k_t == 0


# Turns.

def _gradients(model: GAN) -> dict[str, list[bool]]:
    return {name: [p.grad is not None for p in getattr(model, name).parameters()] for name in ("generator", "discriminator")}


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_reach_the_own_network_alone(loss, x):
    model = gan(loss)
    model.discriminator_loss(x)["loss"].backward()
    found = _gradients(model)
    assert all(found["discriminator"]) and not any(found["generator"])
    model.zero_grad()
    model.generator_loss(x)["loss"].backward()
    found = _gradients(model)
    assert all(found["generator"]) and not any(found["discriminator"])
    assert all(p.requires_grad for p in model.parameters())


def _train(model: GAN, images: Tensor, **options) -> Trainer:
    trainer_options = options.pop("trainer", {})
    settings = StageSettings(**{"steps": 4, "batch_size": 7, "lr": 0.01, "betas": (0.5, 0.9), "schedule": "constant", **options})
    trainer = Trainer(model, [Stage("gan", model, lambda: ImageSource(images, torch.device("cpu"), scale=False), settings)],
                      device="cpu", precision="fp32", **{"log_every": 1, **trainer_options})
    trainer.fit()
    return trainer


@pytest.mark.parametrize("options", [
    {"loss": "ns"}, {"loss": "ns", "same_z": False}, {"loss": "wgan-gp", "disc_iters": 3}, {"loss": "dragan", "norm": True},
    {"loss": "began", "disc_iters": 2, "began_lambda": 0.2}, {"loss": "hinge", "order": "dgd"},
    {"loss": "lsgan", "penalty": "r1"}])
def test_training_is_that_of_a_plain_loop(options, x):
    """Turns, codes that are shared, one pass through G for both: the same weights as with everything computed anew."""
    model, own = gan(**options), gan(**options)
    images = x.repeat(2, 1, 1, 1)
    seen: list[Tensor] = []
    count = model.discriminator_terms
    model.discriminator_terms = lambda x, *a, **k: seen.append(x) or count(x, *a, **k)
    _train(model, images, steps=5)
    own.train()
    d, g = (torch.optim.Adam(m.parameters(), lr=0.01, betas=(0.5, 0.9)) for m in (own.discriminator, own.generator))
    torch.manual_seed(0)

    def step(optimizer: torch.optim.Optimizer, terms: dict[str, Tensor]) -> None:
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()

    batches = iter(seen)
    for i in range(5):
        batch = next(batches)
        z = own.codes_for(batch)
        step(d, own.discriminator_loss(batch, z))
        if i % options.get("disc_iters", 1) == 0:
            step(g, own.generator_loss(batch, z if own.same_z else own.codes_for(batch)))
            if options.get("order") == "dgd":
                step(d, own.discriminator_loss(next(batches)))
        if options["loss"] == "began":
            own.balance(batch, z)
    assert next(batches, None) is None
    for (name, a), b in zip(model.named_parameters(), own.parameters()):
        torch.testing.assert_close(a, b, msg=name)
    torch.testing.assert_close(model.k_t, own.k_t)


def test_one_pass_through_the_generator_serves_both_turns(x):
    for same_z, calls in ((True, 1), (False, 2)):
        model = gan("ns", same_z=same_z)
        seen: list[int] = []
        model.generator.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        _train(model, x, steps=3)
        assert len(seen) == 3 * calls
        assert int(model.generator[1].num_batches_tracked) == 3 * calls


@pytest.mark.parametrize("loss", ["ns", "began"])
def test_one_pass_of_the_discriminator_is_two(loss):
    """Same losses, gradients and moving statistics, whether real and fake images pass together or apart."""
    x = torch.rand(6, 1, 4, 8, dtype=torch.float64)
    made = []
    for rowwise in (True, False):
        torch.manual_seed(0)
        net = (BEGANDiscriminator if loss == "began" else InfoGANDiscriminator)((1, 4, 8), batch_norm=True)
        assert net.rowwise
        net.rowwise = rowwise
        model = GAN(InfoGANGenerator((1, 4, 8), K), net, image_shape=(1, 4, 8), latent_dim=K, loss=loss).double()
        model.k_t.fill_(0.5)
        calls: list[int] = []
        net.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        terms = model.discriminator_loss(x, torch.linspace(-1, 1, 6 * K, dtype=torch.float64).view(6, K))
        terms["loss"].backward()
        assert len(calls) == (1 if rowwise else 2)
        made.append((terms, [p.grad for p in net.parameters()], list(net.buffers())))
    torch.testing.assert_close(made[0], made[1])


def test_parts_of_a_batch_get_their_own_codes(x):
    whole, parts = gan("ns"), gan("ns")
    whole.generator[1] = nn.Identity()  # batch norm would see smaller batches
    parts.generator[1] = nn.Identity()
    images = torch.cat([x, x[:1]])
    for model, accumulate in ((whole, 1), (parts, 2)):
        _train(model, images, steps=3, batch_size=8, accumulate=accumulate)
    for a, b in zip(whole.parameters(), parts.parameters()):
        torch.testing.assert_close(a, b)


def test_weights_are_clipped_after_the_critics_steps_alone(x):
    model = gan("wgan")
    before = [p.detach().clone() for p in model.generator.parameters()]
    clip = PlayerSettings(lr=0.01, schedule="constant", weight_clip=0.05)
    _train(model, x, players={"discriminator": clip})
    assert max(float(p.detach().abs().max()) for p in model.discriminator.parameters()) <= 0.05
    assert max(float(p.detach().abs().max()) for p in model.generator.parameters()) > 0.05 and before


def test_frozen_parameters_stay(x):
    model = gan("ns")
    model.generator[0].requires_grad_(False)
    before = model.generator[0].weight.clone()
    _train(model, x)
    assert torch.equal(model.generator[0].weight, before) and not model.generator[0].weight.requires_grad
    assert model.generator[3].weight.requires_grad and model.generator[0].weight.grad is None


def test_nothing_waits_after_training(x):
    model = gan("ns", disc_iters=3)
    _train(model, x, steps=5)
    assert copy.deepcopy(model).sample(2).shape == (2, *SHAPE)


def test_compiled_networks_with_a_penalty_outside(x):
    """torch.compile of the networks alone (its cheapest backend here), the double backward in plain autograd."""
    try:
        torch._dynamo.reset()
        model, own = gan("wgan-gp", disc_iters=2), gan("wgan-gp", disc_iters=2)
        compile = torch.compile
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "compile", lambda m, **options: compile(m, backend="aot_eager", **options))
            _train(model, x, trainer={"compile": "on"})
        _train(own, x)
    finally:
        torch._dynamo.reset()
    for a, b in zip(model.parameters(), own.parameters()):
        torch.testing.assert_close(a, b)


# Codes, images, arguments.

def test_codes():
    model = gan("ns")
    z = model.prior(20_000)
    assert z.shape == (20_000, K) and -1 <= z.min() < -0.99 and 0.99 < z.max() <= 1 and abs(float(z.std()) - 3**-0.5) < 0.01
    z = gan("ns", z="normal").prior(20_000)
    assert z.abs().max() > 3 and abs(float(z.std()) - 1) < 0.02
    assert torch.equal(*(model.sample(3, torch.Generator().manual_seed(1)) for _ in range(2)))


@pytest.mark.parametrize(("output", "own", "seen"), [
    ("logits", None, (0, 1)), ("logits", None, (-1, 1)), ("image", (-1, 1), None), ("image", (-1, 1), (0, 1)),
    ("image", (0, 1), (-1, 1))])
def test_image_ranges(output, own, seen, x, z):
    model = gan("ns", output=output)
    if own:
        model.generator.image_range = own
    model = GAN(model.generator, model.discriminator, image_shape=SHAPE, latent_dim=K, image_range=seen).double()
    raw = model.generator(z)
    given = raw.sigmoid() if output == "logits" else 0.5 * (raw + 1) if own == (-1, 1) else raw
    torch.testing.assert_close(model.decode(z), given)
    expected_range = seen or own
    torch.testing.assert_close(model.generate(z), 2 * given - 1 if expected_range == (-1, 1) else given)
    as_seen = 2 * x - 1 if expected_range == (-1, 1) else x
    torch.testing.assert_close(model.discriminator_loss(x, z)["real"], model.discriminator(as_seen).mean().detach())
    bytes_ = (255 * x).round().to(torch.uint8)
    torch.testing.assert_close(model.discriminator_loss(bytes_, z)["real"],
                               model.discriminator_loss(bytes_.double() / 255, z)["real"])


def test_a_batch_of_one_has_no_diversity_and_is_finite(x, z):
    terms = gan("ns").eval().generator_loss(x[:1], z[:1])
    assert terms["diversity"] == 0 and terms["loss"].isfinite()


def test_what_cannot_work_is_refused(x):
    for values, text in (({"loss": "bigan"}, "loss is 'bigan'"), ({"penalty": "r2"}, "penalty is 'r2'"),
                         ({"z": "cauchy"}, "z is 'cauchy'"), ({"order": "gd"}, "order is 'gd'"),
                         ({"lambda_": -1}, "lambda_ is -1"), ({"disc_iters": 0}, "disc_iters is 0"),
                         ({"image_range": (0, 2)}, "image_range is"), ({"weight_penalty": math.nan}, "weight_penalty is nan"),
                         ({"loss": "began", "penalty": "dragan"}, "of probabilities")):
        with pytest.raises(ArgumentError, match=text):
            gan(**values)
    model = gan("ns")
    model.discriminator.out = (1, 1)
    with pytest.raises(ArgumentError, match=r"returned shape \[7, 1, 1\] for 7 images; expected \[7, 1\]"):
        model.discriminator_loss(x)
    model = gan("began")
    model.discriminator.out = (6,)
    with pytest.raises(ArgumentError, match="reconstructions"):
        model.discriminator_loss(x)


def test_players_names_and_turns():
    model = gan("hinge", disc_iters=4, order="dgd")
    assert [(p.name, p.every, p.new_batch) for p in players_of(model)] == [
        ("discriminator", 1, True), ("generator", 4, False), ("discriminator", 4, False)]
