"""WAE-MMD and WAE-GAN in the engine: two players on the same images, resumed runs, processes that share one MMD."""

from __future__ import annotations

import signal

import pytest
import torch
from torch import nn

from vaefast.models import VAE, WAE
from vaefast.nets import Flow, LatentAdversary
from vaefast.ops import mmd2
from vaefast.training import Callback, PlayerSettings, RunFolder

K = 2


def codes_far_from_normal(n: int = 2048) -> torch.Tensor:
    """Images [n, 1, 2, 2] in [0, 1] of a ring, whose codes do not look normal by themselves."""
    angle = 2 * torch.pi * torch.rand(n, generator=torch.Generator().manual_seed(1))
    plane = torch.stack([angle.cos(), angle.sin(), 0.5 * angle.cos(), -0.3 * angle.sin()], 1)
    return (0.5 + 0.4 * plane).view(n, 1, 2, 2)


def networks(heads: int = 1) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(5)
    return (nn.Sequential(nn.Flatten(), nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, heads * K)),
            nn.Sequential(nn.Linear(K, 32), nn.ReLU(), nn.Linear(32, 4), nn.Unflatten(1, (1, 2, 2))))


def wae(penalty: str = "mmd", **options) -> WAE:
    encoder, decoder = networks()
    adversary = LatentAdversary(K, 32, 2) if penalty == "gan" else None
    if adversary:
        for layer in adversary.layers:  # at this width the reference's small initial weights take too long to grow
            nn.init.xavier_normal_(layer.weight)
    return WAE(encoder, decoder, data_shape=(1, 2, 2), latent_dim=K, penalty=penalty, adversary=adversary, lambda_=1.0, **options)


def distance(model: WAE, images: torch.Tensor) -> float:
    with torch.no_grad():
        codes = model.encode(images).sample()
        return mmd2(codes, model.prior(len(codes), torch.Generator().manual_seed(2))).item()


@pytest.mark.parametrize("penalty", ["mmd", "gan"])
def test_training_brings_the_codes_to_the_prior_and_keeps_the_images(train, penalty):
    images, model = codes_far_from_normal(), wae(penalty)
    before, error = distance(model, images), (model.reconstruct(images) - images).square().mean().item()
    trainer = train(model, data=images, steps=600, batch_size=128, lr=5e-3, schedule="cosine", betas=(0.5, 0.999))
    assert distance(model, images) < 0.35 * before
    assert (model.reconstruct(images) - images).square().mean() < 0.2 * error
    names = set(trainer.history.last("only"))
    if penalty == "mmd":
        assert {"loss", "reconstruction", "penalty"} <= names
    else:
        assert {"autoencoder/loss", "autoencoder/penalty", "adversary/loss", "adversary/accuracy"} <= names
        assert 0 <= trainer.history.last("only")["adversary/accuracy"] <= 1


def test_two_players_by_the_engine_equal_a_hand_written_loop(train):
    settings = {"autoencoder": PlayerSettings(lr=0.01, schedule="constant", betas=(0.5, 0.999)),
                "adversary": PlayerSettings(lr=0.02, schedule="constant", betas=(0.5, 0.999))}
    images = codes_far_from_normal(8)  # one batch, in whatever order
    model, own = wae("gan", prior_trick=True), wae("gan", prior_trick=True)
    seen: list[torch.Tensor] = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    train(model, data=images, steps=5, batch_size=8, players=settings)
    assert len(seen) == 10 and all(torch.equal(a, b) for a, b in zip(seen[::2], seen[1::2]))  # both on the same images
    autoencoder = torch.optim.Adam([*own.encoder.parameters(), *own.decoder.parameters()], lr=0.01, betas=(0.5, 0.999))
    adversary = torch.optim.Adam(own.adversary.parameters(), lr=0.02, betas=(0.5, 0.999))
    torch.manual_seed(0)  # the trainer's seed: only the adversary's turn draws
    for x in seen[::2]:
        for optimizer, loss in ((autoencoder, own.loss), (adversary, own.adversary_loss)):
            optimizer.zero_grad()
            loss(x)["loss"].backward()
            optimizer.step()
    for a, b in zip(model.parameters(), own.parameters()):
        torch.testing.assert_close(a, b)


class _Stopping(Callback):
    """Ends the run after five steps."""

    def step(self, trainer) -> None:
        if trainer.done == 5:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("kind", ["gan", "flow"])
def test_a_run_that_was_cut_ends_with_the_same_weights(train, tmp_path, kind):
    def make() -> nn.Module:
        return wae("gan") if kind == "gan" else VAE(*networks(2), data_shape=(1, 2, 2), latent_dim=K, flow=Flow("iaf", 2, K))

    images, whole, resumed = codes_far_from_normal(64), make(), make()
    train(whole, data=images, steps=12, run=RunFolder.create(tmp_path / "whole", {}))
    with pytest.raises(KeyboardInterrupt):
        train(make(), data=images, steps=12, run=RunFolder.create(tmp_path / "cut", {}), trainer={"callbacks": [_Stopping()]})
    assert (tmp_path / "cut" / "checkpoints").is_dir()
    again = train(resumed, data=images, steps=12, run=RunFolder.open(tmp_path / "cut"), resume=True)
    assert again.history.records[-1]["step"] == 12
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters()))


@pytest.mark.slow
def test_two_processes_share_one_mmd(shared_by_two):
    for found, expected in shared_by_two("mmd_of_a_shared_batch.py"):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
