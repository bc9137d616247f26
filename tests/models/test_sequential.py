"""The Sequential VAE's chain: what it minimises, where gradients go, and batches of the training's size."""

from __future__ import annotations

import math

import pytest
import torch

from vaefast.errors import ArgumentError
from vaefast.models import InfusionChain, SequentialVAE
from vaefast.models.posterior import DiagonalGaussian
from vaefast.models.sequential import damaged, kl_between
from vaefast.nets import LatentPredictor, SequentialDecoder, SequentialEncoder

SHAPE = (1, 8, 8)
SIZES = {"widths": (4, 6, 8, 10, 12), "rungs": (2, 3, 1, 2)}
T = 3


def make(*, predictor: bool = False, own: int = T, gated: bool = True, **options) -> SequentialVAE:
    torch.manual_seed(1)
    model = SequentialVAE([SequentialEncoder(SHAPE, **SIZES) for _ in range(own)],
                          [SequentialDecoder(SHAPE, **SIZES, with_image=t > 0, gated=gated) for t in range(own)],
                          predictors=[LatentPredictor(8, width=12) for _ in range(own - 1)] if predictor else (),
                          data_shape=SHAPE, steps=T, **options).double()
    return model


def infusion(**options) -> InfusionChain:
    torch.manual_seed(1)
    decoders = [SequentialDecoder(SHAPE, widths=SIZES["widths"], rungs=()) for _ in range(T)]
    return InfusionChain(decoders, data_shape=SHAPE, steps=T, **options).double()


@pytest.fixture
def x():
    return torch.rand(6, *SHAPE, dtype=torch.float64)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_loss_term_by_term(x):
    model = make()
    model.kl_weight.fill_(0.25)
    terms = model(x, seeded())
    g, previous, rec, kl = seeded(), None, [], []
    for t in range(T):
        mean, raw = model.encoders[t](x)
        q = DiagonalGaussian(mean, raw, "logstd")
        z = q.sample(g)
        logits, gate = model.decoders[t](z) if t == 0 else model.decoders[t](z, previous)
        out = 2 * logits.sigmoid() - 1  # on [-1, 1], as the paper has it
        if t > 0:
            m = gate.sigmoid()
            out = m * out + (1 - m) * (2 * previous - 1)
        rec.append(16 * (out - (2 * x - 1)).square().sum() / len(x))
        std = raw.exp()
        kl.append((-raw + std.square() / 2 + mean.square() / 2 - 0.5).sum() / len(x))
        previous = (out + 1) / 2
    for t in range(T):
        torch.testing.assert_close(terms[f"rec_{t + 1}"], rec[t])
        torch.testing.assert_close(terms[f"kl_{t + 1}"], kl[t])
    torch.testing.assert_close(terms["loss"], sum(rec) + 0.25 * sum(kl))
    torch.testing.assert_close(terms["reconstruction"], rec[-1])
    torch.testing.assert_close(terms["kl"], sum(kl))


def test_uint8_images_are_scaled(x):
    byte = (255 * x).round().to(torch.uint8)
    model = make()
    torch.testing.assert_close(model(byte, seeded())["loss"], model(byte.double() / 255, seeded())["loss"])


def test_without_new_pixels_the_image_stays(x):
    model = make()
    for decoder in model.decoders[1:]:
        torch.nn.init.zeros_(decoder.gate.weight)
        torch.nn.init.constant_(decoder.gate.bias, -1e4)
    chain = model.steps(7, seeded())
    assert chain.shape == (T, 7, *SHAPE) and torch.equal(chain[1], chain[0]) and torch.equal(chain[2], chain[0])


