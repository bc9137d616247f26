"""The reproduction of Rivera: rows, cells, tables, paths between codes, what holds, one page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import vaefast
from vaefast import data
from vaefast.cli import main
from vaefast.errors import ArgumentError
from vaefast.experiments.papers import cells
from vaefast.experiments.papers.cells import Task
from vaefast.experiments.papers.gamix import claims, paths, protocol
from vaefast.experiments.papers.gamix.paper import PAPER
from vaefast.experiments.papers.pictures import straight_line
from vaefast.experiments.papers.plan import Study
from vaefast.experiments.presets import preset
from vaefast.experiments.run import build
from vaefast.training.settings import override

PARTS = tuple(PAPER.parts)
TABLES = {name: part.rows for name, part in PAPER.parts.items() if part.rows}
ROWS = {row.training.name: row for rows in TABLES.values() for row in rows}
TRAINED = ("elbo", "patchgan", "gamix-two-stage")
TINY = protocol.Budget("a few steps", 60, 40, 8, 4, (8, 8), (2, 2), 3, "group")


def reproduce(out: Path, *words: str) -> int:
    return main(["reproduce", "gamix", *words, "--data", "digits", "--data-root", "none", "--preset", "smoke", "--out", str(out)])


@pytest.fixture(scope="module")
def study(tmp_path_factory, patch):
    """Every part with some of its rows, of a few steps each on a few of the UCI digits, which the loader draws at 32x32."""
    out = tmp_path_factory.mktemp("gamix") / "out"
    patch.setitem(protocol.PRESETS, "smoke", TINY)
    patch.setattr(protocol, "LIMIT", 520)
    assert reproduce(out, "all", "--models", ",".join(TRAINED)) == 0
    return out


def record(study: Path, name: str) -> dict:
    return json.loads((study / "digits" / f"{name}.json").read_text())


def test_every_row_is_trained_and_scored_once(study):
    assert {p.name for p in (study / "digits" / "runs").iterdir()} == set(TRAINED)
    for name, rows in TABLES.items():
        found = record(study, name)
        assert [row["name"] for row in found["rows"]] == [*(row.name for row in rows), "real"] and found["trials"] == 1
        assert "trained on the data set" in found["features"]
        named = {row.name: row.training.name for row in rows}
        for row in (row for row in found["rows"] if named.get(row["name"], "patchgan") in TRAINED):
            assert row["fd_classifier"]["mean"] >= 0 and row["fid"] is None and row["sharpness"]["mean"] > 0
            assert row["diversity"]["mean"] >= 0 and 0 <= row["recall"]["mean"] <= 1 and row["kid"] is not None
            assert (row["active"] is None) == (row["reconstruction_error"] is None) == (row["name"] == "real")
    scores = json.loads((study / "digits" / "runs" / "patchgan" / "trial-01" / "evaluation.json").read_text())
    assert scores["real"] == 60 and scores["mutual_information_images"] == 40
    again = {row["name"]: row for row in record(study, "weights")["rows"]}
    first = {row["name"]: row for row in record(study, "ablation")["rows"]}
    assert again["patchgan"]["sharpness"] == first["patchgan"]["sharpness"]  # one and the same run


def test_numbers_of_codes_are_those_of_the_latents_page(study):
    row = next(row for row in record(study, "ablation")["rows"] if row["name"] == "patchgan")
    codes = json.loads((study / "digits" / "runs" / "patchgan" / "trial-01" / "latents.json").read_text())
    assert codes["images"] == 40 and row["kl_dimension"]["mean"] == pytest.approx(codes["kl"] / 8)
    assert row["posterior_variance"]["mean"] == pytest.approx(sum(codes["posterior_variance"]) / 8)
    assert row["global_variance"]["mean"] == pytest.approx(sum(codes["global_variance"]) / 8)


def test_two_stages_are_two_rows_of_one_run(study):
    rows = {row["name"]: row for row in record(study, "baselines")["rows"]}
    scores = json.loads((study / "digits" / "runs" / "gamix-two-stage" / "trial-01" / "evaluation.json").read_text())
    assert rows["gamix"]["fd_classifier"]["mean"] == scores["fd_classifier/stage1"]
    assert rows["gamix-two-stage"]["fd_classifier"]["mean"] == scores["fd_classifier/stage2"]
    config = json.loads((study / "digits" / "runs" / "gamix-two-stage" / "trial-01" / "config.json").read_text())
    assert config["model"]["width"] == 4 and config["model"]["norm"] == "group"
    assert [s["batch_size"] for s in config["stages"]] == [8, 512] and [s["flip"] for s in config["stages"]] == [True, False]


def test_one_page_shows_all_of_it(study):
    text = (study / "report.html").read_text()
    headings = ("One change at a time", "The weight of the variance term", "Latent dimensions", "global variance is taken",
                "Two coordinates", "Interpolations", "Beside other VAEs", "Does it hold here?", "Features of KID")
    assert all(heading in text for heading in headings) and "padded" not in text
    assert "cannot be read" not in text and "://" not in text.split("</style>")[1]
    drawn = {p.stem for p in (study / "digits").glob("*.png")}
    assert drawn == {"latent", "interpolate", *(t + kind for t in TABLES for kind in ("", "_reconstructions", "_codes"))}
    assert text.count("<img ") == len(drawn) and "reproduce gamix all" in text
    said = json.loads((study / "claims.json").read_text())["digits"]
    assert len(said) == 8 + 1 + 6 and sum(c["measured"] != "not measured" for c in said) == 1 + 3
    for part in PARTS:
        assert all((study / "digits" / f"{part}.{kind}").is_file() for kind in ("md", "csv", "json"))


def test_what_is_done_is_not_done_again(study, tmp_path, nothing_again, capsys):
    out = tmp_path / "out"
    shutil.copytree(study, out)
    (out / "digits" / "weights.json").unlink()
    assert reproduce(out, "weights", "--models", "patchgan") == 0
    assert json.loads((out / "digits" / "weights.json").read_text()) == record(study, "weights")
    assert reproduce(out, "weights", "--models", "patchgan", "--data-option", "limit=50") == 2
    assert "was made with other settings" in capsys.readouterr().err


def test_images_that_nothing_can_score_are_refused_before_any_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # no Inception weights there
    monkeypatch.setattr(cells, "train", lambda *_, **__: pytest.fail("trained"))
    np.savez(tmp_path / "large.npz", images=np.zeros((8, 128, 128, 3), dtype=np.uint8))
    words = ["--data", "npz", "--data-root", str(tmp_path / "large.npz"), "--preset", "smoke", "--out", str(tmp_path / "out")]
    assert main(["reproduce", "gamix", "ablation", *words]) == 2
    assert "there are no Inception weights" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "message"), [
    (("figures",), "part is 'figures'"), (("ablation", "--models", "wgan"), "models names 'wgan'"),
    (("ablation", "--trials", "0"), "trials is 0")])
def test_what_cannot_be_is_refused(tmp_path, capsys, words, message):
    assert reproduce(tmp_path, *words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("name", protocol.PRESETS)
@pytest.mark.parametrize("row", ROWS)
def test_every_protocol_is_one_that_training_takes(row, name, side):
    found = protocol.options(ROWS[row].training, name, side)
    chosen = preset(found["kind"], found["preset_name"])
    stages = [override(s, values) for s, values in zip(chosen.stages, found["stage_overrides"], strict=True)]
    assert [s.flip for s in stages] == [True, False][:len(stages)]
    if name == "paper":
        assert found["model_overrides"]["latent_dim"] in (512, 256, 128) and "width" not in found["model_overrides"]
        if row != "two-stage":
            assert (stages[0].epochs, stages[0].batch_size, stages[0].lr, stages[0].betas[0]) == (300, 10, 1e-4, 0.5)
        return
    budget = protocol.PRESETS[name]
    assert (stages[0].batch_size, stages[0].steps) == (budget.batch[side == 64], budget.steps[side == 64])
    assert len(stages) == 1 or (stages[1].batch_size, stages[1].steps) == (512, budget.second_steps)
    model = build(found["kind"], chosen, (3, side, side), found["model_overrides"])
    assert model.latent_dim == budget.latent_dim // {"k-quarter": 4, "k-half": 2}.get(row, 1)
    assert model.first.encoder.mean.in_features >= budget.latent_dim  # all that the heads read


def test_rows_change_one_thing_at_a_time():
    models = [ROWS[name].training.model for name in ("elbo", "mixture", "variance", "l1", "patchgan")]
    losses = [vaefast.GAMIXVAE((3, 8, 8), 4, width=4, **model).first for model in models]
    weights = [(m.reconstruction, float(m.global_weight), float(m.kl_weight), round(float(m.individual_weight), 6),
                m.adversary is not None) for m in losses]
    assert weights == [("l2", 0, 1, 0, False), ("l2", 1, 0, 0, False), ("l2", 1, 0, 0.2, False), ("l1", 1, 0, 0.2, False),
                       ("l1", 1, 0, 0.2, True)]
    assert {float(m.reconstruction_weight) for m in losses} == {5000.0}
    swept = [row.training.model.get("individual_weight", 0.2) for row in protocol.WEIGHTS]
    assert swept == pytest.approx([0, 0.02, 0.2, 2, 20])
    models = [protocol.options(row.training, "quick", 32)["model_overrides"] for row in protocol.NORMS]
    assert [(m["norm"], m.get("input_norm", True)) for m in models] == [("batch", True), ("affine", True), ("affine", False)]
    with pytest.raises(ArgumentError, match="preset is 'tiny'"):
        protocol.options(ROWS["elbo"].training, "tiny", 32)


def test_data_of_28_is_padded():
    assert protocol.data_options("quick", 28) == {"pad": 32} and protocol.data_options("paper", 64) == {}
    images = Task(PAPER, Study(Path(), None, "quick", data_options={"size": 28}), "ablation", "digits")
    assert images.train.image_shape == (1, 32, 32) and images.data_options == {"size": 28, "pad": 32}
    assert not images.train.images[:, :, :2].any() and images.train.images[:, :, 2:-2, 2:-2].any()


class _Linear(vaefast.api.images.ImageAutoencoder):
    """Pixels that are the code itself, with a posterior deviation of 0.01."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(1, 1)

    device, latent_dim = torch.device("cpu"), 64

    def encode(self, x):
        from vaefast.models.posterior import DiagonalGaussian

        mean = data.to_float(x).flatten(1)
        spread = torch.full_like(mean, 0.01)
        spread[:, [3, 17]] = torch.tensor([0.002, 0.004])
        return DiagonalGaussian(mean, spread.log(), "logstd")

    def decode(self, z, generator=None):
        return z.view(-1, 1, 8, 8)


