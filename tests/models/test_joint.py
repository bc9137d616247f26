"""Both stages trained together: the negative ELBO of u -> z -> x."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vaefast import models
from vaefast.errors import ArgumentError
from vaefast.nets import Flow, PatchGAN, SecondStageDecoder, SecondStageEncoder

SHAPE, K, B = (1, 3, 5), 4, 9
D = math.prod(SHAPE)


def first_stage(**options) -> models.VAE:
    return models.VAE(nn.Sequential(nn.Flatten(), nn.Linear(D, 2 * K)), nn.Sequential(nn.Linear(K, D), nn.Unflatten(1, SHAPE)),
                      data_shape=SHAPE, latent_dim=K, **options)


def both(gamma="learned", second_gamma="learned", **options) -> models.TwoStageVAE:
    torch.manual_seed(0)
    second = models.VAE(SecondStageEncoder(K, K, 6, 2), SecondStageDecoder(K, K, 6, 2), data_shape=(K,), latent_dim=K,
                        gamma=second_gamma, gamma_init=0.4)
    return models.TwoStageVAE(first_stage(gamma=gamma, gamma_init=0.3, **options), second, joint=True).double()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def by_hand(model: models.TwoStageVAE, x: torch.Tensor) -> torch.Tensor:
    """The loss in plain PyTorch, from what the networks return and the noise that the model draws."""
    first, second = model.first, model.second
    mu, logvar = first.encoder(x).chunk(2, dim=1)
    noise = seeded()

    def draw(mean, std):  # the noise of a draw is that of one with mean 0 and deviation 1
        zero = models.posterior.DiagonalGaussian(torch.zeros_like(mean), torch.zeros_like(mean), "logstd")
        return mean + std * zero.sample(noise)

    def nll(error, gamma, dims):
        if gamma is None:
            gamma = (error.square().sum(1).mean() / dims).sqrt()
        return (0.5 * (error / gamma).square() + gamma.log() + 0.5 * math.log(2 * math.pi)).sum(1).mean()

    z = draw(mu, (0.5 * logvar).exp())
    mu_u, logstd_u = second.encoder(z)
    u = draw(mu_u, logstd_u.exp())
    gamma_x, gamma_z = (None if m.gamma_mode == "optimal" else m.log_gamma.exp() for m in (first, second))
    of_x = nll((x - first.decoder(z)).flatten(1), gamma_x, D)
    of_z = nll(z - second.decoder(u), gamma_z, K)
    log_q = -(0.5 * logvar + 0.5 + 0.5 * math.log(2 * math.pi)).sum(1).mean()
    kl_u = 0.5 * (mu_u.square() + (2 * logstd_u).exp() - 1 - 2 * logstd_u).sum(1).mean()
    return of_x + log_q + of_z + kl_u


@pytest.mark.parametrize(("gamma", "second_gamma"), [("learned", "learned"), ("optimal", "learned"), (0.2, "optimal")])
def test_the_loss_is_the_joint_elbo_and_its_gradient_reaches_both_stages(gamma, second_gamma):
    model, x = both(gamma, second_gamma), torch.rand(B, *SHAPE, dtype=torch.float64)
    terms, expected = model.loss(x, seeded()), by_hand(model, x)
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["kl"])
    names, parameters = zip(*model.named_parameters())
    assert {name.split(".")[0] for name in names} == {"first", "second"}
    gradients = (torch.autograd.grad(loss, parameters) for loss in (terms["loss"], expected))
    for name, ours, theirs in zip(names, *gradients):
        torch.testing.assert_close(ours, theirs, msg=name)
        assert ours.abs().max() > 0, name
    # the encoder of the first stage has one from the second stage's terms alone, too
    assert torch.autograd.grad(model.loss(x)["kl"], model.first.encoder[1].weight)[0].abs().max() > 0


def test_with_a_second_stage_that_is_the_standard_normal_it_is_the_vaes():
    model, x = both(second_gamma=1.0), torch.rand(B, *SHAPE, dtype=torch.float64)
    for parameter in model.second.parameters():
        nn.init.zeros_(parameter)  # u says nothing of z, q(u|z) = N(0, I), and p(z|u) = N(0, I)
    joint, alone = model.loss(x, seeded()), model.first.loss(x, generator=seeded())
    assert joint["kl_u"] == 0
    torch.testing.assert_close(joint["reconstruction"], alone["reconstruction"])
    # log p(z) of one draw, where the KL has its mean over all draws
    q = model.first.encode(x)
    z = q.sample(seeded())
    of_draw = 0.5 * (z.square() - q.mean.square() - q.std.square()).sum(1).mean()
    torch.testing.assert_close(joint["loss"] - of_draw, alone["loss"])
    with torch.no_grad():
        many = torch.stack([model.loss(x)["kl"] for _ in range(4000)])
    assert abs(many.mean() - alone["kl"]) < 5 * many.std() / math.sqrt(len(many))


def test_stages_that_cannot_be_trained_together_are_refused():
    second = both().second
    flow = models.FlowMatching(nn.Linear(K, K), K)
    for first, stage, says in (
            (first_stage(), flow, "kind FlowMatching has no part in"),
            (first_stage(flow=Flow("planar", 2, K)), second, "the first stage has a flow"),
            (first_stage(adversary=PatchGAN(1)), second, "the first stage has an adversary"),
            (first_stage(perceptual=nn.Flatten()), second, "the first stage has a perceptual term")):
        with pytest.raises(ArgumentError, match=says):
            models.TwoStageVAE(first, stage, joint=True)
    apart = models.TwoStageVAE(first_stage(), second)
    for call in (apart, apart.loss):
        with pytest.raises(ArgumentError, match="model.first"):
            call(torch.rand(2, *SHAPE))
