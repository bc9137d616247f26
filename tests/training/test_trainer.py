"""Training, interruption and resumption of a small two-stage VAE."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch
from torch import nn

import vaefast
from vaefast.errors import ArgumentError, CheckpointError, DeviceError, RunFolderError, TrainingError
from vaefast.training import RunFolder, StageSettings
from vaefast.training.progress import Lines, describe


def images(n: int = 48) -> torch.Tensor:
    return torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


def make(**options) -> vaefast.TwoStageVAE:
    torch.manual_seed(0)
    return vaefast.TwoStageVAE((1, 8, 8), 4, second_width=16, **options)


SETTINGS = (StageSettings(epochs=3, batch_size=8, lr=1e-3, ema=0.9), StageSettings(epochs=4, batch_size=8, lr=1e-3))


def fit(model: vaefast.TwoStageVAE, **options):
    return model.fit(images(), **{"settings": SETTINGS, "device": "cpu", "precision": "fp32", "progress": False, **options})


def same(a: nn.Module, b: nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)


def test_same_seed_same_weights_and_the_callers_random_state_is_left_alone():
    a, b, c = make(), make(), make()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(a, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    fit(b, seed=1)
    fit(c, seed=2)
    assert same(a, b) and not same(a, c)
    assert not a.training


def test_history_and_run_folder(tmp_path):
    model = make()
    history = fit(model, out=tmp_path / "run")
    assert {r["stage"] for r in history.records} == {"stage1", "stage2"}
    last = history.last("stage1")
    assert last["step"] == 18 and last["epoch"] == 3
    assert {"loss", "reconstruction", "kl", "gamma", "active_dimensions", "lr", "images_per_second"} <= set(last)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history.records
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"]["latent_dim"] == 4 and config["stages"][0]["epochs"] == 3
    assert same(vaefast.load(tmp_path / "run"), model)


class _Interrupting(nn.Module):
    """Passes calls on and sends a signal at the n-th."""

    def __init__(self, module: nn.Module, at: int, number: int) -> None:
        super().__init__()
        self.module, self.left, self.number = module, at, number

    def forward(self, *args):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
        return self.module(*args)


@pytest.mark.parametrize(("part", "at", "number"), [
    ("first", 5, signal.SIGINT), ("first", 18, signal.SIGINT), ("second", 1, signal.SIGTERM), ("second", 11, signal.SIGINT),
    ("second", 24, signal.SIGINT)])
def test_an_interrupted_run_resumes_to_the_same_weights(tmp_path, monkeypatch, part, at, number):
    whole = make()
    fit(whole, out=tmp_path / "whole")
    model = make()
    original = vaefast.training.Stage

    def stage(name, module, source, settings, **scores):
        hit = name == {"first": "stage1", "second": "stage2"}[part]
        return original(name, _Wrapped(module, at, number) if hit else module, source, settings, **scores)

    class _Wrapped(_Interrupting):
        def named_parameters(self, *args, **kwargs):  # the optimizer must see the module itself
            return self.module.named_parameters(*args, **kwargs)

    monkeypatch.setattr("vaefast.api.base.Stage", stage)
    with pytest.raises(KeyboardInterrupt):
        fit(model, out=tmp_path / "cut")
    monkeypatch.undo()
    resumed = make()
    fit(resumed, out=tmp_path / "cut", resume=True)
    assert same(resumed, whole)
    steps = [(r["stage"], r["step"]) for r in vaefast.training.RunFolder.open(tmp_path / "cut").read_metrics()]
    assert steps == sorted(set(steps)) and steps[-1] == ("stage2", 24)


def test_channels_last_resumes_to_the_same_weights(tmp_path):
    whole = make()
    options = {"channels_last": "on", "checkpoint_seconds": 0.0, "log_every": 4}
    fit(whole, out=tmp_path / "run", **options)
    assert whole.first.encoder.conv2.weight.is_contiguous()  # as a loaded model's
    losses = [fit(make(), log_every=1, channels_last=order).records[0]["loss"] for order in ("on", "off")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    cut = make()
    _cut_short(cut, tmp_path / "cut", **options)
    assert cut.first.encoder.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    again = make()
    fit(again, out=tmp_path / "cut", resume=True, **options)
    assert same(again, whole)
    with pytest.raises(ArgumentError, match="channels_last is 'yes'"):
        fit(make(), channels_last="yes")


def test_channels_last_refuses_convolutions_that_crash_torch(train, Line):
    model = Line()
    model.narrow = torch.nn.Conv2d(8, 16, 1, stride=2)
    with pytest.raises(ArgumentError, match="gradient of narrow, a strided 1x1 convolution"):
        train(model, steps=1, trainer={"channels_last": "on"})
    model.narrow = torch.nn.Conv2d(16, 16, 1, stride=2)
    train(model, steps=1, trainer={"channels_last": "on"})


def _cut_short(model, out, **options) -> None:
    """Stop the run in the middle of stage 1."""

    class Halfway(vaefast.training.Callback):
        def step(self, trainer) -> None:
            if trainer.done == 9:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(model, out=out, callbacks=[Halfway()], **options)


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    model = make()
    fit(model, out=tmp_path / "run")
    again = make()
    fit(again, out=tmp_path / "run", resume=True)
    assert same(model, again)


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path, capsys):
    model = make()
    fit(model)
    _cut_short(make(), tmp_path / "run", checkpoint_seconds=0.0, log_every=4)
    files = sorted((tmp_path / "run" / "checkpoints").glob("stage*.safetensors"))
    assert len(files) == 2
    data = bytearray(files[-1].read_bytes())
    data[-5] ^= 1
    files[-1].write_bytes(data)
    again = make()
    fit(again, out=tmp_path / "run", resume=True, progress=True)
    assert "skipped a damaged checkpoint" in capsys.readouterr().out
    assert same(model, again)
    checkpoints = RunFolder.open(tmp_path / "run").checkpoints
    checkpoints.keep_newest("last-good")
    for file in (tmp_path / "run" / "checkpoints").glob("stage*.safetensors"):
        file.unlink()
        file.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="no checkpoint of this run can be read.* start_from=.*last-good"):
        fit(make(), out=tmp_path / "run", resume=True)


def test_refusals(tmp_path):
    model = make()
    fit(model, out=tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(RunFolderError, match="already holds a run"):
        fit(make(), out=tmp_path / "run")
    with pytest.raises(RunFolderError, match="other settings .*seed was 0, is now 3"):
        fit(make(), out=tmp_path / "run", resume=True, seed=3)
    with pytest.raises(RunFolderError, match="does not exist"):
        fit(make(), out=tmp_path / "elsewhere", resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    with pytest.raises(RunFolderError, match="not empty"):
        fit(make(), out=tmp_path / "full")
    with pytest.raises(RunFolderError, match="is a file"):
        fit(make(), out=tmp_path / "full" / "thesis.txt")
    with pytest.raises(ArgumentError, match="lower batch_size"):
        make().fit(images(5), settings=SETTINGS, device="cpu", progress=False)
    with pytest.raises(ArgumentError, match="image_shape"):
        make().fit(torch.rand(10, 1, 12, 12), epochs=1, device="cpu", progress=False)
    with pytest.raises(ArgumentError, match="epochs"):
        make().fit(images(), epochs=0)
    with pytest.raises(ArgumentError, match="resume needs out"):
        fit(make(), resume=True)
    with pytest.raises(ArgumentError, match="device"):
        fit(make(), device="tpu0")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="0 CUDA devices"):
            fit(make(), device="cuda")
    assert (tmp_path / "run" / "config.json").read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="cannot use"):
        fit(make(), out=tmp_path / "run")


def test_a_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="cannot use"):
        fit(make(), out=tmp_path / "file" / "run")


def test_divergence_is_named_and_no_checkpoint_holds_it(tmp_path):
    broken = (StageSettings(steps=60, batch_size=8, lr=1e30), SETTINGS[1])
    with pytest.raises(TrainingError, match="the loss of stage1 became NaN or infinite at step"):
        fit(make(), settings=broken, out=tmp_path / "run")
    assert not list((tmp_path / "run").glob("checkpoints/*.json"))


def test_gamma_learning_rate_factor_moves_only_gamma():
    slow, fast = make(), make()
    steps = {"batch_size": 8, "lr": 1e-4}
    fit(slow, settings=(StageSettings(steps=1, **steps), StageSettings(steps=1, **steps)))
    fit(fast, settings=(StageSettings(steps=1, gamma_lr_factor=50, **steps), StageSettings(steps=1, **steps)))
    assert (fast.first.log_gamma / slow.first.log_gamma).item() == pytest.approx(50, rel=1e-3)
    assert torch.equal(slow.first.encoder.head.weight, fast.first.encoder.head.weight)


def test_weight_average():
    from vaefast.training.ema import WeightAverage

    model = nn.Linear(2, 2)
    average = WeightAverage(dict(model.named_parameters()), 0.9)
    expected = model.weight.detach().clone()
    for step in range(30):
        with torch.no_grad():
            model.weight.add_(1.0)
        average.set_step(step)
        average.update()
        d = min(0.9, (1 + step) / (10 + step))
        expected = d * expected + (1 - d) * model.weight.detach()
    average.apply()
    torch.testing.assert_close(model.weight.detach(), expected)


def test_an_average_that_starts_late_is_brocks():
    """On a ramp of one a step, from step 1,000: 1,187, as BigGAN-PyTorch's `ema` has it after 3,000."""
    from vaefast.training.ema import WeightAverage

    w, count = nn.Parameter(torch.zeros((), dtype=torch.float64)), torch.zeros((), dtype=torch.float64)
    average = WeightAverage({"w": w}, 0.9999, start=1_000, buffers={"buffers.count": count})
    for step in range(3_000):
        with torch.no_grad():
            w.fill_(step)
            count.fill_(2 * step)
        average.set_step(step)
        average.update()
        if step == 999:
            assert average.state()["w"] == w
    assert average.state()["w"].item() == pytest.approx(1187, abs=1)
    assert average.state()["buffers.count"] == pytest.approx(2 * average.state()["w"].item())


