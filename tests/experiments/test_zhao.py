"""The reproduction of Zhao, Song & Ermon: rows, scores, tables beside the logs, what holds, one page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vaefast import api, data
from vaefast.cli import main
from vaefast.errors import ArgumentError
from vaefast.experiments.papers import cells
from vaefast.experiments.papers.zhao import claims, pixels, printed, protocol, variance
from vaefast.experiments.papers.zhao.paper import PAPER
from vaefast.experiments.presets import preset
from vaefast.experiments.run import build
from vaefast.experiments.theory.propositions import MODELS
from vaefast.training.settings import StageSettings, override

Image = pytest.importorskip("PIL.Image")
ROWS = {row.name: row for part in PAPER.parts.values() for row in part.rows}
TINY = protocol.Budget("a few steps", protocol.PixelBudget({"layers": 2, "width": 4, "condition": "maps"}, 30, 8, 60, 1, 50),
                       protocol.PixelBudget({"filters": 4, "blocks": 1, "dropout": 0.0}, 30, 8, 20, 1, 50), 6, 4,
                       {"steps": (4,), "stage_overrides": {"batch_size": 8}, "model_overrides": {"width": 0.09, "steps": 3}},
                       ("none", "elbo"))


def reproduce(out: Path, *words: str, size: int = 28) -> int:
    return main(["reproduce", "zhao", *words, "--data", "digits", "--data-option", f"size={size}", "--data-root", "none",
                 "--preset", "smoke", "--out", str(out), "--device", "cpu"])


@pytest.fixture(scope="module")
def made(tmp_path_factory, patch):
    """Every part, of a few steps each on a few of the UCI digits."""
    out = tmp_path_factory.mktemp("zhao") / "out"
    patch.setitem(protocol.PRESETS, "smoke", TINY)
    patch.setattr(protocol, "LIMIT", 160)
    patch.setitem(MODELS, "smoke", 1)
    for part in ("all", "fig3", "fig4"):
        assert reproduce(out, part) == 0
    with pytest.MonkeyPatch.context() as nothing:
        nothing.setattr(cells, "train", lambda *_, **__: pytest.fail("trained again"))
        nothing.setattr(cells, "image_model", lambda *_: pytest.fail("scored again"))
        assert reproduce(out, "fig5") == 0
    return out


@pytest.fixture(scope="module")
def in_colour(tmp_path_factory, patch):
    """A row of figure 5's experiment in colour, of a few steps on a few grey digits."""
    out = tmp_path_factory.mktemp("zhao") / "out"
    patch.setitem(protocol.PRESETS, "smoke", TINY)
    patch.setattr(protocol, "LIMIT", 160)
    assert reproduce(out, "fig5-colour", "--models", "colour-elbo", size=32) == 0
    return out


def record(made: Path, name: str) -> dict:
    return json.loads((made / "digits" / f"{name}.json").read_text())


def test_all_is_what_suits_the_images(made):
    calls = [json.loads(line) for line in (made / "calls.jsonl").read_text().splitlines()]
    assert [call["part"] for call in calls] == ["all", "fig3", "fig4", "fig5"]
    assert {p.name for p in (made / "digits" / "runs").iterdir()} == {
        row.training.name for name, row in ROWS.items()
        if name not in ("center", "elbo-true") and row not in protocol.COLOUR_ROWS}


def test_the_rows_of_figure_5(made):
    rows = {row["name"]: row for row in record(made, "fig5")["rows"]}
    assert set(rows) == {"none", "elbo", "real"}
    assert rows["none"]["paper_information"]["mean"] == 9.9035 and rows["elbo"]["paper_loss"]["mean"] == 0.116
    for name in ("none", "elbo"):
        row = rows[name]
        assert row["ceiling"]["mean"] == pytest.approx(math.log(50)) and row["information"]["mean"] <= math.log(50)
        # nats a pixel, whatever the model's own loss is a sum or a mean of; log 2 before any training
        assert 0 < row["loss"]["mean"] < 1.5 and 0 < row["loss_test"]["mean"] < 1.5
        assert row["fd_ancestral"]["mean"] > 0 and row["fd_chain"]["mean"] > 0
        run = made / "digits" / "runs" / f"pixel-{name}" / "trial-01"
        scores = json.loads((run / "evaluation.json").read_text())
        assert (scores["samples"], scores["chain_steps"], scores["mutual_information_images"]) == (60, 1, 50)
        assert "Chain samples" in (run / "report.html").read_text()
        values = np.unique(np.asarray(Image.open(run / "samples_chain.png").convert("L")))
        assert set(values) <= {0, 128, 255}  # pixels of 0 and 1, and the space between images


