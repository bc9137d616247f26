"""The reproduction of Dai & Wipf: rows, cells, tables, what holds, one page."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vaefast.cli import main
from vaefast.data import ImageSet
from vaefast.errors import ArgumentError
from vaefast.experiments import run
from vaefast.experiments.papers import claims as all_claims
from vaefast.experiments.papers.catalog import PAPERS
from vaefast.experiments.papers.cells import Task
from vaefast.experiments.papers.dai_wipf import claims, printed, protocol
from vaefast.experiments.papers.dai_wipf.paper import PAPER
from vaefast.experiments.papers.plan import Study
from vaefast.experiments.papers.tables import lines_of, shown, table
from vaefast.experiments.request import Request
from vaefast.nets import infogan
from vaefast.training.settings import StageSettings, override

ROWS = "two-stage,vae-fixed"


def reproduce(out: Path, *words: str) -> int:
    return main(["reproduce", "dai-wipf", *words, "--data", "digits", "--data-root", "none", "--preset", "smoke", "--out",
                 str(out)])


@pytest.fixture(scope="module")
def study(tmp_path_factory, patch):
    """Table 1 of two rows and two trials, and the figures, of a few steps each on the UCI digits."""
    out = tmp_path_factory.mktemp("dai-wipf") / "out"

    def few_steps(training, task):
        found = PAPER.settings(training, task)
        small = {} if training.kind == "gan" else {"nets": "residual"}
        if training.kind in ("two-stage", "vae"):
            small["net_options"] = {"width": 4}
        return {**found, "steps": (6, 8) if training.kind == "two-stage" and training.name != "joint" else (6,),
                "model_overrides": {**found["model_overrides"], "latent_dim": 4, **small}}

    patch.setitem(PAPERS, "dai-wipf", replace(PAPER, settings=few_steps))
    patch.setitem(protocol.SAMPLES, "smoke", 64)
    assert reproduce(out, "table1", "--trials", "2", "--models", ROWS) == 0
    for part in ("table3", "fig1a", "fig1b", "fig2"):
        assert reproduce(out, part) == 0
    return out


def test_the_table_has_every_row_with_the_papers_value_beside_ours(study, monkeypatch):
    found = json.loads((study / "digits" / "table1.json").read_text())
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == list(printed.TABLE1) and found["trials"] == 2
    for name in ("two-stage", "vae-learned", "vae-fixed"):
        values = rows[name]["fd_classifier"]["values"]
        assert len(set(values)) == 2 and rows[name]["fd_classifier"]["std"] > 0
    assert rows["two-stage"]["reconstruction_error"] == rows["vae-learned"]["reconstruction_error"]  # one and the same model
    assert rows["vae-flow"]["fd_classifier"] is None and rows["wgan"]["fd_classifier"] is None
    assert rows["best-gan"]["fd_classifier"] is None and rows["best-gan"]["paper_fid"] is None  # no GAN was trained
    assert rows["vae-fixed"]["gamma"]["values"] == [1.0, 1.0]
    lines = (study / "digits" / "table1.md").read_text().splitlines()
    assert len(lines) == 2 + len(rows) and " ± " in lines[-1]
    with open(study / "digits" / "table1.csv", encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    assert len(cells) == len(rows) and len(cells[-1]["fd_classifier_values"].split()) == 2


def test_what_is_done_is_not_done_again_and_what_is_new_is_added(study, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(study, out)
    model = out / "digits" / "table1" / "two-stage" / "trial-01" / "model.safetensors"
    before = model.stat().st_mtime_ns
    scores = out / "digits" / "table1" / "vae-fixed" / "trial-02" / "evaluation.json"
    was = json.loads(scores.read_text())
    scores.unlink()
    assert reproduce(out, "table1", "--trials", "2", "--models", f"{ROWS},wae-mmd") == 0
    assert model.stat().st_mtime_ns == before and json.loads(scores.read_text()) == was
    rows = {row["name"]: row for row in json.loads((out / "digits" / "table1.json").read_text())["rows"]}
    assert len(rows["wae-mmd"]["fd_classifier"]["values"]) == 2 and rows["wae-mmd"]["active_dimensions"] is None


def test_the_controls_stand_beside_table_1s_own_models(study, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(study, out)
    model = out / "digits" / "table1" / "two-stage" / "trial-01" / "model.safetensors"
    before = model.stat().st_mtime_ns
    assert reproduce(out, "joint") == 0
    assert model.stat().st_mtime_ns == before
    assert sorted(p.name for p in (out / "digits" / "joint").iterdir()) == ["joint", "vae-stacked"]
    found = json.loads((out / "digits" / "joint.json").read_text())
    rows, of_table1 = all_claims.by_name(found), all_claims.by_name(json.loads((out / "digits" / "table1.json").read_text()))
    assert list(rows) == ["vae-learned", "vae-stacked", "joint", "two-stage"]
    for name in ("vae-learned", "two-stage"):
        assert rows[name]["fd_classifier"] == of_table1[name]["fd_classifier"] and rows[name]["minutes"] is not None
    assert rows["joint"]["fd_classifier"]["mean"] > 0 and rows["joint"]["minutes"]["mean"] > 0
    said = [c["text"] for c in json.loads((out / "claims.json").read_text())["digits"]]
    assert len(said) == 17 and "training both stages together does not do what the second stage does" in said


def test_a_cell_of_other_settings_is_refused(study, capsys):
    assert main(["reproduce", "dai-wipf", "table1", "--data", "digits", "--data-root", "none", "--preset", "quick", "--models",
                 "two-stage", "--out", str(study)]) == 2
    assert "was made with other settings" in capsys.readouterr().err
    assert reproduce(study, "table1", "--models", "best-gan") == 2
    assert "models names 'best-gan'" in capsys.readouterr().err
    assert reproduce(study, "table1", "--trials", "0") == 2
    assert "trials is 0" in capsys.readouterr().err
    assert main(["reproduce", "two-stage-mnist-quick", "--data-root", "none", "--preset", "paper", "--out", str(study)]) == 2
    assert "preset was given" in capsys.readouterr().err


def test_one_page_shows_all_of_it(study):
    text = (study / "report.html").read_text()
    for heading in ("Table 1", "Table 3", "Figure 1a", "Figure 1b", "Figure 2", "Does it hold here?"):
        assert heading in text
    assert text.count("<img ") == 5 and "cannot be read" not in text and "://" not in text.split("</style>")[1]
    said = json.loads((study / "claims.json").read_text())["digits"]
    assert {c["holds"] for c in said} <= {True, False, None} and len(said) == 13
    calls = [json.loads(line) for line in (study / "calls.jsonl").read_text().splitlines()]
    assert [c["part"] for c in calls][:5] == ["table1", "table3", "fig1a", "fig1b", "fig2"] and calls[0]["seconds"] > 0
    assert (study / "claims.md").read_text() == all_claims.markdown({"digits": said})
    assert all((study / "digits" / f"{name}.svg").is_file() for name in ("fig1a", "fig1b", "fig2", "table3"))


def test_claims_say_what_was_measured_and_do_not_guess():
    def row(name, value):
        return {"name": name, "fid": None, "fd_classifier": value and {"mean": value}, "reconstruction_error": None,
                "gamma": None}

    found = claims.of_table1({"rows": [row("two-stage", 2.0), row("vae-learned", 14.0), row("vae-fixed", None),
                                       row("vae-bernoulli", 1.0), row("vae-flow", None), row("wae-mmd", 3.0)]})
    assert [c.holds for c in found] == [True, None, False, None, True, None, None, None]
    assert found[0].measured == "2 against 14, 7 times"


def test_a_flow_and_the_best_gan_are_judged_as_the_paper_prints_them():
    def row(name, value, printed=None):
        return {"name": name, "fd_classifier": {"mean": value, "std": 0.1}, "paper_fid": printed and {"mean": printed}}

    rows = [row("vae-learned", 5.0), row("vae-flow", 4.9), row("two-stage", 3.0, 29.3), row("best-gan", 2.0, 32.0)]
    said = {c.text: c for c in claims.of_table1({"rows": rows})}
    assert said["a flow on the posterior does not help (here: it is not ahead)"].holds  # by less than two deviations
    ahead, = (c for text, c in said.items() if "best GAN" in text)
    assert ahead.text.startswith("the two-stage VAE is better") and ahead.holds is False and not ahead.close
    rows[1] = row("vae-flow", 3.0)
    assert claims.of_table1({"rows": rows})[5].holds is False


@pytest.mark.parametrize("row", [r for r in (*protocol.TABLE1, *protocol.TABLE2, *protocol.JOINT[1:3]) if r.training],
                         ids=lambda r: r.name)
@pytest.mark.parametrize("preset", protocol.SAMPLES)
@pytest.mark.parametrize("data", ["mnist", "cifar10", "celeba"])
def test_every_protocol_is_one_that_training_takes(row, preset, data):
    name = "table1" if row in protocol.TABLE1 else "table2" if row in protocol.TABLE2 else "joint"
    found = protocol.options(row.training, name, preset, data)
    override(StageSettings(epochs=1), found["stage_overrides"])
    if (name, preset) == ("table1", "paper"):
        if row.training.kind == "gan":
            assert found["steps"] == {"mnist": (15_625,), "cifar10": (78_125,), "celeba": (101_250,)}[data]
        else:
            assert data != "cifar10" or found["epochs"][0] == 1000


def test_how_much_latent_dimensions_matter():
    def rows(name, values):
        return [{"name": f"{name}-k{k}", "fd_classifier": {"mean": v}} for k, v in zip(protocol.KAPPAS, values, strict=True)]

    said, = claims.of_kappa({"rows": rows("two-stage", (3, 2, 2, 2, 3)) + rows("wae-mmd", (4, 2, 2, 4, 8))})
    assert said.holds and said.measured == "3 / 2 / 2 / 2 / 3, 1.5 times, against 4 / 2 / 2 / 4 / 8, 4 times"
    assert claims.of_kappa({"rows": rows("two-stage", (3, 2, 2, 2, 3))})[0].holds is None
    assert [(r.training.kind, r.stage) for r in protocol.KAPPA[::5]] == [("two-stage", 1), ("two-stage", 2), ("wae-mmd", 1)]


@pytest.mark.parametrize("preset", protocol.SAMPLES)
def test_the_controls_have_the_second_stages_networks_and_the_firsts_budget(preset):
    asked = {row.name: Request(data_name="mnist", out="-", **protocol.options(row.training, "joint", preset, "mnist"))
             for row in protocol.JOINT}
    built = {name: run.build(one.kind, one.preset, (1, 28, 28), one.model_overrides) for name, one in asked.items()}
    stages = {name: one.stages_from(one.preset.stages_of(built[name])) for name, one in asked.items()}
    assert stages["joint"] == stages["vae-stacked"] == stages["two-stage"][:1]
    count = {name: sum(p.numel() for p in model.parameters()) for name, model in built.items()}
    assert count["joint"] == count["two-stage"]
    left_out = (infogan.HIDDEN + 1) * built["joint"].latent_dim + 1  # the head of the first posterior's deviation, and gamma_z
    assert count["two-stage"] - count["vae-stacked"] == left_out


def test_the_controls_are_judged_as_other_rows():
    def row(name, value):
        return {"name": name, "fd_classifier": value and {"mean": value, "std": 0.1}}

    rows = [row("vae-learned", 5.0), row("vae-stacked", 5.1), row("joint", 4.0), row("two-stage", 2.0)]
    verdicts = [all_claims.verdict(c.as_dict()) for c in claims.of_joint({"rows": rows})]
    assert verdicts == ["no", "yes", "yes", "yes"]
    assert [c.holds for c in claims.of_joint({"rows": rows[:2]})] == [None, True, None, None]
    rows[2] = row("joint", 2.1)
    assert all_claims.verdict(claims.of_joint({"rows": rows})[2].as_dict()) == "cannot tell"


@pytest.mark.parametrize(("a", "b", "said"), [
    ((10, None), (16, None), "yes"), ((10, None), (12, None), "cannot tell"), ((16, None), (10, None), "no"),
    ((10, 0.5), (12, 0.5), "yes"), ((10, 1.5), (12, 1.5), "cannot tell"), ((10, 0.1), (14, None), "yes"),
    ((0, None), (0, None), "cannot tell"), ((10, None), None, "-")])
def test_a_comparison_that_is_too_close_is_not_told(a, b, said):
    def row(name, value):
        return {"name": name, "fid": None if value is None else {"mean": value[0], "std": value[1]}}

    rows = {r["name"]: r for r in (row("a", a), row("b", b))}
    assert all_claims.verdict(all_claims.less(rows, "fid", "a", "b", "a is better").as_dict()) == said


def test_faces_have_a_distance_and_a_verdict():
    """Images without labels, and no Inception weights."""
    def row(name, value):
        return {"name": name, "title": name, "fd_exemplar": {"mean": value, "std": None, "values": [value]}}

    record = {"rows": [row("vae", 50.0), row("wae-mmd", 60.0), row("wae-gan", 20.0), row("two-stage", 30.0)]}
    assert [c.holds for c in claims.of_parts({"table2": record})] == [True, True, False]
    assert lines_of(record, PAPER.parts["table2"].columns)[0] == ["model", "FD-exemplar"]


@pytest.mark.parametrize("distance", ["fd_classifier", "fd_exemplar"])
def test_the_best_gan_is_the_best_of_the_seven(tmp_path, distance):
    task = Task(PAPER, Study(tmp_path, None, "smoke"), "table1", "digits")
    values = {"mm-gan": 9.0, "wgan": 4.0, "began": 7.0, "two-stage": 1.0}
    for row in protocol.TABLE1:
        if row.name in values:
            path = task.folder(row.training) / "trial-01"
            path.mkdir(parents=True)
            (path / "config.json").write_text("{}")
            (path / "evaluation.json").write_text(json.dumps({f"{distance}/stage1": values[row.name]}))
    rows = {row["name"]: row for row in table(task)["rows"]}
    assert rows["best-gan"][distance] == rows["wgan"][distance] and rows["best-gan"]["best"] == "wgan"
    assert rows["best-gan"][distance]["mean"] == 4.0


def test_the_papers_budgets():
    two = next(r.training for r in protocol.TABLE2 if r.name == "two-stage")
    assert protocol.options(two, "table2", "paper", "celeba")["epochs"] == (70.0, 70.0)
    assert protocol.options(two, "table2", "quick", "lfw")["model_overrides"] == {"nets": "wae", "net_options": {"width": 16}}
    gan = next(r.training for r in protocol.TABLE1 if r.name == "lsgan")
    found = protocol.options(gan, "table1", "paper", "cifar10")
    assert (found["steps"], found["score_every"], found["keep_best"]) == ((78_125,), 5.0, True)
    with pytest.raises(ArgumentError, match="preset is 'tiny'"):
        protocol.options(two, "table2", "tiny", "celeba")
    def plain(name, side, note=""):
        return ImageSet(torch.zeros(1, 3, side, side, dtype=torch.uint8), name=name, note=note)

    assert protocol.data_options("table2", "paper", plain("celeba", 64)) == {"crop": 140}
    assert protocol.data_options("table1", "paper", plain("celeba", 64)) == {}
    assert protocol.data_options("table2", "smoke", plain("mnist", 28)) == {"pad": 32, "limit": 2000}
    assert protocol.data_options("table1", "quick", plain("cifar10", 32)) == {"jpeg75": True}
    assert protocol.data_options("table1", "quick", plain("cifar10", 32, "Lossy")) == {}


def test_a_limit_is_spread_over_the_set_unless_its_loader_has_one_of_its_own(monkeypatch, tmp_path):
    whole = run.load_data("digits", None, "train")
    few = run.load_data("digits", None, "train", limit=3, pad=36)
    assert few.image_shape == (1, 36, 36)
    assert torch.equal(few.images[:, :, 2:-2, 2:-2], whole.images[[0, (len(whole) - 1) // 2, len(whole) - 1]])
    given = {}
    monkeypatch.setattr(run.data, "load", lambda name, root, split, **options: given.update(options) or whole)
    assert len(run.load_data("lsun", str(tmp_path), "train", limit=3)) == len(whole) and given == {"limit": 3}


def test_a_table_without_any_trial_shows_the_papers_numbers_alone(tmp_path):
    found = table(Task(PAPER, Study(tmp_path, None, "smoke"), "table2", "celeba"))
    assert [shown(row["paper_fid"]) for row in found["rows"]] == ["63", "55", "42", "34"]
    assert all(row["fd_classifier"] is None for row in found["rows"])


@pytest.mark.slow
def test_everything_on_mnist_in_a_smoke_run(data_root, tmp_path):
    words = ["--data", "mnist", "--data-root", str(data_root), "--preset", "smoke", "--out", str(tmp_path / "out")]
    assert main(["reproduce", "dai-wipf", "all", *words]) == 0
    found = {path.stem for path in (tmp_path / "out" / "mnist").glob("*.json")}
    assert found == {"table1", "table2", "table3", "fig1a", "fig1b", "fig2"}
    for name in ("table1", "table2"):
        rows = json.loads((tmp_path / "out" / "mnist" / f"{name}.json").read_text())["rows"]
        assert all(row["fd_classifier"] for row in rows)
    assert (tmp_path / "out" / "manifolds.json").is_file()