def test_only_what_a_players_own_parts_count_is_averaged():
    from vaefast.training.ema import buffers_of

    module = nn.ModuleDict({"a": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False)), "b": nn.BatchNorm1d(2)})
    module.register_buffer("beta", torch.ones(()))
    module["a"].register_buffer("scratch", torch.ones(()), persistent=False)
    assert list(buffers_of(module, module["a"].parameters())) == ["buffers.a.1.running_mean", "buffers.a.1.running_var"]
    assert "buffers.b.running_var" in buffers_of(module, module.parameters())


def test_a_hand_written_loop_trains_a_stage():
    model = make()
    optimizer = torch.optim.Adam(model.first.parameters(), lr=1e-3)
    x = images().float() / 255
    losses = []
    for _ in range(30):
        terms = model.first(x)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(terms["loss"].item())
    assert losses[-1] < losses[0]


def test_plain_lines(capsys):
    record = {"step": 10, "epoch": 1.0, "loss": 1.5, "kl": 2.0, "gamma": 0.1, "images_per_second": 12345.0}
    assert describe(record) == "loss 1.5  kl 2  gamma 0.1  12,345 img/s"
    lines = Lines()
    lines.stage("stage1", 10, 0)
    lines.log(record)
    assert "stage1 100%" in capsys.readouterr().out