def test_variations_and_interpolations_of_a_code_that_is_the_image():
    x = torch.randint(100, 156, (40, 1, 8, 8), dtype=torch.uint8)
    test = data.as_image_set(x)
    grids, values = paths.variations(_Linear(), test)
    assert values["sigma_first"] == pytest.approx(0.002) and values["sigma_second"] == pytest.approx(0.004)
    # 40 deviations of one pixel in 64
    assert values["change_first"] == pytest.approx(40 * 0.002 / 8, rel=1e-4)
    assert values["change_second"] == pytest.approx(40 * 0.004 / 8, rel=1e-4)
    scale = 48 // 8
    assert list(grids) == ["image 1", "image 2", "image 3"]
    assert all(grid.shape == (3 * (8 * scale + 2) + 2, 3 * (8 * scale + 2) + 2, 3) for grid in grids.values())
    grids, values = paths.interpolations(_Linear(), test)
    assert values["detour"] == pytest.approx(1, rel=1e-4) and values["sharpness_midway"] < values["sharpness_ends"]
    assert grids[""].shape[1] == 6 * (8 * scale + 2) + 2


def test_a_straight_line_has_both_ends():
    a, b = torch.randn(2, 5, 7)
    line = straight_line(a, b, 6)
    torch.testing.assert_close(line[:, 0], a)
    torch.testing.assert_close(line[:, -1], b)
    torch.testing.assert_close(line.diff(dim=1), ((b - a) / 5)[:, None].expand(5, 5, 7))