def test_the_logs_stand_beside_ours(made):
    rows = {row["name"]: row for row in record(made, "fig5_log")["rows"]}
    assert list(rows) == ["30", "300", "600", "1500", "3000", "4470", "5700"]
    assert rows["600"]["none_information_paper"]["mean"] == 9.488 and rows["600"]["none_information"] is None
    assert 0.2 < rows["30"]["elbo_loss"]["mean"] < 1.2 and rows["30"]["elbo_loss_paper"]["mean"] == 0.781


def test_figure_5_in_colour(in_colour):
    rows = {row["name"]: row for row in record(in_colour, "fig5-colour")["rows"]}
    assert list(rows) == ["colour-elbo", "real"]
    run, row = in_colour / "digits" / "runs" / "colour-elbo" / "trial-01", rows["colour-elbo"]
    scores = json.loads((run / "evaluation.json").read_text())
    assert row["bits"]["mean"] == pytest.approx(scores["loss_test"] / math.log(2)) and 1 < row["bits"]["mean"] < 12
    assert row["ceiling"]["mean"] == pytest.approx(math.log(50)) and row["information"]["mean"] <= math.log(50)
    assert row["fd_ancestral"]["mean"] > 0 and row["fd_chain"]["mean"] > 0
    assert (scores["samples"], scores["chain_steps"], scores["mutual_information_images"]) == (20, 1, 50)
    config = json.loads((run / "config.json").read_text())
    assert config["model"]["nets"] == "pixelcnn++" and config["model"]["latent_dim"] == 20
    text = (in_colour / "report.html").read_text()
    assert "cannot be read" not in text and "in colour" in text
    pictures = {p.stem for p in (in_colour / "digits").glob("*.png")}
    assert pictures == {f"fig5-colour{kind}" for kind in ("", "_samples", "_chains")}


def test_figure_2_takes_the_error_apart(made):
    row = record(made, "fig2")["rows"][0]
    assert row["error"]["mean"] == pytest.approx(row["variance"]["mean"] + row["bias"]["mean"], rel=0.5)
    assert -1 <= row["blur"]["mean"] <= 1 and row["images"]["mean"] >= 1


def test_figures_3_and_4_go_by_step(made):
    found = record(made, "fig3")
    assert [row["name"] for row in found["rows"]] == ["step1", "step2", "step3", "data"]
    for row in found["rows"][:3]:
        for name in ("sequential", "infusion"):
            assert row[f"{name}_step_error"]["mean"] > 0 and row[f"{name}_step_sharpness"]["mean"] > 0
    assert found["rows"][3]["infusion_step_error"] is None and found["rows"][3]["infusion_step_sharpness"]["mean"] > 0
    again = record(made, "fig4")["rows"]
    assert [row["sequential_step_error"] for row in again] == [row["sequential_step_error"] for row in found["rows"]]


def test_one_page_shows_all_of_it(made):
    text = (made / "report.html").read_text()
    assert all(f"Figure {i}" in text for i in (2, 3, 4, 5)) and "Does it hold here?" in text
    assert "cannot be read" not in text and "://" not in text.split("</style>")[1]
    pictures = {p.stem for p in (made / "digits").glob("*.png")}
    assert pictures == {"fig2", "fig5", "fig5_samples", "fig5_chains", *(f"{f}{kind}" for f in ("fig3", "fig4")
                                                                        for kind in ("", "_samples", "_reconstructions"))}
    assert text.count("<img ") == len(pictures)
    said = json.loads((made / "claims.json").read_text())["digits"]
    assert len(said) == 3 + 2 + 6 and [c["measured"] for c in said].count("not measured") == 1  # of center
    assert {c["holds"] for c in said} == {None}  # a smoke run is no evidence


