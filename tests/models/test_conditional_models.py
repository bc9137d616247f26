"""VAE and WAE that are conditioned: their terms by hand, what they refuse, and that without conditions nothing is otherwise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vaefast.errors import ArgumentError, DataError
from vaefast.models import VAE, WAE, ImageAdversary, pretrain_encoder
from vaefast.models.likelihood import gaussian_nll
from vaefast.nets import ConditionalDecoder, ConditionalEncoder, LatentAdversary, told_codes, told_shape
from vaefast.training.sources import RowSource

SHAPE, K = (7,), 3


class Halves(nn.Module):
    """x -> (mu, raw), or z -> x_hat, linear."""

    def __init__(self, inputs: int, outputs: int, parts: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs * parts)
        self.parts = parts

    def forward(self, x):
        out = self.linear(x).chunk(self.parts, 1)
        return out if self.parts > 1 else out[0]


def build(kind=VAE, given=None, **options):
    torch.manual_seed(0)
    given = {"classes": 4} if given is None else given
    size = next(iter(given.values()))
    encoder = ConditionalEncoder(Halves(told_shape(SHAPE, size)[0], K, 1 if kind is WAE else 2), **given)
    decoder = ConditionalDecoder(Halves(told_codes(K, size), SHAPE[0]), **given)
    return kind(encoder, decoder, data_shape=SHAPE, latent_dim=K, **given, **options).double()


def batch(given=None):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(5, *SHAPE, generator=draw, dtype=torch.float64)
    if given is None or "classes" in given:
        return x, torch.tensor([0, 3, 1, 3, 2])
    return x, 3 + 5 * torch.randn(5, given["condition_dim"], generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("given", [{"classes": 4}, {"condition_dim": 2}])
def test_the_loss_is_that_of_networks_that_are_told(given):
    model = build(given=given, gamma=0.7)
    x, condition = batch(given)
    model.look_at(RowSource(x, torch.device("cpu"), condition))
    terms = model(x, condition, generator=torch.Generator().manual_seed(2))
    told = condition
    if "condition_dim" in given:
        told = (condition - condition.mean(0)) / condition.std(0, correction=0)
    mu, raw = model.encoder(x, told)
    std = (0.5 * raw).exp()  # scale_param is "logvar" where a network does not say
    posterior = model.encode(x, condition)
    torch.testing.assert_close(posterior.mean, mu)
    torch.testing.assert_close(posterior.std, std)
    z = posterior.sample(torch.Generator().manual_seed(2))
    x_hat = model.decoder(z, told)
    nll = gaussian_nll(x, x_hat, torch.tensor(0.7, dtype=torch.float64).log())
    kl = 0.5 * (mu.square() + std.square() - 1 - 2 * std.log()).sum(1)
    torch.testing.assert_close(terms["reconstruction"], nll.mean(), rtol=1e-6, atol=0)
    torch.testing.assert_close(terms["kl"], kl.mean(), rtol=1e-6, atol=0)
    torch.testing.assert_close(model.decode(z, condition), x_hat)
    torch.testing.assert_close(model.log_likelihood(x, z, condition), -nll, rtol=1e-6, atol=0)
    again = model.reconstruct(x, torch.Generator().manual_seed(2), condition)
    torch.testing.assert_close(again, x_hat)
    assert model.draw(z, condition=condition).shape == x.shape


def test_samples_of_a_class_for_all_of_each_and_of_none():
    model = build()
    model.look_at(RowSource(torch.randn(8, *SHAPE), torch.device("cpu"), torch.tensor([1, 1, 1, 1, 1, 1, 2, 2])))
    assert model.shares.tolist() == [0, 0.75, 0.25, 0]
    z = model.prior(6, torch.Generator().manual_seed(3))
    one = model.sample(6, torch.Generator().manual_seed(3), condition=2)
    torch.testing.assert_close(one, model.decode(z, torch.full((6,), 2)))
    each = model.sample(6, torch.Generator().manual_seed(3), condition=[1, 1, 2, 1, 2, 1])
    torch.testing.assert_close(each, model.decode(z, torch.tensor([1, 1, 2, 1, 2, 1])))
    with pytest.raises(ArgumentError, match="condition holds class 3, of which there were no examples in the training data"):
        model.sample(2, condition=[1, 3])
    assert model.sample(4).shape == (4, *SHAPE) and model.sample(0).shape == (0, *SHAPE)


@pytest.mark.parametrize("penalty", ["mmd", "gan"])
def test_a_wae_and_its_players_are_told(penalty):
    model = build(WAE, penalty=penalty, adversary=LatentAdversary(K, 8, 1) if penalty == "gan" else None)
    x, labels = batch()
    for player in model.players():
        player.loss(x, labels)["loss"].backward()
        assert all(p.grad is not None for p in player.parameters.values())
    torch.testing.assert_close(model.reconstruct(x, None, labels), model.decoder(model.encoder(x, labels), labels))
    with pytest.raises(ArgumentError, match="conditioned on 4 classes; give it condition="):
        model.players()[-1].loss(x)


def test_an_image_adversary_and_pretraining_are_told():
    judge = nn.Sequential(nn.Flatten(), nn.Linear(7, 1))
    model = build(adversary=ImageAdversary(judge.double()))
    x, labels = batch()
    for player in model.players():
        assert player.loss(x, labels)["loss"].isfinite()
    distances = pretrain_encoder(build(WAE), [(x, labels)] * 3, stop_below=0.0)
    assert len(distances) == 3 and distances[-1] < distances[0]


def test_what_is_missing_too_much_or_wrong_is_said():
    model, vectors = build(), build(given={"condition_dim": 2})
    x, labels = batch()
    plain = VAE(Halves(7, K, 2), Halves(K, 7), data_shape=SHAPE, latent_dim=K).double()
    z = torch.zeros(5, K)
    for call, says in (
            (lambda: model(x), "conditioned on 4 classes; give it condition=, a class from 0 to 3"),
            (lambda: model.decode(z), "conditioned on 4 classes"),
            (lambda: vectors.encode(x), "conditioned on vectors of 2 numbers; give it condition="),
            (lambda: vectors.sample(3), "conditioned on vectors of 2 numbers"),
            (lambda: model(x, labels + 1), "holds the classes 1 to 4; this model knows 0 to 3"),
            (lambda: model(x, labels[:3]), r"a Tensor of int64 \[3\]; expected a class from 0 to 3, or 5 of them"),
            (lambda: model(x, labels.double()), "expected a class from 0 to 3"),
            (lambda: vectors(x, torch.zeros(5, 3)), r"float32 \[5, 3\]; expected a vector of 2 numbers, or 5 of them, \[5, 2\]"),
            (lambda: vectors(x, "word"), "condition is 'word'; expected a vector of 2 numbers"),
            (lambda: plain.encode(x, labels), "this model knows no classes"),
            (lambda: plain.sample(2, condition=1), "this model is not conditioned: leave it out"),
            (lambda: build(given={"classes": 4, "condition_dim": 2}), "one of the two")):
        with pytest.raises(ArgumentError, match=says):
            call()
    with pytest.raises(DataError, match="row 3 of condition holds NaN"):
        vectors(x, torch.tensor([[0.0, 1.0]] * 3 + [[torch.nan, 1.0]] * 2))


def test_a_model_without_conditions_has_no_trace_of_them():
    plain = VAE(Halves(7, K, 2), Halves(K, 7), data_shape=SHAPE, latent_dim=K)
    assert not [name for name in plain.state_dict() if "condition" in name or "shares" in name]
    x = torch.randn(4, 7)
    by_place = plain.loss(x, torch.Generator().manual_seed(0))  # where the generator was before there were conditions
    assert torch.equal(by_place["loss"], plain.loss(x, generator=torch.Generator().manual_seed(0))["loss"])