def _table(k: int = 128, **rows: dict[str, float]) -> dict:
    return {"rows": [{"name": name, "latent_dim": k, **dict.fromkeys(PAPER.keys),
                      **{key: {"mean": value} for key, value in values.items()}} for name, values in rows.items()]}


def test_claims_of_the_ablation():
    found = _table(elbo={"active": 40}, mixture={"active": 128, "posterior_variance": 1e-4},
                   variance={"posterior_variance": 0.05, "sharpness_reconstructions": 0.1}, l1={"sharpness_reconstructions": 0.2},
                   patchgan={"sharpness_reconstructions": 0.3},
                   real={"sharpness": 0.24},
                   **{"ind-0": {"posterior_variance": 0.5}, "ind-x100": {"sharpness_reconstructions": 0.22}})
    said = claims.of_ablation(found)
    assert [c.holds for c in said] == [True, True, True, True, True, False, False, True]  # 0.3 is farther from 0.24 than 0.2
    assert said[0].measured == "40 of 128 active"
    assert {c.holds for c in claims.of_ablation(_table())} == {None}
    assert claims.of_ablation(_table(elbo={"active": 120}))[0].holds is False


def test_claims_of_weights_and_baselines():
    values = {row.name: {"posterior_variance": v} for row, v in zip(protocol.WEIGHTS, (0.0, 0.1, 0.2, 0.3, 0.9), strict=True)}
    assert claims.of_weights(_table(**values))[0].holds is True
    values["ind-x100"]["posterior_variance"] = 0.1
    assert claims.of_weights(_table(**values))[0].holds is False
    found = _table(elbo={"fd_exemplar": 9.0, "recall": 0.1}, gamix={"fd_exemplar": 5.0, "recall": 0.3},
                   **{"beta-vae": {"fd_exemplar": 4.0}, "two-stage": {"fd_exemplar": 6.0},
                      "gamix-two-stage": {"fd_exemplar": 2.0}})
    said = claims.of_baselines(found)
    assert [c.holds for c in said] == [True, True, False, True, True, True]
    assert said[0].text.endswith("(FD-exemplar)") and said[0].measured == "2 against 5, 2.5 times"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lfw", "cifar10"])
def test_everything_in_a_smoke_run(data_root, tmp_path, name):
    words = ["--data", name, "--data-root", str(data_root), "--preset", "smoke", "--out", str(tmp_path / "out")]
    assert main(["reproduce", "gamix", *words]) == 0
    assert {path.stem for path in (tmp_path / "out" / name).glob("*.json")} == {"data", *PARTS}
    assert {p.name for p in (tmp_path / "out" / name / "runs").iterdir()} == set(ROWS)
    key = {"cifar10": "fd_classifier", "lfw": "fd_exemplar"}[name]
    for row in json.loads((tmp_path / "out" / name / "baselines.json").read_text())["rows"]:
        assert row[key]["mean"] > 0