@pytest.mark.parametrize(("words", "message"), [
    (("fig1",), "part is 'fig1'"), (("fig5", "--models", "gan"), "models names 'gan'"),
    (("fig5", "--trials", "0"), "trials is 0"), (("fig5", "--data-option", "binarize=2"), "binarize is 2")])
def test_what_cannot_be_is_refused(tmp_path, capsys, words, message):
    assert reproduce(tmp_path, *words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", protocol.PRESETS)
@pytest.mark.parametrize("row", ROWS)
def test_every_protocol_is_one_that_training_takes(row, name):
    training = ROWS[row].training
    found = protocol.options(training, name)
    chosen = preset(training.kind, found["preset_name"])
    in_colour = found["model_overrides"].get("nets") == "pixelcnn++"
    shape = (3, 64, 64) if training.kind == "sequential" else (3, 32, 32) if in_colour else (1, 28, 28)
    if not (name == "paper" and shape[0] == 3):  # more than a hundred million parameters
        model = build(training.kind, chosen, shape, found["model_overrides"])
        assert model.kind == chosen.kind
    base = chosen.stages[0] if chosen.stages else StageSettings(epochs=1)
    settings = override(base, {**found.get("stage_overrides", {}), **({"steps": found["steps"][0]} if "steps" in found else {})})
    if in_colour:  # a true ELBO, by the authors' optimizer
        assert (settings.optimizer, settings.lr, settings.betas, settings.clip_value) == ("adam", 1e-3, (0.95, 0.9995), None)
        assert (settings.ema, found["model_overrides"]["latent_dim"]) == (0.9995, 20)
        if name == "paper":
            assert settings.batch_size == 24
            assert found["model_overrides"]["decoder_options"] == {"filters": 160, "blocks": 5, "dropout": 0.5}
    elif training.kind == "pixel-vae":
        assert (settings.optimizer, settings.lr, settings.betas[1]) == ("rmsprop-tf", 1e-3, 0.9)
        assert settings.clip_value == (784.0 if row == "elbo-true" else 1.0)
        if name == "paper":
            assert (settings.steps, settings.batch_size) == (190 * 30, 100)
            assert found["model_overrides"]["decoder_options"] == {"layers": 12, "width": 32, "condition": "bias"}


def test_a_preset_that_there_is_not():
    with pytest.raises(ArgumentError, match="preset is 'tiny'"):
        protocol.options(ROWS["map"].training, "tiny")


def test_default_data_by_part():
    of_data = {name: part.data for name, part in PAPER.parts.items() if not part.once}
    assert of_data == {"fig2": ("mnist",), "fig3": ("lfw",), "fig4": ("lfw",), "fig5": ("mnist",),
                       "fig5-colour": ("cifar10",)}


def test_the_logs():
    assert printed.LOGS["none"][2] == (600, 9.488, 0.130) and printed.LOGS["elbo"][-1].batches == 5_700
    assert all(line.information <= math.log(20_000) + 1e-4 for log in printed.LOGS.values() for line in log)


def mean(value):
    return {"mean": value, "std": None, "values": [value]}


def row(name, **values):
    return {"name": name, **{key: mean(value) for key, value in values.items()}}


@pytest.mark.parametrize(("information", "chain", "holds"), [(9.5, 10.0, True), (9.3, 30.0, False)])
def test_the_claims_of_figure_5(information, chain, holds):
    rows = [row("none", information=information, ceiling=9.9035, loss=0.1, fd_ancestral=50.0, fd_chain=chain),
            row("elbo", information=0.01, ceiling=9.9035, loss=0.12, fd_ancestral=12.0, fd_chain=11.0)]
    saturated, useless, center, loss, beats, alike = claims.of_pixels({"rows": rows})
    assert (saturated.holds, useless.holds, center.holds) == (holds, True, None)
    assert (loss.holds, beats.holds, alike.holds) == (True, holds, True)
    nothing = claims.of_pixels({"rows": rows[:1]})
    assert [c.holds for c in nothing] == [holds, None, None, None, holds, None]


def test_the_claims_of_figure_5_in_colour():
    rows = [row("colour-none", information=9.9, ceiling=10.09, bits=5.0, fd_ancestral=90.0, fd_chain=30.0),
            row("colour-elbo", information=0.2, ceiling=10.09, bits=5.5, fd_ancestral=60.0, fd_chain=70.0)]
    assert [c.holds for c in claims.of_colour({"rows": rows})] == [True, False, True, True, True]


@pytest.mark.parametrize(("shape", "parts"), [((1, 28, 28), {"fig2", "fig5"}), ((3, 32, 32), {"fig5-colour"}),
                                              ((3, 64, 64), {"fig3", "fig4"})])
def test_what_all_keeps_to(shape, parts):
    task = SimpleNamespace(train=SimpleNamespace(image_shape=shape))
    assert {name for name, part in PAPER.parts.items() if not part.once and part.suits(task)} == parts


def test_the_claims_of_the_others():
    steps = [row("step1", sequential_step_error=0.05, sequential_step_sharpness=0.01),
             row("step2", sequential_step_error=0.04, sequential_step_sharpness=0.02)]
    end = row("data", sequential_step_sharpness=0.05)
    assert [c.holds for c in claims.of_chain({"rows": [*steps, end]})] == [True, True]
    assert [c.holds for c in claims.of_chain({"rows": [*steps[::-1], end]})] == [False, False]
    assert [c.holds for c in claims.of_map({"rows": [row("map", error=41.0, variance=40.0, bias=1.5, blur=0.7)]})] == [True] * 3
    assert [c.holds for c in claims.of_map({"rows": [row("map", error=50.0, variance=40.0, bias=9.0, blur=0.2)]})] == [False] * 3


def test_rank_correlation_is_spearmans():
    stats = pytest.importorskip("scipy.stats")
    a, b = torch.randn(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert variance.rank_correlation(a, a + b) == pytest.approx(stats.spearmanr(a, a + b).statistic)
    assert variance.rank_correlation(a, -a.exp()) == pytest.approx(-1) and variance.rank_correlation(a[:2], b[:2]) == 0


def test_the_variance_of_figure_2_is_the_least_error():
    """Of a decoder that draws the very mean, the expected error is V, and the squared distance to the mean 0."""
    generator = torch.Generator().manual_seed(1)
    images = data.ImageSet((torch.rand(40, 1, 8, 8, generator=generator) * 255).to(torch.uint8))
    model = api.GeneralVAE((1, 8, 8), 2, family="gaussian", gamma=0.3, encoder=Ring(), decoder=Mean(images))
    found = variance.score(model, images, 0)
    assert found["bias"] < 1e-6 * found["variance"] and 1 < found["images"] < 40
    assert found["error"] == pytest.approx(found["variance"], rel=0.2)  # one code of each of 40 images


class Ring(torch.nn.Module):
    """Codes on a circle, by the image's first pixels."""

    scale_param = "logstd"

    def __init__(self):
        super().__init__()
        self.own = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        angle = 40 * x.flatten(1)[:, :4].sum(1)
        return torch.stack([angle.cos(), angle.sin()], 1), torch.full((len(x), 2), math.log(0.2), device=x.device)


class Mean(torch.nn.Module):
    """The mean of q(x|z) over a set of images that `Ring` coded."""

    def __init__(self, images):
        super().__init__()
        self.register_buffer("x", data.to_float(images.images))
        self.register_buffer("codes", Ring()(self.x)[0].detach())

    def forward(self, z):
        weights = torch.softmax(-0.5 * (torch.cdist(z.double(), self.codes.double()) / 0.2).square(), 1)
        return (weights @ self.x.double().flatten(1)).float().unflatten(1, self.x.shape[1:])


def test_pixel_losses_are_in_nats_a_pixel():
    small = {"nets": "pixelcnn", "decoder_options": {"layers": 2, "width": 4}}
    summed, averaged = (api.GeneralVAE((1, 8, 8), 2, **small, regularizer="none", reduction=reduction)
                        for reduction in ("sum", "mean"))
    averaged.load_state_dict(summed.state_dict())
    images = (torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.5).to(torch.uint8) * 255
    assert pixels._loss(summed, images, 3) == pytest.approx(pixels._loss(averaged, images, 3), rel=1e-5)
