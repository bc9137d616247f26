"""The reproduction of Hinrichsen: rows, cells, tables, what holds, one page."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vaefast.cli import main
from vaefast.errors import ArgumentError, DivergenceError
from vaefast.experiments import presets
from vaefast.experiments.papers import cells
from vaefast.experiments.papers.catalog import PAPERS
from vaefast.experiments.papers.cells import Task
from vaefast.experiments.papers.hinrichsen import claims, printed, protocol
from vaefast.experiments.papers.hinrichsen.paper import PAPER
from vaefast.experiments.papers.pictures import great_circle
from vaefast.experiments.papers.plan import Study
from vaefast.experiments.papers.tables import table
from vaefast.experiments.request import Request
from vaefast.experiments.run import build, train
from vaefast.experiments.scoring import score_curve
from vaefast.nets import hinrichsen_vae
from vaefast.training.settings import StageSettings, override

TABLES = {name: part.rows for name, part in PAPER.parts.items() if part.rows}
ROWS = {row.name: row for rows in TABLES.values() for row in rows}
PARTS = ("all", "latents", "own")
NARROW = {"FEATURES": 64, "ENCODER": ((8, 16), (16, 32), (32, 32), (64, 128)),
          "DECODER": (((16, 16), (32, 16)), ((16, 16), (16, 8)), ((8, 8), (8, 4)), ((4, 4), (4, 4)), ((2, 2), (2, None)))}
"""Widths of Hinrichsen's other VAE, an eighth."""


def reproduce(out: Path, *words: str) -> int:
    return main(["reproduce", "hinrichsen", *words, "--data", "digits", "--data-root", "none", "--preset", "smoke", "--out",
                 str(out)])


@pytest.fixture(scope="module")
def study(tmp_path_factory, patch):
    """Every part, of a few steps each on a few of the UCI digits."""
    out = tmp_path_factory.mktemp("hinrichsen") / "out"

    def few_steps(training, task):
        found = PAPER.settings(training, task)
        found["stage_overrides"]["batch_size"] = 8
        small = {"latent_dim": 4, **({} if training.kind == "vae" else {"ch": 2})}
        return {**found, "steps": (3,), "model_overrides": {**found["model_overrides"], **small}}

    patch.setitem(PAPERS, "hinrichsen", replace(PAPER, settings=few_steps))
    patch.setitem(protocol.SAMPLES, "smoke", 520)
    patch.setattr(score_curve, "SAMPLES", 50)
    patch.setattr(protocol, "LIMIT", 200)
    for name, narrow in NARROW.items():  # whose widths are no argument
        patch.setattr(hinrichsen_vae, name, narrow)
    for part in PARTS:
        assert reproduce(out, part) == 0
    return out


def test_every_row_is_scored_once_beside_real_images(study):
    tables = {name: json.loads((study / "digits" / f"{name}.json").read_text()) for name in TABLES}
    for name, found in tables.items():
        assert [row["name"] for row in found["rows"]] == [*(row.name for row in TABLES[name]), "real"]
        for row in found["rows"]:
            assert row["fd_classifier"]["mean"] >= 0 and row["is_classifier"]["mean"] >= 1 and row["fid"] is None
            assert (row["is_classifier_512"] is None) == (row["name"] == "real")  # of which there are fewer here
        assert found["trials"] == 1
    main_rows = {row["name"]: row for row in tables["table"]["rows"]}
    assert main_rows["gan-deep"]["diversity"]["mean"] > 0 and main_rows["gan-deep"]["reconstruction_error"] is None
    assert main_rows["vae-deep"]["reconstruction_error"]["mean"] > 0 and main_rows["vae-deep"]["diversity"] is None
    again = {row["name"]: row for row in tables["activation"]["rows"]}
    assert again["gan-deep"]["fd_classifier"] == main_rows["gan-deep"]["fd_classifier"]  # one and the same run
    assert {p.name for p in (study / "digits" / "runs").iterdir()} == set(ROWS)
    scores = json.loads((study / "digits" / "runs" / "gan-deep" / "trial-01" / "evaluation.json").read_text())
    assert scores["against"] == "train" and scores["real"] == 200


def test_one_page_shows_all_of_it(study):
    text = (study / "report.html").read_text()
    headings = ("The result table", "Latent dimensions", "Learning rates", "leaky ReLU", "Interpolations", "Does it hold here?")
    assert all(heading in text for heading in headings)
    assert "cannot be read" not in text and "://" not in text.split("</style>")[1]
    pictures = {p.stem for p in (study / "digits").glob("*.png")}
    assert pictures == {*TABLES, "neighbours", "interpolations", "reconstructed", "rates_curves", "optimizers_curves"}
    assert text.count("<img ") == len(pictures) and "reproduce hinrichsen all" in text
    said = json.loads((study / "claims.json").read_text())["digits"]
    assert len(said) == 2 + 2 + 2 + 2 + 2 + 4 + 4 and all(c["measured"] != "not measured" for c in said)
    assert {c["holds"] for c in said} == {None}  # a smoke run is no evidence
    for name in TABLES:
        assert (study / "digits" / f"{name}.md").is_file() and (study / "digits" / f"{name}.csv").is_file()


