"""GAMIX-VAE in the engine: both players of one forward pass, accumulation, resumed runs, processes, mirrored images."""

from __future__ import annotations

import signal

import pytest
import torch
from torch import nn

from vaefast.errors import ArgumentError
from vaefast.models import GAMIXVAE
from vaefast.nets import PatchGAN
from vaefast.training import Callback, PlayerSettings, RunFolder

K = 3


def gamix(**options) -> GAMIXVAE:
    torch.manual_seed(5)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2 * K))
    decoder = nn.Sequential(nn.Linear(K, 16), nn.ReLU(), nn.Linear(16, 4), nn.Unflatten(1, (1, 2, 2)))
    judge = PatchGAN(1, width=8, norm="group", dropout=0.0)
    return GAMIXVAE(encoder, decoder, data_shape=(1, 2, 2), latent_dim=K, **{"adversary": judge, **options})


def test_the_engine_takes_both_steps_from_one_forward_pass(train, points):
    """Against a loop that takes both gradients before either step: the simultaneous update of the released train_step."""
    settings = {"autoencoder": PlayerSettings(lr=0.01, schedule="constant", betas=(0.5, 0.999), eps=1e-7),
                "discriminator": PlayerSettings(lr=0.02, schedule="constant", betas=(0.5, 0.999), eps=1e-7)}
    images = points(8)
    model, own = gamix(), gamix()
    seen: list[torch.Tensor] = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append((inputs[0] + 1) / 2))
    train(model, data=images, steps=5, batch_size=8, players=settings)
    assert len(seen) == 5  # the discriminator's turn made no reconstructions of its own
    autoencoder = torch.optim.Adam([*own.encoder.parameters(), *own.decoder.parameters()], lr=0.01, betas=(0.5, 0.999), eps=1e-7)
    judge = torch.optim.Adam(own.adversary.parameters(), lr=0.02, betas=(0.5, 0.999), eps=1e-7)
    torch.manual_seed(0)  # the trainer's seed
    for x in seen:
        kept: list[torch.Tensor] = []
        hook = own.decoder.register_forward_hook(lambda _, inputs, out, kept=kept: kept.append(out))
        loss = own.loss(x)["loss"]
        hook.remove()
        real, fake = own.adversary.discriminator(2 * x - 1), own.adversary.discriminator(kept[0].detach())
        against = 100 * (nn.functional.softplus(-real).mean() + nn.functional.softplus(fake).mean())
        ours = torch.autograd.grad(loss, [p for g in autoencoder.param_groups for p in g["params"]])
        theirs = torch.autograd.grad(against, [p for g in judge.param_groups for p in g["params"]])
        for optimizer, gradients in ((autoencoder, ours), (judge, theirs)):
            for p, g in zip(optimizer.param_groups[0]["params"], gradients):
                p.grad = g
            optimizer.step()
    for a, b in zip(model.parameters(), own.parameters()):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-6)


def test_accumulation_changes_only_the_noise(train, points):
    """With the reconstruction cost away, nothing of the loss is drawn: parts must train as the whole."""
    def run(parts: int, memory: int) -> list[torch.Tensor]:
        model = gamix(reconstruction_weight=0.0, adversary=None, memory=memory, var="mixture")
        train(model, data=points(16), steps=6, batch_size=8, lr=0.01, accumulate=parts, optimizer="sgd", betas=(0.0, 0.999))
        return list(model.encoder.parameters())

    for memory in (0, 3):
        for a, b in zip(run(1, memory), run(4, memory)):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


class _Stopping(Callback):
    """Ends the run after five steps."""

    def step(self, trainer) -> None:
        if trainer.done == 5:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_run_that_was_cut_ends_with_the_same_weights(train, points, tmp_path, parts):
    images, whole, resumed = points(), gamix(memory=4), gamix(memory=4)
    common = {"data": images, "steps": 12, "accumulate": parts, "flip": True}
    train(whole, **common, run=RunFolder.create(tmp_path / "whole", {}))
    with pytest.raises(KeyboardInterrupt):
        train(gamix(memory=4), **common, run=RunFolder.create(tmp_path / "cut", {}), trainer={"callbacks": [_Stopping()]})
    train(resumed, **common, run=RunFolder.open(tmp_path / "cut"), resume=True)
    assert whole.moments.count == 12
    for (name, a), (_, b) in zip(whole.state_dict().items(), resumed.state_dict().items()):
        assert torch.equal(a, b), name


def test_records_tell_of_both_players_and_of_collapse(train):
    trainer = train(gamix(), steps=4)
    record = trainer.history.last("only")
    assert {"autoencoder/global_kl", "autoencoder/individual", "autoencoder/adversarial", "autoencoder/active_dimensions",
            "autoencoder/kl_dimensions", "autoencoder/posterior_variance", "discriminator/loss",
            "discriminator/accuracy"} <= set(record)


def test_images_are_mirrored_on_the_way_to_the_loss(train):
    class Watching(nn.Module):
        """Remembers whether it was given mirrored images."""

        def __init__(self) -> None:
            super().__init__()
            self.weight, self.mirrored = nn.Parameter(torch.zeros(())), []

        def forward(self, x):
            self.mirrored += (x[:, 0, 0, 0] > 0).tolist()
            return {"loss": self.weight * x.mean()}

    images = torch.zeros(16, 1, 2, 2)
    images[..., 1] = 1
    plain, flipped = Watching(), Watching()
    train(plain, data=images, steps=10)
    train(flipped, data=images, steps=10, flip=True)
    assert not any(plain.mirrored) and 0.25 < sum(flipped.mirrored) / len(flipped.mirrored) < 0.75
    with pytest.raises(ArgumentError, match="flip is 1"):
        train(Watching(), data=images, flip=1)


@pytest.mark.slow
def test_two_processes_share_the_global_moments(shared_by_two):
    for found, expected in shared_by_two("gamix_of_a_shared_batch.py"):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)  # the memory is kept in float32
