"""Training on a GPU: captured iterations against plain ones, precision, resumption, streaming."""

from __future__ import annotations

import signal

import pytest
import torch

import vaefast
from vaefast.training import Callback, PlayerSettings, RunFolder, Stage, StageSettings, Trainer
from vaefast.training.sources import ImageSource

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]
CUDA = torch.device("cuda")


def images(n: int = 512) -> torch.Tensor:
    return torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


def fit(*, graphs: bool | None = None, precision: str = "fp32", steps: int = 60, run=None, resume: bool = False, compile="off",
        source=None, callbacks=(), **settings) -> Trainer:
    torch.manual_seed(0)
    model = vaefast.TwoStageVAE((1, 8, 8), 4, second_width=32).first
    settings = StageSettings(steps=steps, batch_size=32, **{"lr": 1e-3, **settings})
    stage = Stage("vae", model, lambda: ImageSource(images(), CUDA, scale=False, **(source or {})), settings)
    trainer = Trainer(model, [stage], device="cuda", precision=precision, cuda_graphs=graphs, run=run, compile=compile,
                      log_every=10, checkpoint_seconds=0.0, callbacks=callbacks)
    trainer.fit(resume=resume)
    return trainer


def losses(trainer: Trainer) -> list[float]:
    return [r["loss"] for r in trainer.history.records]


@pytest.mark.parametrize("settings", [
    {}, {"ema": 0.9, "schedule": "cosine", "warmup_steps": 9}, {"clip_norm": 1.0}, {"accumulate": 4}, {"optimizer": "rmsprop"},
    {"optimizer": "rmsprop-tf"},
    {"optimizer": "adamw"}, {"optimizer": "sgd", "lr": 1e-5}])
def test_a_captured_iteration_trains_as_a_plain_one(settings):
    captured, plain = fit(**settings), fit(graphs=False, **settings)
    assert losses(captured) == pytest.approx(losses(plain), rel=2e-3)
    assert len(set(losses(captured))) == len(losses(captured))  # fresh noise and batches at every replay


def test_players_are_captured(Duel):
    def run(graphs: bool) -> Trainer:
        model = Duel().cuda()
        model._fake = lambda n: model.generator(torch.randn(n, 2, device="cuda"))
        model.seen = type("Nothing", (), {"append": lambda self, x: None})()
        data = torch.rand(96, 1, 2, 2, generator=torch.Generator().manual_seed(9))
        settings = StageSettings(steps=30, batch_size=8, players={"critic": PlayerSettings(lr=0.01, weight_clip=0.5)})
        trainer = Trainer(model, [Stage("gan", model, lambda: ImageSource(data, CUDA), settings)], device="cuda",
                          cuda_graphs=graphs, log_every=10)
        trainer.fit()
        return trainer

    a, b = run(True), run(False)
    for x, y in zip(a.model.parameters(), b.model.parameters()):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)


def test_half_precisions_and_tf32_follow_fp32():
    plain = losses(fit(steps=100))
    for precision in ("bf16", "fp16", "tf32"):
        assert losses(fit(steps=100, precision=precision)) == pytest.approx(plain, rel=0.02)


def test_compiled_and_captured():
    assert losses(fit(compile="on")) == pytest.approx(losses(fit()), rel=2e-3)


def test_streamed_data_train_as_resident_ones():
    assert losses(fit(source={"resident": False})) == pytest.approx(losses(fit()), rel=1e-4)


def test_a_stopped_run_resumes(tmp_path):
    class Stopping(Callback):
        def step(self, trainer: Trainer) -> None:
            if trainer.done == 33:
                signal.raise_signal(signal.SIGINT)

    whole = fit()
    run = RunFolder.create(tmp_path / "run", {})
    with pytest.raises(KeyboardInterrupt):
        fit(run=run, callbacks=[Stopping()])
    again = fit(run=RunFolder.open(run.path), resume=True)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_no_step_waits_for_the_device():
    class Strict(Callback):
        def step(self, trainer: Trainer) -> None:
            # from the captured steps on, between two log points
            torch.cuda.set_sync_debug_mode("error" if trainer.done % 10 and trainer.done > 10 else "default")

        def end(self, trainer: Trainer) -> None:
            torch.cuda.set_sync_debug_mode("default")

    class Off(Callback):
        def step(self, trainer: Trainer) -> None:
            if trainer.done % 10 == 9:
                torch.cuda.set_sync_debug_mode("default")  # the next step logs

    fit(callbacks=[Strict(), Off()])


def test_not_a_number_stops_it():
    from vaefast.errors import TrainingError

    with pytest.raises(TrainingError, match="became NaN or infinite at step"):
        fit(lr=1e30)