def test_what_is_done_is_not_done_again(study, tmp_path, nothing_again, capsys):
    out = tmp_path / "out"
    shutil.copytree(study, out)
    (out / "digits" / "table.json").unlink()
    assert reproduce(out, "table") == 0
    assert json.loads((out / "digits" / "table.json").read_text()) == json.loads((study / "digits" / "table.json").read_text())
    assert reproduce(out, "table", "--data-option", "classes=0,1") == 2
    assert "was made with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "message"), [
    (("figures",), "part is 'figures'"), (("table", "--models", "wgan"), "models names 'wgan'"),
    (("table", "--trials", "0"), "trials is 0"), (("table", "--data-option", "classes=cat"), "no class 'cat'")])
def test_what_cannot_be_is_refused(tmp_path, capsys, words, message):
    assert reproduce(tmp_path, *words) == 2
    assert message in capsys.readouterr().err


def test_data_options_are_not_for_the_other_paper(tmp_path, capsys):
    assert main(["reproduce", "dai-wipf", "--data-option", "classes=1", "--data-root", "none", "--out", str(tmp_path)]) == 2
    assert "data-option was given" in capsys.readouterr().err


@pytest.mark.parametrize("data", ["cifar10", "lfw", "digits"])
@pytest.mark.parametrize("preset", protocol.PRESETS)
@pytest.mark.parametrize("name", ROWS)
def test_every_protocol_is_one_that_training_takes(name, preset, data):
    found = protocol.options(ROWS[name].training, preset, data)
    settings = override(StageSettings(epochs=1), {**found["stage_overrides"], **{k: found[k][0] for k in ("steps", "epochs")
                                                                                if k in found}})
    if name == "vae-own":
        assert found["model_overrides"]["nets"] == "hinrichsen" and settings.weight_decay == (0 if preset == "quick" else 1e-4)
        assert preset != "paper" or (settings.batch_size, settings.lr, settings.schedule) == (1024, 1e-4, "plateau")
        return
    assert found["model_overrides"]["arch"] in name
    if name.startswith("vae"):  # his errors are on [0, 1], where they weigh a quarter
        assert found["model_overrides"].get("image_range") == (None if preset == "quick" else (0, 1))
    if preset == "paper":
        published = printed.TABLE.get(data, printed.TABLE["cifar10"])["-".join(name.split("-")[:2])]
        assert settings.batch_size == published.batch and settings.epochs == published.epochs
        assert found["model_overrides"]["ch"] == round(published.ch * (protocol.NARROW if name.endswith("narrow") else 1))
    if name.startswith("gan"):
        factors = {"gan-deep-fast-d": (10, 1), "gan-deep-fast-g": (1, 10), "gan-deep-sgd": (10, 10)}.get(name, (1, 1))
        players = [settings.of(player) for player in ("discriminator", "generator")]
        assert [p.lr for p in players] == pytest.approx([2e-4 * factors[0], (2e-4 if preset == "quick" else 5e-5) * factors[1]])
        assert all(p.clip_value == 0.1 and p.weight_decay == (1e-5 if data == "lfw" else 0) for p in players)


@pytest.mark.parametrize("preset", protocol.PRESETS)
def test_other_optimizers_than_adam(preset):
    for family in ("gan", "vae"):
        adam, rmsprop, sgd = (protocol.options(ROWS[f"{family}-deep{name}"].training, preset, "lfw")["stage_overrides"]
                              for name in ("", "-rmsprop", "-sgd"))
        lr = adam.get("lr", 1e-4)  # a VAE's own in preset "paper"
        assert "optimizer" not in adam and (rmsprop["optimizer"], rmsprop.get("lr", 1e-4)) == ("rmsprop", lr)
        assert (sgd["optimizer"], sgd.get("lr", 1e-4)) == ("sgd", pytest.approx(lr * {"gan": 10, "vae": 1}[family]))
        assert rmsprop["betas"] == sgd["betas"] == (0.9, 0.99)
        if family == "gan":
            assert [s["players"]["generator"].optimizer for s in (adam, rmsprop, sgd)] == ["adam", "rmsprop", "sgd"]


