"""What happens to a run when something goes wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
import torch

from vaefast import files
from vaefast.errors import ArgumentError, CheckpointError, RunFolderError, TrainingError
from vaefast.training import Callback, RunFolder
from vaefast.training.sources import ImageSource

CPU = torch.device("cpu")


def folder(path) -> RunFolder:
    return RunFolder.create(path, {"format": 1})


def test_a_second_process_in_a_run_folder_is_refused(tmp_path, train, Line):
    run = folder(tmp_path / "run")
    code = ("import sys, time; from vaefast.training import RunFolder\n"
            "with RunFolder.open(sys.argv[1]).locked():\n    print('held', flush=True); time.sleep(60)")
    other = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match=rf"being trained in by another process \(process {other.pid} on"):
            train(Line(), run=run)
    finally:
        other.kill()
        other.wait()
    train(Line(), run=run)  # the lock went with the process


def test_not_a_number_is_located(tmp_path, train, Line, points):
    class Broken(Line):
        def forward(self, x):
            terms = super().forward(x)
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls >= 6:
                terms["loss"] = terms["loss"] * float("nan")
            return terms

    model, data = Broken(), points()
    with pytest.raises(TrainingError, match="loss of only became NaN or infinite at step 6: .*the loss.*checkpoint in .*run"):
        train(model, run=folder(tmp_path / "run"))
    assert all(torch.isfinite(p).all() for p in model.parameters())  # the bad step was not taken
    data[3] = float("inf")
    with pytest.raises(TrainingError, match="the batch itself holds a value that is not finite"):
        train(Line(), data=data, batch_size=48)
    exploding = Line()
    exploding.layer.weight.register_hook(lambda g: g * float("inf"))
    with pytest.raises(TrainingError, match="at step 2: the weights layer.weight are not finite"):
        train(exploding, data=data.clamp(max=1), run=folder(tmp_path / "other"), trainer={"checkpoint_seconds": 0.0})
    saved = RunFolder.open(tmp_path / "other").checkpoints.newest()
    assert saved is None
    exploding = Line()
    exploding.layer.weight.register_hook(lambda g: g * float("inf"))
    with pytest.raises(TrainingError, match="weights layer.weight became NaN or infinite by step 1 of only, and are not saved"):
        train(exploding, steps=1, run=folder(tmp_path / "third"))
    with pytest.raises(TrainingError, match="at step 1"):
        exploding = Line()
        exploding.layer.weight.register_hook(lambda g: g * float("inf"))
        train(exploding, clip_norm=1.0)
    assert all(torch.isfinite(p).all() for p in exploding.parameters())


def test_a_full_disk_ends_no_training(tmp_path, train, monkeypatch, capsys, Line):
    from vaefast.training.progress import Lines

    run, whole = folder(tmp_path / "run"), Line()
    train(whole)
    failing = [5]
    original = files.os.replace

    def full(a, b):
        if failing[0]:
            failing[0] -= 1
            raise OSError(28, "No space left on device")
        return original(a, b)

    monkeypatch.setattr(files.os, "replace", full)
    model = Line()
    train(model, run=run, trainer={"checkpoint_seconds": 0.0, "log_every": 1, "progress": Lines()})
    assert "No space left on device" in capsys.readouterr().out
    assert torch.equal(model.layer.weight, whole.layer.weight)
    assert (run.checkpoints.newest()[1]["stage"], run.checkpoints.newest()[1]["step"]) == (0, 20)
    again = folder(tmp_path / "full")
    failing[0] = 1000
    with pytest.raises(RunFolderError, match="No space left on device"):
        train(Line(), run=again)


def test_metrics_that_could_not_be_written_come_with_the_next(tmp_path, monkeypatch):
    run = folder(tmp_path / "run")
    monkeypatch.setattr(run, "metrics_path", tmp_path / "nowhere" / "metrics.jsonl")
    with pytest.raises(RunFolderError, match="cannot write"):
        run.append_metrics({"step": 1})
    monkeypatch.undo()
    run.append_metrics({"step": 2})
    assert [r["step"] for r in run.read_metrics()] == [1, 2]


def test_leftovers_of_a_killed_process_are_removed(tmp_path, train, Line):
    run = folder(tmp_path / "run")
    (run.path / "checkpoints").mkdir()
    for place in (run.path, run.path / "checkpoints"):
        (place / ".half.safetensors.0123abcd.tmp").write_bytes(b"x" * 10)
    train(Line(), run=run)
    assert not list(run.path.rglob("*.tmp"))


def test_another_architecture_names_the_keys(tmp_path, train, Line):
    run = folder(tmp_path / "run")
    train(Line(), run=run)
    other = Line()
    other.layer = torch.nn.Linear(4, 2)
    other.extra = torch.nn.Linear(1, 1)
    with pytest.raises(CheckpointError, match=r"another model: extra.weight is missing; extra.bias is missing; layer.weight has "
                                              r"shape \(1, 4\) instead of \(2, 4\)"):
        train(other, run=RunFolder.open(run.path), resume=True)


def test_running_out_of_memory_says_what_to_lower(train, Line):
    class Greedy(Line):
        def forward(self, x):
            torch.empty(2**60, dtype=torch.uint8)
            return super().forward(x)

    with pytest.raises(TrainingError, match=r"memory ran out on cpu with batch_size 8; lower batch_size, or raise accumulate"):
        train(Greedy())


def test_callbacks_see_the_run_and_leave_its_noise_alone(tmp_path, train, Line):
    events = []

    class Watcher(Callback):
        def start(self, trainer):
            events.append("start")

        def step(self, trainer):
            events.append(trainer.done)

        def log(self, trainer, record):
            torch.randn(100)
            record["seen"] = 1.0
            events.append(("log", record["step"]))

        def evaluate(self, trainer, record):
            events.append(("score", record["score"]))

        def checkpoint(self, trainer, path):
            events.append(("checkpoint", path.name))

        def end(self, trainer):
            events.append("end")

    class Noisy(Line):
        def forward(self, x):
            return super().forward(x + 0.1 * torch.randn_like(x))

    plain, watched = Noisy(), Noisy()
    train(plain)
    trainer = train(watched, run=folder(tmp_path / "run"), trainer={"callbacks": [Watcher()], "log_every": 10},
                    stage={"evaluate": lambda: {"score": torch.rand(()).item() * 0 + watched.training}, "evaluate_every": 2.0})
    assert torch.equal(plain.layer.weight, watched.layer.weight)
    assert events[0] == "start" and events[-1] == "end" and events[1:11] == list(range(1, 11))
    assert ("log", 10) in events and ("score", False) in events and ("checkpoint", "stage1-00000020") in events
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])["seen"] == 1.0
    assert [r["step"] for r in trainer.history.records if "score" in r] == [12, 20]  # whatever is logged


def test_the_best_checkpoint_is_kept(tmp_path, train, Line):
    scores = iter([3.0, 1.0, 2.0, 5.0, 4.0])
    run, weights, model = folder(tmp_path / "run"), [], Line()

    def evaluate() -> dict[str, float]:
        weights.append(model.layer.weight.detach().clone())
        return {"fd": next(scores)}

    train(model, run=run, steps=30, trainer={"log_every": 6}, stage={"evaluate": evaluate, "evaluate_every": 1.0, "best": "fd"})
    from vaefast.training.storage import load_tensors

    tensors, meta = load_tensors(run.path / "checkpoints" / "best-only", "a checkpoint")
    assert meta["step"] == 12 and torch.equal(tensors["model/layer.weight"], weights[1])


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("best", [1, 4])
def test_the_best_weights_can_be_those_of_the_end(tmp_path, train, Line, best, ema):
    scores = iter([0.0 if i == best else 1.0 + i for i in range(5)])
    run, weights, model = folder(tmp_path / "run"), [], Line()

    def evaluate() -> dict[str, float]:
        weights.append(model.layer.weight.detach().clone())
        return {"fd": next(scores)}

    train(model, run=run, steps=30, ema=ema, trainer={"log_every": 6},
          stage={"evaluate": evaluate, "evaluate_every": 1.0, "best": "fd", "keep_best": True})
    assert torch.equal(model.layer.weight, weights[best])
    with pytest.raises(ArgumentError, match="needs a run folder and a score"):
        train(Line(), steps=30, stage={"keep_best": True})


def test_a_callback_can_end_the_run_and_it_resumes_in_the_middle_of_a_log_window(tmp_path, train, Line):
    class Stopping(Callback):
        def step(self, trainer):
            if trainer.done == 7:
                signal.raise_signal(signal.SIGINT)

    whole, cut = Line(), Line()
    first = train(whole, run=folder(tmp_path / "whole"), schedule="plateau", ema=0.9)
    run = folder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train(cut, run=run, schedule="plateau", ema=0.9, trainer={"callbacks": [Stopping()]})
    again = train(Line(), run=RunFolder.open(run.path), schedule="plateau", ema=0.9, resume=True)
    assert torch.equal(again.model.layer.weight, whole.layer.weight)
    volatile = {"seconds", "images_per_second", "memory_mb"}
    assert [{k: v for k, v in r.items() if k not in volatile} for r in again.history.records] == \
        [{k: v for k, v in r.items() if k not in volatile} for r in first.history.records]


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path, train, Line):
    run, whole = folder(tmp_path / "run"), folder(tmp_path / "whole")
    run.append_metrics({"stage": "only", "step": 4, "loss": 9.0})
    train(Line(), run=whole)
    train(Line(), run=RunFolder.open(run.path), resume=True)
    assert [r["step"] for r in run.read_metrics()] == [r["step"] for r in whole.read_metrics()]


def test_streamed_data_train_as_resident_ones(train, tmp_path, Line):
    resident, streamed = Line(), Line()
    train(resident)
    train(streamed, source={"resident": False})
    assert torch.equal(resident.layer.weight, streamed.layer.weight)


def test_labels_and_mirroring():
    images = torch.arange(16, dtype=torch.uint8).view(4, 1, 2, 2)
    source = ImageSource(images, CPU, labels=torch.arange(4), flip=True)
    torch.manual_seed(1)
    x, y = source.ready(source.raw(torch.tensor([3, 1, 2, 0])))
    assert y.tolist() == [3, 1, 2, 0] and x.dtype == torch.float32
    originals = images[[3, 1, 2, 0]].float() / 255
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(x, originals)]
    assert any(mirrored) and not all(mirrored)
    assert all(m or torch.equal(a, b) for m, a, b in zip(mirrored, x, originals))
    raw = ImageSource(images, CPU, scale=False)
    assert raw.ready(raw.raw(torch.tensor([1])))[0].dtype == torch.uint8


def test_the_step_does_not_wait_for_the_disk(tmp_path, train, monkeypatch, Line):
    from vaefast.training import checkpoint

    original, times = checkpoint.save_tensors, []

    def slow(*args):
        time.sleep(0.3)
        return original(*args)

    class Clock(Callback):
        def step(self, trainer):
            times.append(time.monotonic())

    monkeypatch.setattr(checkpoint, "save_tensors", slow)
    train(Line(), run=folder(tmp_path / "run"), steps=8, trainer={"callbacks": [Clock()], "checkpoint_seconds": 0.0})
    assert times[-1] - times[0] < 0.25