@pytest.mark.parametrize("last_only", [False, True])
def test_gradients_between_steps(last_only, x):
    model = make(last_only=last_only)
    terms = model(x, seeded())
    first = list(model.decoders[0].parameters())
    grads = torch.autograd.grad(terms[f"rec_{T}"], first, allow_unused=True, retain_graph=True)
    reached = any(g is not None and g.abs().max() > 0 for g in grads)
    assert reached == last_only
    if last_only:
        torch.testing.assert_close(terms["loss"], terms[f"rec_{T}"] + terms["kl"])
    else:
        alone = torch.autograd.grad(terms["rec_1"], first[-1], retain_graph=True)[0]
        torch.testing.assert_close(torch.autograd.grad(terms["loss"], first[-1])[0], alone)


def test_the_predictor_is_added_and_shifts_the_prior(x):
    plain, model = make(), make(predictor=True)
    terms = model(x, seeded())
    assert "kl_predicted" not in plain(x, seeded())
    rec = sum(terms[f"rec_{t}"] for t in range(1, T + 1))
    torch.testing.assert_close(terms["loss"], rec + terms["kl"] + terms["kl_predicted"])
    model.kl_weight.fill_(0.0)  # the authors' c(n) at the first iteration, which does not weigh the predictor's term
    early = model(x, seeded())
    torch.testing.assert_close(early["loss"], sum(early[f"rec_{t}"] for t in range(1, T + 1)) + early["kl_predicted"])
    model.kl_weight.fill_(1.0)
    with torch.no_grad():
        for predictor in model.predictors:
            for head, value in ((predictor.mean, 3.0), (predictor.scale, -20.0)):
                torch.nn.init.zeros_(head.weight), torch.nn.init.constant_(head.bias, value)
        first, *later = model.prior(11, seeded()).split(model.latent_dims, 1)
    assert first.shape == (11, 8) and first.std() > 0.5
    assert all((z - 3).abs().max() < 1e-6 for z in later)


def test_divergence_between_gaussians():
    q = DiagonalGaussian(torch.randn(4, 3).double(), torch.randn(4, 3).double() / 3, "logstd")
    p = DiagonalGaussian(torch.randn(4, 3).double(), torch.randn(4, 3).double() / 3, "logvar")
    found = torch.distributions.kl_divergence(*(torch.distributions.Normal(g.mean, g.std) for g in (q, p)))
    torch.testing.assert_close(kl_between(q, p), found.sum(1))


def test_one_set_of_weights_for_later_steps(x):
    model = make(own=2)
    assert len(model.encoders) == len(model.decoders) == 2 and model.latent_dims == (8, 8, 8)
    posterior = model.encode(x)
    assert posterior.mean.shape == (6, 24) and torch.equal(posterior.steps[1].mean, posterior.steps[2].mean)
    terms = model(x, seeded())
    torch.testing.assert_close(terms["kl_2"], terms["kl_3"])
    assert terms["rec_3"] != terms["rec_2"]


def test_encoding_step_by_step(x):
    model = make()
    posterior = model.encode(x)
    for t, q in enumerate(posterior.steps):
        mean, raw = model.encoders[t](x)
        torch.testing.assert_close(q.mean, mean), torch.testing.assert_close(q.std, raw.exp())
    assert (posterior.std < 1).all() and posterior.sample().shape == (6, model.latent_dim)
    torch.testing.assert_close(posterior.kl().sum(1).mean(), model(x)["kl"])


def test_batches_are_as_large_as_those_of_the_training():
    model = make().train()
    assert int(model.batch) == 100
    model(torch.rand(6, *SHAPE, dtype=torch.float64))
    assert int(model.batch) == 6
    z = model.prior(14, seeded())
    whole = model.eval().decode_steps(z)
    assert whole.shape == (T, 14, *SHAPE) and torch.equal(model.decode(z), whole[-1])
    by_hand = [model._chain(part)[-1] for part in (z[:6], z[6:12], z[8:])]
    torch.testing.assert_close(whole[-1], torch.cat([by_hand[0], by_hand[1], by_hand[2][4:]]))
    filled = torch.cat([z[:2], model.prior(4, seeded(0))])
    torch.testing.assert_close(model.decode(z[:2]), model._chain(filled)[-1][:2])
    assert torch.equal(model.decode(z[:1]), model.decode(z[:1]))
    model.eval()(torch.rand(3, *SHAPE, dtype=torch.float64))
    assert int(model.batch) == 6  # evaluation says nothing of the training