def test_the_claims_rows():
    latents = [ROWS[f"vae-deep{x}"].training.model.get("latent_dim", protocol.LATENT) for x in ("-z128", "", "-z512")]
    assert latents == [128, 256, 512]
    assert ROWS["gan-deep-leaky"].training.model["activation"] == "leaky_relu"
    with pytest.raises(ArgumentError, match="preset is 'tiny'"):
        protocol.options(ROWS["gan-deep"].training, "tiny", "lfw")
    assert protocol.data_options("paper") == {} and protocol.data_options("smoke") == {"limit": protocol.LIMIT}


def _table(data: str, key: str = "fid", **values: float | None) -> dict:
    keys = (*claims.DISTANCES, *(f"{s}{n}" for s in claims.INCEPTION for n in ("", "_512")), "diversity",
            "reconstruction_error")
    rows = [{"name": name.replace("_", "-"), "diverged": 0, **dict.fromkeys(keys), key: value and {"mean": value}}
            for name, value in values.items()]
    return {"data": data, "rows": rows}


def test_claims_of_the_table_follow_the_paper_for_each_set():
    distances = {"gan_normal": 25.0, "gan_deep": 22.0, "vae_normal": 39.0, "vae_deep": 40.0}
    photographs, faces = (claims.of_table(_table(data, **distances)) for data in ("cifar10", "lfw"))
    assert [c.holds for c in photographs] == [None, None, True, True, True]
    assert photographs[2].measured == "25 against 39, 1.6 times"
    assert [c.holds for c in faces] == [None, None, False, False, True, False]
    scores = claims.of_table(_table("cifar10", "is_classifier_512", gan_normal=3.0, vae_normal=2.0, gan_deep=2.9, vae_deep=2.0))
    assert [c.holds for c in scores][:2] == [None, None]  # without the score of all samples nothing says which score there is
    both = _table("cifar10", "is_classifier_512", gan_normal=3.0, vae_normal=2.0, gan_deep=2.9, vae_deep=2.0)
    for row in both["rows"]:
        row["is_classifier"] = {"mean": 1.0}
    assert [c.holds for c in claims.of_table(both)][:2] == [True, False]


def test_other_claims():
    error = "reconstruction_error"
    falls = claims.of_latents(_table("lfw", error, **{"vae-deep-z128": 3.0, "vae-deep": 2.0, "vae-deep-z512": 1.0}))
    assert [c.holds for c in falls] == [True, None]
    unequal = claims.of_latents(_table("lfw", error, **{"vae-deep-z128": 3.0, "vae-deep": 4.0, "vae-deep-z512": 1.0}))[0]
    assert unequal.holds is False and unequal.measured == "3 / 4 / 1 with 128 / 256 / 512"
    assert claims.of_latents(_table("lfw", error, **{"vae-deep": 2.0}))[0].holds is None
    blocks = _table("lfw", **{"gan-normal": 2.0, "gan-normal-blocks": 1.0, "gan-normal-narrow": 3.0})
    assert [c.holds for c in claims.of_blocks(blocks)] == [True, False, None, None]
    rates = _table("lfw", **{"gan-deep": 2.0, "gan-deep-fast-d": 5.0, "gan-deep-fast-g": 9.0})
    assert [c.holds for c in claims.of_rates(rates)] == [True, None]
    for row, value in zip(rates["rows"], (0.8, 0.9, 0.3), strict=True):
        row["diversity"] = {"mean": value}
    assert [c.holds for c in claims.of_rates(rates)] == [True, True]
    rates["rows"][2]["diversity"] = {"mean": 0.5}
    assert [c.holds for c in claims.of_rates(rates)] == [True, False]
    activation = _table("lfw", **{"gan-deep": 2.0, "vae-deep": 2.0, "gan-deep-leaky": 3.0, "vae-deep-leaky": 1.0})
    assert [c.holds for c in claims.of_activation(activation)] == [True, False]
    optimizers = _table("lfw", **{"gan-deep": 2.0, "gan-deep-rmsprop": 3.0, "gan-deep-sgd": 1.0, "vae-deep": 2.0})
    assert [c.holds for c in claims.of_optimizers(optimizers)] == [True, False, None, None]


def test_a_training_that_diverges_is_an_answer_that_is_kept(tmp_path, monkeypatch):
    calls = []

    def diverges(asked):
        calls.append(asked)
        raise DivergenceError("the loss of stage1 became NaN or infinite at step 3.")

    monkeypatch.setattr(cells, "train", diverges)
    said: list[str] = []
    study = Study(tmp_path, None, "smoke", say=said.append)
    monkeypatch.setattr("vaefast.experiments.papers.hinrichsen.paper.metrics_of", lambda task: None)
    row, task = ROWS["gan-deep-fast-g"], Task(PAPER, study, "rates", "digits")
    for _ in range(2):
        path = task.cell(row.training)
    assert len(calls) == 1 and "NaN" in cells.stopped(path) and any("NaN" in line for line in said)
    found = table(task)
    assert found["rows"][2]["title"].endswith("(1 of 1 diverged)") and found["rows"][2]["fd_classifier"] is None
    assert claims.of_rates(found)[1].holds is True and claims.of_rates(found)[1].measured == "1 diverged"
    with pytest.raises(DivergenceError):
        cells.run_cell(study, tmp_path / "other" / "trial-01", {"kind": "vae", "data_name": "digits"}, 10)


