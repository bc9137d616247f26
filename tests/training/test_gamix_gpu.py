"""GAMIX-VAE on a GPU: captured iterations of both players against plain ones, accumulated, recomputed, in bf16, resumed."""

from __future__ import annotations

import signal

import pytest
import torch

import vaefast
from vaefast.nets import PatchGAN
from vaefast.training import Callback, RunFolder, Stage, StageSettings, Trainer
from vaefast.training.sources import ImageSource

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]
CUDA = torch.device("cuda")


def fit(*, graphs: bool | None = None, precision: str = "fp32", compile: str = "off", run=None, resume: bool = False,
        callbacks=(), checkpoint: bool = False, log_every: int = 10, dropout: float = 0.25, **settings) -> Trainer:
    torch.manual_seed(0)
    model = vaefast.GAMIXVAE((3, 16, 16), 8, width=8, norm="group", var="mixture", memory=3, checkpoint=checkpoint,
                             adversary=PatchGAN(3, norm="group", width=8, dropout=dropout)).first
    images = torch.randint(0, 256, (256, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))
    settings = StageSettings(**{"steps": 40, "batch_size": 16, "lr": 1e-4, "betas": (0.5, 0.999), "flip": True, **settings})
    trainer = Trainer(model, [Stage("gamix", model, lambda: ImageSource(images, CUDA, scale=False), settings)], device="cuda",
                      precision=precision, cuda_graphs=graphs, compile=compile, log_every=log_every, run=run, callbacks=callbacks,
                      checkpoint_seconds=0.0)
    trainer.fit(resume=resume)
    return trainer


def losses(trainer: Trainer) -> list[float]:
    return [r[f"{name}/loss"] for r in trainer.history.records for name in ("autoencoder", "discriminator")]


@pytest.mark.parametrize("settings", [{}, {"accumulate": 4}, {"checkpoint": True}])
def test_a_captured_iteration_trains_as_a_plain_one(settings):
    captured, plain = fit(**settings), fit(graphs=False, **settings)
    assert losses(captured) == pytest.approx(losses(plain), rel=5e-3)
    assert len(set(losses(captured))) == len(losses(captured))  # fresh noise and batches at every replay


def test_recomputed_and_kept_activations_train_alike():
    assert losses(fit(checkpoint=True)) == pytest.approx(losses(fit()), rel=5e-3)


def test_bf16_follows_fp32():
    assert losses(fit(precision="bf16")) == pytest.approx(losses(fit()), rel=0.05)


def test_compiled_and_captured():
    """The first iterations: a change of the weights by 1e-6 moves the discriminator's loss by 1 % after 20 of them. Without
    dropout, of which a compiled step draws real and fake images' masks in another order."""
    compiled, plain = (losses(fit(compile=mode, steps=5, log_every=1, dropout=0.0)) for mode in ("on", "off"))
    assert compiled[:2] == pytest.approx(plain[:2], rel=1e-4) and compiled == pytest.approx(plain, rel=5e-3)


def test_a_stopped_run_resumes(tmp_path):
    class Stopping(Callback):
        def step(self, trainer: Trainer) -> None:
            if trainer.done == 23:
                signal.raise_signal(signal.SIGINT)

    run = RunFolder.create(tmp_path / "run", {})
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):  # two networks drive other sums' rounding far apart
        whole = fit()
        with pytest.raises(KeyboardInterrupt):
            fit(run=run, callbacks=[Stopping()])
        again = fit(run=RunFolder.open(run.path), resume=True)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value, rtol=1e-3, atol=1e-4)