def test_damaged_images():
    x = torch.full((40, 1, 32, 32), 0.7)  # 0.4 on [-1, 1]
    seen = 2 * damaged(x, seeded()) - 1
    assert seen.min() >= -1 and seen.max() <= 1
    zeroed, raised = (seen < 0.2).float().mean(), (seen > 0.8).float().mean()
    assert abs(zeroed - 0.106) < 0.005 and abs(raised - 0.1) < 0.005  # 0.09 zeroed, and the noise
    plain = seen[(seen > 0.2) & (seen < 0.6)]
    assert abs(plain.std() - 0.1) < 0.015
    model = make(denoise=True)
    batch = torch.rand(6, *SHAPE, dtype=torch.float64)
    assert model.train()(batch, seeded())["kl"] != make().train()(batch, seeded())["kl"]
    assert model.eval()(batch, seeded())["kl"] == make().eval()(batch, seeded())["kl"]


def test_infusion_reveals_more_and_more(x):
    model = infusion(reveal=0.2)
    big = torch.rand(500, *SHAPE, dtype=torch.float64)
    code = model.encode(big).sample(seeded()).view(500, T, 2, 8, 8)
    values, mask = code[:, :, 0], code[:, :, 1]
    assert (mask[:, 0] == 1).all()
    revealed = values == big[:, :1]  # [500, T, 8, 8], of the image's one channel
    assert torch.equal(revealed[:, 1:], mask[:, 1:] > 0)
    assert [round(r, 1) for r in revealed.double().mean((0, 2, 3)).tolist()] == [0.2, 0.4, 0.6]
    terms = model(x, seeded())
    assert terms["kl"] == 0
    torch.testing.assert_close(terms["loss"], sum(terms[f"rec_{t}"] for t in range(1, T + 1)))
    terms["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.steps(5, seeded()).shape == model.reconstruct_steps(x).shape[:1] + (5, *SHAPE)
    prior = model.prior(3, seeded()).view(3, T, 2, 8, 8)
    assert (prior[:, 0, 1] == 1).all() and (prior[:, 1:] == 0).all() and prior[:, 0, 0].std() > 0.2


def test_an_infused_chain_with_everything_revealed_ends_at_the_image(x):
    model = infusion(reveal=1 / T)
    for decoder in model.decoders:
        torch.nn.init.zeros_(decoder.gate.weight), torch.nn.init.constant_(decoder.gate.bias, -1e4)
    assert torch.equal(model.reconstruct(x), x)


@pytest.mark.parametrize("batch", [torch.rand(1, *SHAPE), torch.rand(3, 1, 8, 7), torch.rand(3, 64)])
def test_batches_that_cannot_work(batch):
    model = make()
    for call in (model.loss, model.encode, infusion().encode):
        with pytest.raises(ArgumentError, match="B of 2 or more" if batch.shape == (1, *SHAPE) else "built with image_shape"):
            call(batch.double())


def test_settings_that_cannot_work():
    with pytest.raises(ArgumentError, match="4 encoders"):
        SequentialVAE([torch.nn.Identity()] * 4, [torch.nn.Identity()], data_shape=SHAPE, steps=T)
    with pytest.raises(ArgumentError, match="0 decoders"):
        SequentialVAE([torch.nn.Identity()], [], data_shape=SHAPE, steps=T)
    with pytest.raises(ArgumentError, match="reconstruction_weight"):
        make(reconstruction_weight=math.nan)
    with pytest.raises(ArgumentError, match="reveal is 0.5"):
        infusion(reveal=0.5)
    with pytest.raises(ArgumentError, match="takes \\[B, 24\\]"):
        make().decode(torch.zeros(2, 8).double())
