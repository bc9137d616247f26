"""Searches over settings: spaces, what a folder says, tables; and on Ray with workers and drivers that die."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import vaefast
from vaefast.api.gan import AUTHORS
from vaefast.cli import main
from vaefast.errors import ArgumentError, DivergenceError, RunFolderError, TrainingError
from vaefast.experiments.pictures.grids import image_grid, save_png
from vaefast.experiments.request import Request
from vaefast.experiments.sweep import job as jobs
from vaefast.experiments.sweep import search
from vaefast.experiments.sweep.job import Milestones, ended, run_job, state_of, stop
from vaefast.experiments.sweep.pictures import draw_samples
from vaefast.experiments.sweep.search import Sweep, sweep
from vaefast.experiments.sweep.space import LOSSES, Choice, LogUniform, Uniform, overrides, read_space, space_of
from vaefast.experiments.sweep.table import best_row, setting_rows
from vaefast.training.settings import StageSettings, override
from vaefast.training.storage import write_json

SMALL = {"stage/lr": {"log_uniform": [1e-4, 1e-3]}, "model/latent_dim": {"choice": [4, 6]}, "model/gamma": "optimal"}


@pytest.fixture
def space(tmp_path) -> Path:
    (tmp_path / "space.json").write_text(json.dumps(SMALL))
    return tmp_path / "space.json"


# --- spaces ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ["wide", "narrow"])
def test_settings_are_a_function_of_their_number(name, loss):
    space = space_of("gan", name, loss)
    backwards = [space.setting(3, i) for i in reversed(range(200))][::-1]
    assert backwards == [space_of("gan", name, loss).setting(3, i) for i in range(200)]
    assert backwards[0] == {"model/loss": loss, **space.default} and backwards[1] != space.setting(4, 1)
    assert len({json.dumps(s) for s in backwards}) == 200
    for setting in backwards[1:]:
        assert setting.keys() == backwards[0].keys()
        for key, kind in space.draws.items():
            inside = setting[key] in kind.values if isinstance(kind, Choice) else kind.low <= setting[key] <= kind.high
            assert inside, key


def test_the_published_ranges_and_defaults():
    wide, narrow = (space_of("gan", name, "wgan") for name in ("wide", "narrow"))
    assert wide.draws["stage/lr"] == LogUniform(1e-5, 1e-2) and wide.draws["stage/beta1"] == Uniform(0.0, 1.0)
    assert wide.draws["model/disc_iters"] == Choice((1, 5)) and wide.draws["model/weight_clip"] == LogUniform(1e-3, 1.0)
    assert narrow.draws["stage/lr"] == LogUniform(1e-4, 1e-3) and narrow.draws["model/weight_clip"] == LogUniform(1e-2, 1.0)
    assert narrow.draws["stage/beta1"] == Choice((0.5,)) and narrow.draws["model/disc_iters"] == Choice((1,))
    assert overrides(wide.setting(0, 0)) == (
        {"loss": "wgan", "disc_iters": 5, "batch_norm": True, "weight_clip": 0.01}, {"lr": 5e-5, "beta1": 0.5})
    for loss in ("wgan-gp", "dragan"):
        assert space_of("gan", "narrow", loss).draws["model/batch_norm"] == Choice((False,))
        assert space_of("gan", "narrow", loss).draws["model/lambda_"] == LogUniform(0.1, 10.0)
    began = space_of("gan", "narrow", "began")
    assert began.draws["model/began_gamma"] == Uniform(0.6, 0.9) and began.draws["model/began_lambda"] == Choice((1e-3,))
    assert began.default["model/began_gamma"] == 0.75
    with pytest.raises(ArgumentError, match="loss is 'hinge'"):
        space_of("gan", "wide", "hinge")


def test_draws_follow_their_distributions():
    space = space_of("gan", "wide", "ns")
    drawn = [space.setting(0, i) for i in range(1, 2001)]
    below = sum(s["stage/lr"] < 10**-3.5 for s in drawn) / 2000  # the middle of the exponents
    assert below == pytest.approx(0.5, abs=0.04)
    assert sum(s["stage/beta1"] for s in drawn) / 2000 == pytest.approx(0.5, abs=0.03)
    assert sum(s["model/disc_iters"] == 5 for s in drawn) / 2000 == pytest.approx(0.5, abs=0.04)


def test_other_models_and_files_have_spaces(space):
    assert space_of("vae", "wide").setting(0, 0) == {}  # the preset's own
    assert set(space_of("vae", "narrow").setting(0, 1)) == {"stage/lr", "stage/beta1"}
    own = space_of("vae", str(space))
    assert own.setting(0, 0) == {"model/gamma": "optimal"}
    assert own.setting(0, 5).keys() == SMALL.keys()
    for wrong, said in (({"lr": 1.0}, "expected model/ARGUMENT"), ({"stage/lr": {"log_uniform": [0, 1]}}, "low above 0"),
                        ({"stage/lr": {"normal": [0, 1]}}, "expected"), ([], "holds list")):
        space.write_text(json.dumps(wrong))
        with pytest.raises(ArgumentError, match=said):
            read_space(space)
    with pytest.raises(ArgumentError, match="expected wide or narrow, or a JSON file"):
        space_of("vae", "broad")


# --- folders and tables ------------------------------------------------------------------------------------------


def fake(path: Path, score: float | None, seconds: float = 60.0) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "config.json", {})
    record = {"stage": "stage1", "step": 1, "seconds": seconds, "share": 0.3, "fd_classifier": 9.0}
    (path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    if score is not None:
        write_json(path / "evaluation.json", {"fd_classifier/stage1": score, "fd_classifier/reconstructions": 0.1})
    return path


def test_a_folder_says_how_far_its_job_is(tmp_path):
    path = tmp_path / "setting-000"
    assert state_of(path) == "waiting"
    fake(path, None)
    assert state_of(path) == "begun" and not ended(path)
    stop(path, 1 / 9, 9.0)
    assert state_of(path) == "stopped" and ended(path)
    run_job({"out": str(path)})  # nothing to do, so nothing else is asked for


def test_tables(tmp_path):
    paths = [fake(tmp_path / f"setting-{i:03d}", score) for i, score in enumerate((3.0, None, 1.0))]
    write_json(paths[1] / "diverged.json", {"error": "..."})
    settings = [{"stage/lr": 1e-4}, {"stage/lr": 1e-2}, {"stage/lr": 1e-3, "model/batch_norm": True}]
    rows = setting_rows(paths, settings, "classifier")
    assert [(r["name"], r["state"], r["score"]) for r in rows] == [
        ("setting-002", "done", 1.0), ("setting-000", "done", 3.0), ("setting-001", "diverged", None)]
    search.write_settings(rows, "classifier", tmp_path / "settings")
    assert "| setting-002 | 1 | done | 1 | 0.001 | true |" in (tmp_path / "settings.md").read_text()
    with open(tmp_path / "settings.csv") as file:
        assert [line[0] for line in csv.reader(file)] == ["setting", "setting-002", "setting-000", "setting-001"]
    assert json.loads((tmp_path / "settings.json").read_text())["rows"][0]["last_on_the_way"] == {"share": 0.3, "score": 9.0}
    best = best_row(paths, "setting-002", settings[2], "classifier")
    assert (best["mean"], best["std"], best["seeds"], best["diverged"]) == (2.0, pytest.approx(2**0.5), 2, 1)


def test_samples_of_the_best_setting_stand_beside_the_first_ones(tmp_path):
    image = pytest.importorskip("PIL.Image")
    images = torch.randint(256, (150, 1, 28, 28), dtype=torch.uint8)
    grid = image_grid(images, 10, 10)
    rows = [{"name": f"setting-{i:03d}", "score": score} for i, score in ((2, 3.0), (1, 4.0), (0, 50.0), (3, None))]
    for row, shade in zip(rows, (10, 20, 30, 40)):
        (tmp_path / row["name"]).mkdir()
        save_png(tmp_path / row["name"] / "samples_stage1.png", grid * 0 + 99)
        save_png(tmp_path / row["name"] / "samples_stage2.png", grid * 0 + shade)
    for drawn, shades in ((rows, (30, 10)), (rows[2:], (30,)), ([*rows[:2], {"name": "setting-000", "score": None}], (10,))):
        draw_samples(tmp_path, drawn, "classifier", images)
        picture = np.asarray(image.open(tmp_path / "samples.png").convert("L"))
        wide = grid.shape[1]
        assert picture.shape[1] == (len(shades) + 1) * (wide + 24) - 24
        assert (picture[-grid.shape[0]:, :wide] == image_grid(images[torch.linspace(0, 149, 100).long()], 10, 10)[..., 0]).all()
        assert tuple(picture[-9, (i + 1) * (wide + 24) + 9] for i in range(len(shades))) == shades


def test_a_training_that_diverges_has_ended(tmp_path, monkeypatch):
    def train(asked, **options):
        fake(Path(asked.out), None)
        raise DivergenceError("the loss became NaN")

    monkeypatch.setattr(jobs, "train", train)
    run_job({"out": str(tmp_path / "a"), "train": {"kind": "vae", "data_name": "digits"}, "evaluate": {}, "milestones": [],
             "metric": "classifier"})
    assert state_of(tmp_path / "a") == "diverged" and "NaN" in (tmp_path / "a" / "diverged.json").read_text()


def test_milestones_are_scored_once_and_told_again_after_an_interruption(monkeypatch):
    monkeypatch.setattr(Milestones, "_score", lambda self, trainer: float(trainer.done))
    told, records = [], []
    trainer = SimpleNamespace(stage=SimpleNamespace(name="stage1"), done=0, total=90,
                              history=SimpleNamespace(of=lambda name: records))
    for restart in range(2):
        callback = Milestones((1 / 9, 1 / 3), "classifier", {}, lambda share, score: told.append((round(share, 2), score)))
        callback.start(trainer)
        while trainer.done < (15 if restart == 0 else 90):
            trainer.done += 5
            records.append({})
            callback.log(trainer, records[-1])
    assert told == [(0.11, 10.0), (0.11, 10.0), (0.33, 30.0)]


def test_a_milestone_scores_a_model_as_the_evaluation_does(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "own_network", lambda which, train, test, cache, device, say: (len(test), cache))

    class Scores:
        def __init__(self, real, which, *, classifier, **options) -> None:
            assert (len(real), which, classifier[1]) == (30, ["classifier"], "here")

        def __call__(self, images):
            return {"fd_classifier": float(len(images)) + images.float().mean().item() / 1e3}

    monkeypatch.setattr(jobs, "ImageScores", Scores)
    monkeypatch.setattr(jobs, "evaluate", lambda path, **options: write_json(Path(path) / "evaluation.json", {}))
    told = []
    run_job({"out": str(tmp_path / "a"), "metric": "classifier", "milestones": [1 / 9, 1 / 3],
             "train": {"kind": "vae", "data_name": "digits", "data_root": None, "steps": (9,), "device": "cpu",
                       "stage_overrides": {"batch_size": 4}, "trainer": {"log_every": 1}},
             "evaluate": {"data_root": None, "samples": 30, "seed": 0, "weights": None, "classifier_cache": "here"}},
            lambda share, score: told.append((share, score)))
    assert [(share, int(score)) for share, score in told] == [(1 / 9, 30), (1 / 3, 30)] and state_of(tmp_path / "a") == "done"
    assert jobs.milestones_of(tmp_path / "a", "classifier") == told


# --- the protocol, with jobs that are done at once ---------------------------------------------------------------


def instead_of_ray(monkeypatch, run_jobs) -> None:
    monkeypatch.setitem(sys.modules, "vaefast.experiments.sweep.ray_tune", SimpleNamespace(
        run_jobs=run_jobs, Machines=lambda *given: given, MILESTONES=(1 / 9, 1 / 3)))
    monkeypatch.setattr(search, "_train_network", lambda *given: None)


@pytest.fixture
def done_at_once(monkeypatch):
    """Jobs end at once with a score that falls with their latent_dim, and are counted."""
    seen: list[Path] = []

    def run_jobs(asked, machines, folder, *, early_stop=False, changed=lambda what, path, why: None):
        for one in asked:
            path = Path(one["out"])
            if not ended(path):
                seen.append(path)
                fake(path, 10.0 - one["train"]["model_overrides"].get("latent_dim", 0) + one["train"]["seed"] % 7 / 10)
                changed("ended", path, "")
        return {}

    instead_of_ray(monkeypatch, run_jobs)
    return seen


def test_a_sweep_goes_on_and_grows(tmp_path, space, done_at_once, capsys):
    words = ["sweep", "vae", "--data", "digits", "--space", str(space), "--metric", "classifier", "--out", str(tmp_path / "s")]
    assert main([*words, "--settings", "4", "--seeds", "3"]) == 0
    assert len(done_at_once) == 7 and len(set(done_at_once)) == 7
    assert "best.md (fd_classifier" in capsys.readouterr().out
    best = json.loads((tmp_path / "s" / "best.json").read_text())
    assert best["seeds"] == 3 and len(set(best["values"])) > 1 and best["setting"]["model/latent_dim"] == 6
    assert main([*words, "--settings", "4", "--seeds", "5"]) == 0
    assert len(done_at_once) == len(set(done_at_once)) == 9
    assert main([*words, "--settings", "4", "--seeds", "5", "--steps", "7"]) == 2
    assert "steps was None, now [7]" in capsys.readouterr().err
    for other, said in ((["--condition", "labels"], "condition was None"), (["--augment", "flip"], "augment was None")):
        assert main([*words, "--settings", "4", *other]) == 2
        assert said in capsys.readouterr().err


def test_a_loss_is_of_the_sweep(tmp_path, space, done_at_once, capsys):
    space.write_text(json.dumps({"stage/lr": {"log_uniform": [1e-4, 1e-3]}}))
    words = ["sweep", "gan", "--data", "digits", "--space", str(space), "--metric", "classifier", "--settings", "2", "--seeds",
             "0", "--out", str(tmp_path / "s")]
    assert main([*words, "--loss", "ns"]) == 0
    assert main([*words, "--loss", "wgan"]) == 2
    assert "fixed was {'model/loss': 'ns'}, now {'model/loss': 'wgan'}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["quick", "paper"])
@pytest.mark.parametrize("loss", LOSSES)
def test_gans_are_searched_around_their_authors_settings(tmp_path, monkeypatch, loss, name):
    """All that a published space does not draw is the authors', and setting 0 all of it; of the preset, the length is taken."""
    def run_jobs(asked, machines, folder, **_):
        for one in asked:
            request = Request(**one["train"])
            model = vaefast.GAN((1, 28, 28), **request.preset.arguments(dict(request.model_overrides)))
            trained.append((model, request.stages_from(request.preset.stages_of(model))[0]))
            fake(Path(one["out"]), 1.0)
        return {}

    trained: list[tuple[vaefast.GAN, StageSettings]] = []
    instead_of_ray(monkeypatch, run_jobs)
    asked = Request("gan", "digits", str(tmp_path / "s"), preset_name=name, data_options={"pad": 28})
    sweep(Sweep(asked, loss=loss, metric="classifier", settings=2, seeds=0))

    steps = 15_625 if name == "paper" else 3_750 if loss in ("mm", "ns", "began") else 7_500
    for i, (model, settings) in enumerate(trained):
        arguments, drawn = overrides(space_of("gan", "wide", loss).setting(0, i))
        authors = vaefast.GAN((1, 28, 28), **arguments)
        assert model.config() == authors.config()
        assert settings == override(authors.defaults[0], {"steps": steps, **drawn})
    assert settings.lr != trained[0][1].lr == AUTHORS[loss].lr