def test_interpolations_keep_to_great_circles():
    a, b = torch.randn(2, 5, 64, dtype=torch.float64)
    path = great_circle(a, b, 8)
    assert path.shape == (5, 8, 64)
    torch.testing.assert_close(path[:, 0], a)
    torch.testing.assert_close(path[:, -1], b)
    lengths = torch.stack([a.norm(dim=1) + t * (b.norm(dim=1) - a.norm(dim=1)) for t in torch.linspace(0, 1, 8).double()], 1)
    torch.testing.assert_close(path.norm(dim=2), lengths, rtol=1e-6, atol=0)
    unit = path / path.norm(dim=2, keepdim=True)
    angles = (unit[:, 1:] * unit[:, :-1]).sum(2).acos()
    torch.testing.assert_close(angles, angles[:, :1].expand_as(angles), rtol=1e-5, atol=0)  # even steps
    same = great_circle(a, a, 3)
    torch.testing.assert_close(same, a[:, None].expand_as(same))
    assert great_circle(a, -a, 3).isfinite().all() and great_circle(a * 0, b, 3).isfinite().all()


def test_settings_reach_the_training(tmp_path):
    found = protocol.options(ROWS["gan-deep-fast-g"].training, "smoke", "lfw")
    found["model_overrides"] |= {"ch": 2, "latent_dim": 4}
    found |= {"steps": (1,), "score_every": None}
    found["stage_overrides"]["batch_size"] = 4
    _, run = train(Request(data_name="digits", out=str(tmp_path / "run"), **found), progress=False)
    record = run.read_metrics()[-1]
    assert record["discriminator/lr"] == pytest.approx(2e-4) and record["generator/lr"] == pytest.approx(5e-4)


@pytest.mark.parametrize("preset", list(protocol.PRESETS))
def test_both_families_have_the_papers_networks_in_every_preset(preset):
    gan, vae = (build(row.training.kind, presets.preset(row.training.kind, found["preset_name"]), (3, 32, 32),
                      found["model_overrides"] | {"ch": 2})
                for row in (ROWS["gan-deep"], ROWS["vae-deep"]) for found in [protocol.options(row.training, preset, "cifar10")])
    gan, vae = gan.config(), vae.config()
    assert all(vae[name] == gan[name] for name in ("arch", "rule", "activation", "init", "spectral_norm"))
    assert gan["rule"] == "code" and gan["latent_dim"] == 256
    game = tuple(gan[name] for name in ("loss", "order", "disc_iters"))
    assert game == (("hinge", "dg", 1) if preset == "quick" else ("ns", "dgd", 1))


@pytest.mark.parametrize("preset, rates, beta1", [("smoke", (2e-4, 5e-5), 0.9), ("quick", (2e-4, 2e-4), 0.0),
                                                  ("paper", (2e-4, 5e-5), 0.9)])
def test_both_players_have_the_same_optimizer_but_for_the_rate(preset, rates, beta1):
    stage = protocol.options(ROWS["gan-deep"].training, preset, "cifar10")["stage_overrides"]
    generator = stage["players"]["generator"]
    assert (stage["lr"], generator.lr) == rates and stage["betas"] == generator.betas == (beta1, 0.999)
    assert stage["clip_value"] == generator.clip_value == 0.1 and stage["schedule"] == generator.schedule == "constant"


@pytest.mark.slow
@pytest.mark.parametrize("data", ["cifar10", "lfw"])
def test_everything_in_a_smoke_run(data_root, tmp_path, data):
    words = ["--data", data, "--data-root", str(data_root), "--preset", "smoke", "--out", str(tmp_path / "out")]
    assert main(["reproduce", "hinrichsen", *words]) == 0
    found = {path.stem for path in (tmp_path / "out" / data).glob("*.json")}
    of_faces = {"latents", "own"} if data == "lfw" else set()
    assert found == {"data", "table", "rates", "activation", "optimizers", "blocks"} | of_faces
    key = {"cifar10": "fd_classifier", "lfw": "fd_exemplar"}[data]
    for row in json.loads((tmp_path / "out" / data / "table.json").read_text())["rows"]:
        assert row[key]["mean"] > 0 and (row["name"] == "real" or row["paper_fid"])
