"""Every logger is sent the same records, and the pictures of samples."""

from __future__ import annotations

import csv
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import vaefast
from vaefast.cli import main
from vaefast.errors import ArgumentError, DivergenceError
from vaefast.training import Callback, StageSettings
from vaefast.training.loggers import CSV, MLflow, TensorBoard, WeightsAndBiases

SETTINGS = (StageSettings(steps=4, batch_size=16),) * 2


@pytest.fixture
def fit(tmp_path):
    def run(*callbacks: Callback, out: str = "run", **options):
        torch.manual_seed(0)
        images = torch.randint(0, 256, (32, 1, 8, 8), dtype=torch.uint8)
        model = vaefast.TwoStageVAE((1, 8, 8), 4, second_width=16)
        return model.fit(images, **{"settings": SETTINGS, **options}, device="cpu", progress=False, log_every=2,
                         callbacks=callbacks, out=tmp_path / out)

    return run


def rows(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_row_a_record_and_a_column_an_entry(tmp_path, fit):
    class Stop(Callback):
        def log(self, trainer, record):
            if trainer.stage.name == "stage2":
                record["extra, with a comma"] = "said"
                trainer.stop()

    history = fit(CSV(), Stop())
    found = rows(tmp_path / "run" / "metrics.csv")
    assert [(r["stage"], r["step"]) for r in found] == [(r["stage"], str(r["step"])) for r in history.records]
    assert [float(r["loss"]) for r in found] == [r["loss"] for r in history.records]
    assert list(found[0])[:4] == ["stage", "step", "epoch", "seconds"]
    fit(CSV(), resume=True)
    again = rows(tmp_path / "run" / "metrics.csv")
    assert [r["loss"] for r in again[:3]] == [r["loss"] for r in found] and [r["step"] for r in again] == ["2", "4", "2", "4"]


def test_what_is_fitted_at_once_is_a_record_for_callbacks_too(tmp_path):
    order = []

    class Watch(Callback):
        def log(self, trainer, record):
            order.append(record["stage"])

        def end(self, trainer):
            order.append("end")

    model = vaefast.TwoStageVAE((1, 8, 8), 4, second="mixture")
    images = torch.randint(0, 256, (32, 1, 8, 8), dtype=torch.uint8)
    history = model.fit(images, steps=4, batch_size=16, device="cpu", progress=False, log_every=2, out=tmp_path / "run",
                        callbacks=[CSV(), Watch()])
    assert [r["stage"] for r in history.records] == order[:-1] == ["stage1", "stage1", "stage2"] and order[-1] == "end"
    assert [r["stage"] for r in rows(tmp_path / "run" / "metrics.csv")] == order[:-1]


def test_a_callback_may_be_used_for_another_fit(tmp_path, fit, monkeypatch):
    """Once the second run's numbers went to the first one's writer, which was closed."""
    opened = []

    class Writer:
        def __init__(self, folder):
            self.open, self.folder = True, folder
            opened.append(self)

        def add_scalar(self, *given):
            assert self.open

        def close(self):
            self.open = False

    class Sent(Writer):
        def log(self, given):
            assert self.open

        finish = Writer.close

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda name, **given: Sent(name)))
    for make in (TensorBoard, lambda: WeightsAndBiases("mine")):
        opened.clear()
        callback = make()
        for out in ("one", "two"):
            fit(callback, out=f"{make.__name__.strip('<>')}-{out}")
        assert len(opened) == 2 and opened[0].folder != opened[1].folder and not any(w.open for w in opened)


def test_csv_needs_somewhere_to_write():
    model, images = vaefast.VAE((1, 8, 8), 2), torch.zeros(4, 1, 8, 8)
    with pytest.raises(ArgumentError, match="CSV needs a file, or a run"):
        model.fit(images, steps=1, batch_size=2, device="cpu", progress=False, callbacks=[CSV()])


def test_mlflow_has_records_settings_and_pictures(tmp_path, fit, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    pytest.importorskip("sqlalchemy", reason="sqlalchemy, in which MLflow keeps runs, is not installed")
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/runs.db"
    fit(MLflow("digits", uri), Picture(tmp_path))
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert run.info.run_name == "run" and run.info.status == "FINISHED"
    assert run.data.params["model.latent_dim"] == "4" and run.data.params["stages.1.steps"] == "4"
    assert [m.step for m in client.get_metric_history(run.info.run_id, "stage2/kl")] == [2, 4]
    assert [a.path for a in client.list_artifacts(run.info.run_id, "samples")] == ["samples/picture.png"]
    with pytest.raises(DivergenceError):
        fit(MLflow("digits", uri), Poison(), out="other")
    (run,) = client.search_runs([run.info.experiment_id], "attributes.status = 'FAILED'")
    assert run.info.run_name == "other"


class Picture(Callback):
    """Draws a picture at the end of the first stage."""

    def __init__(self, folder):
        self.path = folder / "picture.png"

    def step(self, trainer):
        if trainer.stage.name == "stage1" and trainer.done == trainer.total:
            from PIL import Image

            Image.new("L", (6, 5), 77).save(self.path)
            trainer.show(self.path)


class Poison(Callback):
    """Makes a weight NaN."""

    def step(self, trainer):
        next(trainer.model.parameters()).data.fill_(float("nan"))


def test_tensorboard_has_pictures(tmp_path, fit):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(TensorBoard(), Picture(tmp_path))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    (image,) = events.Images("stage1/samples")
    assert (image.step, image.width, image.height) == (4, 6, 5)
    assert [e.step for e in events.Scalars("stage1/loss")] == [2, 4]


def test_weights_and_biases_has_records_and_pictures(tmp_path, fit, monkeypatch):
    """Against a stand-in, as the package keeps its records in a form of its own."""
    told, run = [], SimpleNamespace(finish=lambda: told.append("end"))
    run.log = told.append
    fake = SimpleNamespace(init=lambda **given: told.append(given) or run, Image=lambda pixels, caption: (pixels.shape, caption))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    fit(WeightsAndBiases("mine", mode="offline"), Picture(tmp_path))
    assert told[0]["project"] == "mine" and told[0]["name"] == "run" and told[0]["mode"] == "offline" and told[-1] == "end"
    assert told[0]["config"]["model"]["latent_dim"] == 4
    assert [t["stage1/step"] for t in told[1:-1] if "stage1/step" in t] == [2, 4]
    assert {"stage1/samples": ((5, 6, 3), "step 4")} in told


@pytest.mark.parametrize("module, make", [("mlflow", lambda: MLflow("x")), ("wandb", lambda: WeightsAndBiases("x")),
                                          ("torch.utils.tensorboard", TensorBoard)])
def test_what_is_not_installed_is_named(module, make, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    extra = module.rpartition(".")[2]
    with pytest.raises(ArgumentError, match=rf"^{extra} is not installed; pip install 'vaefast\[{extra}\]'\.$"):
        make()


def test_flags(tmp_path, monkeypatch):
    """`--csv` and `--tensorboard` take no value, and pictures of --sample-every reach TensorBoard."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "run"
    images = tmp_path / "images.npy"
    np.save(images, np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1), np.uint8))
    main(["train", "--csv", "--tensorboard", "vae", "--data", str(images), "--steps", "2", "--batch-size", "8", "--sample-every",
          "1", "--device", "cpu", "--out", str(out)])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    assert rows(out / "metrics.csv")[-1]["step"] == "2" and events.Images("stage1/samples")[-1].step == 2