def test_published_spaces_have_what_the_optimizer_has(tmp_path, done_at_once):
    """Zhao et al.'s RMSprop has a decay, the second of betas, and no beta1."""
    for kind, drawn in (("pixel-vae", {"lr"}), ("vae", {"lr", "beta1"})):
        best = sweep(Sweep(Request(kind, "digits", str(tmp_path / kind)), metric="classifier", settings=3, seeds=0))
        rows = json.loads((tmp_path / kind / "settings.json").read_text())["rows"]
        assert all({name.partition("/")[2] for name in row["setting"]} in (set(), drawn) for row in rows) and best["name"]


def test_what_cannot_work_is_said_at_once(tmp_path, space, done_at_once):
    training = {"kind": "vae", "data_name": "digits", "out": str(tmp_path / "s")}
    for wrong, of_training, error, said in (
            ({"settings": 0}, {}, ArgumentError, "settings is 0"), ({"metric": "is"}, {}, ArgumentError, "metric is 'is'"),
            ({"early_stop": True}, {"kind": "two-stage", "preset_name": "short"}, ArgumentError, "early_stop compares"),
            ({"loss": "ns"}, {}, ArgumentError, "draws model/loss; vae takes"),
            ({}, {"steps": (1, 2)}, ArgumentError, "steps has 2 values"),
            ({}, {"out": str(tmp_path)}, RunFolderError, "holds no sweep")):
        with pytest.raises(error, match=said):
            sweep(Sweep(Request(**{**training, **of_training}), **{"space": str(space), **wrong}))
    assert not done_at_once


# --- on Ray ------------------------------------------------------------------------------------------------------


def test_a_missing_ray_is_named(tmp_path):
    code = ("import sys; sys.modules['ray'] = None; from vaefast.cli import main;"
            f"sys.exit(main(['sweep', 'vae', '--data', 'digits', '--out', {str(tmp_path / 's')!r}]))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and "pip install 'vaefast[sweep]'" in done.stderr


def test_early_stopping_remembers_what_has_ended(tmp_path):
    pytest.importorskip("ray", reason="ray is not installed (pip install 'vaefast[sweep]')")
    from vaefast.experiments.sweep.ray_tune import _halving

    paths = [fake(tmp_path / f"setting-{i:03d}", 1.0) for i in range(3)]
    for path, score in zip(paths, (1.0, 2.0, 3.0)):
        record = {"stage": "stage1", "step": 1, "seconds": 1.0, "share": 1 / 9, "fd_classifier": score}
        (path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    scheduler = _halving([{"out": str(path), "metric": "classifier"} for path in paths])
    for name, score, going in (("setting-003", 9.0, False), ("setting-004", 0.5, True)):
        path = fake(tmp_path / name, None)
        trial = SimpleNamespace(trial_id=name, config={"job": {"out": str(path)}})
        scheduler.on_trial_add(None, trial)
        scheduler.on_trial_result(None, trial, {"clock": 9, "share": 1 / 9, "score": score})
        assert ended(path) is not going


def sweeping(tmp_path: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "vaefast", "sweep", "vae", "--data", "digits", "--space", str(tmp_path / "space.json"),
            "--settings", "3", "--seeds", "1", "--steps", "80", "--batch-size", "16", "-n", "200", "--log-every", "10",
            "--checkpoint-seconds", "1", "--metric", "classifier", "--at-once", "2", "--out", str(tmp_path / "s"), *words]


def wait_for(condition, seconds: float = 240.0):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.1)
    return found


def training(out: Path) -> list[Path]:
    """Settings with a checkpoint that are not finished."""
    return [p.parent.parent for p in sorted(out.glob("setting-*/checkpoints/stage1-*.json"))
            if not (p.parent.parent / "model.json").exists()]


@pytest.mark.slow
def test_workers_and_drivers_may_die(tmp_path, space):
    pytest.importorskip("ray", reason="ray is not installed (pip install 'vaefast[sweep]')")
    out = tmp_path / "s"
    with open(tmp_path / "log", "w") as log:
        driver = subprocess.Popen(sweeping(tmp_path), stdout=log, stderr=log)
        try:
            victim = wait_for(lambda: training(out))[0]
            pid = int((victim / ".lock").read_text().split()[1])
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: (victim / ".lock").read_text().split()[1:2] not in ([str(pid)], []))  # another took it up
            wait_for(lambda: list(out.glob("setting-*/evaluation.json")))
            driver.kill()
        finally:
            driver.kill()
            driver.wait()
    names = ("evaluation.json", "config.json", "model.json")
    done = {p: p.stat().st_mtime_ns for p in out.glob("setting-*/*") if p.name in names}
    again = subprocess.run(sweeping(tmp_path), capture_output=True, text=True, timeout=570)
    assert again.returncode == 0, again.stderr + (tmp_path / "log").read_text()
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    for path in sorted(out.glob("setting-*")) + sorted(out.glob("best/*/seed-*")):
        assert state_of(path) == "done"
        steps = [json.loads(line)["step"] for line in (path / "metrics.jsonl").read_text().splitlines()]
        assert steps == list(range(10, 81, 10))  # each once
    assert not (out / ".ray").exists() and (out / "samples.png").is_file()
    assert len(json.loads((out / "settings.json").read_text())["rows"]) == 3

    from vaefast.experiments.run import train

    model, stages = overrides(space_of("vae", str(space)).setting(0, int(victim.name[-3:])))
    train(Request("vae", "digits", str(tmp_path / "alone"), steps=(80,), model_overrides=model, device="cpu",
                  stage_overrides={"batch_size": 16, **stages}, trainer={"log_every": 10}), progress=False)
    assert (tmp_path / "alone" / "model.safetensors").read_bytes() == (victim / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_early_stopping_and_failures_on_ray(tmp_path, space):
    pytest.importorskip("ray", reason="ray is not installed (pip install 'vaefast[sweep]')")
    from vaefast.experiments.sweep.ray_tune import Machines, run_jobs

    training = Request("vae", "digits", str(tmp_path / "s"), steps=(30,), stage_overrides={"batch_size": 16},
                       trainer={"log_every": 1})
    asked = Sweep(training, space=str(space), settings=4, seeds=0, samples=200, metric="classifier", early_stop=True, at_once=1)
    sweep(asked)
    states = [state_of(path) for path in sorted((tmp_path / "s").glob("setting-*"))]
    assert set(states) <= {"done", "stopped"} and states[0] == "done"
    for path in (tmp_path / "s").glob("setting-*"):
        assert len(jobs.milestones_of(path, "classifier")) == 2 or state_of(path) == "stopped"

    broken = {"out": str(tmp_path / "setting-009"), "metric": "classifier", "milestones": [], "evaluate": {},
              "train": {"kind": "vae", "data_name": "nothing", "data_root": None, "device": "cpu"}}
    failed = run_jobs([broken], Machines(at_once=1), tmp_path / "r")
    assert list(failed) == ["setting-009"] and "nothing" in failed["setting-009"]
    with pytest.raises(TrainingError, match="setting-009 failed again and again"):
        search._finish(failed)
