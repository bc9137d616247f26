"""All scores in one go, from tensors and from the command line."""

from __future__ import annotations

import html
import json

import numpy as np
import pytest
import torch

import vaefast
from vaefast import data, metrics
from vaefast.cli import main
from vaefast.errors import ArgumentError
from vaefast.experiments.pictures.report import write_report
from vaefast.experiments.request import Request
from vaefast.experiments.run import train
from vaefast.experiments.scoring import registry
from vaefast.experiments.scoring.codes import aggregate
from vaefast.experiments.scoring.draws import to_uint8
from vaefast.experiments.scoring.evaluate import _reconstruct, evaluate
from vaefast.experiments.scoring.latent_scores import latent_scores
from vaefast.experiments.scoring.scores import ImageScores, image_scores, score_lines
from vaefast.experiments.scoring.tables import score_rows
from vaefast.models.second_stage import recode
from vaefast.training.run_folder import RunFolder

QUIET = {"notice": lambda _: None}


def images(n, seed, channels=1):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, 28, 28), dtype=torch.uint8, generator=rng)


def quarters(x):
    """Means of the four quarters: an extractor."""
    x = x / 255 if x.dtype == torch.uint8 else x
    return torch.nn.functional.adaptive_avg_pool2d(x.mean(1, keepdim=True), 2).flatten(1).double()


def test_every_score_is_that_of_its_function(cache):
    real, fake = data.as_image_set(images(60, 1), labels=torch.arange(60) % 2), images(50, 2)
    classifier = metrics.FeatureClassifier((1, 28, 28), 2).eval()
    found = image_scores(real, fake, ("fid", "kid", "prdc", "classifier"), extractor=quarters, classifier=classifier,
                         subsets=5, neighbours=3, **QUIET)
    a, b = quarters(real.images), quarters(fake)
    assert found["fid"] == pytest.approx(metrics.frechet_distance(a, b))
    assert (found["kid"], found["kid_std"]) == pytest.approx(metrics.kid(a, b, subsets=5, subset_size=50))
    near = metrics.precision_recall_density_coverage(a, b, k=3)
    assert [found[name] for name in ("precision", "recall", "density", "coverage")] == list(near[:4])
    features = [metrics.classifier_features(classifier, x) for x in (real.images, fake)]
    assert found["fd_classifier"] == pytest.approx(metrics.frechet_distance(*features), rel=1e-4)
    assert (found["real"], found["fake"], found["features"]) == (60, 50, "quarters")
    lines = score_lines(found)
    assert len(lines) == 9 and all("60 real, 50 generated" in line for line in lines[:-1])


def test_real_images_are_seen_once():
    seen = []

    def watching(x):
        seen.append(len(x))
        return quarters(x)

    scorer = ImageScores(images(40, 1), ("fid", "kid"), extractor=watching, subsets=2, **QUIET)
    assert scorer(images(30, 2))["fid"] != scorer(images(20, 3))["fid"] and seen == [40, 30, 20]


def test_scores_of_the_pixels_need_no_network():
    real, fake = images(2100, 1), images(50, 2)
    found = image_scores(real, fake, ("sharpness", "diversity"), **QUIET)
    assert found["sharpness"] == pytest.approx(float(metrics.sharpness(fake).mean()))
    spread = [(x.double() / 255).std(0, correction=0).mean() for x in (fake, real)]
    assert found["diversity"] == pytest.approx(float(spread[0] / spread[1])) and "features" not in found
    assert [line.split()[0] for line in score_lines(found)] == ["sharpness", "diversity"]
    as_floats = image_scores(real, fake / 255, ("diversity",), **QUIET)["diversity"]
    assert as_floats == pytest.approx(found["diversity"], rel=1e-6)
    assert image_scores(real, fake[:1].repeat(9, 1, 1, 1), ("diversity",), **QUIET)["diversity"] == pytest.approx(0, abs=1e-6)


def test_scores_in_features_of_ones_own_network():
    real, fake = images(60, 1), images(50, 2)
    found = image_scores(real, fake, ("sliced", "features"), features=quarters, **QUIET)
    a, b = quarters(real), quarters(fake)
    assert found["fd_features"] == pytest.approx(metrics.frechet_distance(a, b))
    assert found["sliced_features"] == pytest.approx(metrics.sliced_wasserstein(a, b))
    assert found["sliced_wasserstein"] == pytest.approx(metrics.sliced_wasserstein(real, fake) / 28)
    assert found["own_features"] == "quarters" and "features" not in found
    kid = metrics.kid(a.double(), b.double(), subset_size=50)
    assert (found["kid_features"], found["kid_features_std"], found["kid_features_subset_size"]) == (kid.mean, kid.std, 50)
    names = ("sliced Wasserstein 0.", "FD in your features ", "sliced Wasserstein in your features ",
             "KID in your features x 1000 ", "your features ")
    assert all(line.startswith(name) for line, name in zip(score_lines(found), names, strict=True))
    with pytest.raises(ArgumentError, match="pass features="):
        image_scores(real, fake, ("features",), **QUIET)


def test_features_by_name_are_told_of_with_their_weights_and_resizing(tmp_path, cache, capsys):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    from safetensors.torch import save_file

    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    spec = f"timm:test_resnet@{tmp_path}/w.safetensors"
    model, real, out = vaefast.VAE((1, 28, 28), latent_dim=2), images(20, 1), tmp_path / "out"
    found = vaefast.evaluate(model, real, samples=20, metrics=["features"], features=spec, out=out, say=lambda _: None)
    known = metrics.named_extractor(spec)
    kept = json.loads((out / "evaluation.json").read_text())
    for scores in (found, kept):
        assert (scores["own_features"], scores["own_features_weights"]) == ("those of timm:test_resnet", known.digest)
        assert scores["own_features_input"] == known.input and scores["kid_features_subset_size"] == 20
        assert {"fd_features/stage1", "kid_features/reconstructions", "kid_features_std/stage1"} <= scores.keys()
    page = html.unescape((out / "report.html").read_text())
    assert known.digest in page and "KID in your features" in page and known.input in page
    own = vaefast.evaluate(model, real, samples=20, metrics=["features"], features=torch.nn.Flatten(), say=lambda _: None)
    assert len(own["own_features_weights"]) == 16 and "own_features_input" not in own
    for name, seed in (("a", 1), ("b", 2)):
        np.savez(tmp_path / f"{name}.npz", images=images(6, seed).numpy())
    words = ["fid", str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), "--features", spec, "--device", "cpu"]
    capsys.readouterr()
    assert main(words) == 0  # without the Inception weights, as nothing needs them
    said = capsys.readouterr().out
    assert all(part in said for part in ("FD in your features", "KID in your features x 1000", known.digest, "160x160"))
    assert "FID" not in said.replace("for FID", "")
    assert main([*words[:4], "timm:test_resnot", *words[5:]]) == 2
    assert capsys.readouterr().err.startswith("vaefast: timm knows no network 'test_resnot'")


def test_a_metric_is_one_entry(monkeypatch, tmp_path):
    """A metric that nobody has heard of is scored, told of in tables, reports and help, and ranks sweeps."""
    brightness = registry.Metric(
        (registry.Score("brightness", "brightness", "How bright the samples are."),),
        lambda real, fake: {"brightness": float(fake.pixels.double().mean())})
    monkeypatch.setitem(registry.METRICS, "brightness", brightness)
    assert image_scores(images(9, 0), images(9, 1), ("brightness",), **QUIET)["brightness"] == pytest.approx(127, abs=9)
    monkeypatch.undo()
    for metric in registry.METRICS.values():
        for score in metric.scores:
            scores = {registry.entry(score.key, "stage1"): 1.5, registry.entry(score.key, "reconstructions"): 0.5, "samples": 9}
            assert [(f"{score.name}, samples", "1.5"), (f"{score.name}, reconstructions of test images", "0.5")] == [
                row for row in score_rows(scores)]
            (tmp_path / "evaluation.json").write_text(json.dumps(scores))
            text = html.unescape(write_report(tmp_path).read_text())
            assert score.heading in text and score.reading in text


def test_what_cannot_be_scored():
    statistics = metrics.image_statistics(quarters, images(9, 0))
    for which, options, words in ((("fid", "psnr"), {}, "psnr"), ((), {}, "none"), (("classifier",), {}, "classifier="),
                                  (("fid", "is"), {"extractor": quarters}, "class scores")):  # fmt: skip
        with pytest.raises(ArgumentError, match=words):
            image_scores(images(9, 0), images(9, 1), which, **options, **QUIET)
    with pytest.raises(ArgumentError, match="need the images"):
        image_scores(statistics, images(9, 1), ("kid",), extractor=quarters, **QUIET)
    assert image_scores(statistics, images(9, 1), ("fid",), extractor=quarters, **QUIET)["real"] == 9


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    pytest.importorskip("pytorch_fid", reason="pytorch-fid is not installed: pip install 'vaefast[test]'")
    from benchmarks.inception import random_state

    file = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(random_state(), file)
    return str(file)


def test_command_line(random_weights, tmp_path, cache, capsys):
    from benchmarks.inception import write_pngs

    folder = write_pngs(images(4, 1), tmp_path / "a")
    np.savez(tmp_path / "b.npz", images=images(4, 2).numpy())
    words = ["fid", str(folder), str(tmp_path / "b.npz"), "--inception-weights", random_weights, "--device", "cpu"]
    assert main([*words, "--metrics", "fid,is,kid", "--stretch"]) == 0
    said = capsys.readouterr().out
    for part in ("FID  ", "Inception score  ", "KID x 1000  ", "4 real, 4 generated", "4 splits", "are few", "stretched",
                 "not pytorch-fid's"):  # fmt: skip
        assert part in said
    assert main([*words, "--metrics", "classifier"]) == 2 and "vaefast evaluate" in capsys.readouterr().err
    assert main(["fid", str(tmp_path / "nothing"), *words[2:]]) == 2
    assert str(tmp_path / "nothing") in capsys.readouterr().err


def test_command_line_on_a_run(random_weights, tmp_path, cache, capsys):
    run = tmp_path / "run"
    fast = ["--steps", "4", "--batch-size", "16", "--latent-dim", "4", "--device", "cpu", "--out", str(run)]
    assert main(["train", "two-stage", "--data", "digits", *fast]) == 0
    np.savez(tmp_path / "a.npz", images=images(4, 1).numpy())
    capsys.readouterr()
    words = ["--inception-weights", random_weights, "--device", "cpu", "-n", "5", "--metrics", "kid,prdc"]
    assert main(["fid", str(tmp_path / "a.npz"), str(run), *words]) == 2
    assert "k is 5" in capsys.readouterr().err
    words[-1] = "kid"
    assert main(["fid", str(tmp_path / "a.npz"), str(run), *words]) == 0
    assert "4 real, 5 generated" in capsys.readouterr().out


def test_command_line_without_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("vaefast.metrics.inception_weights.URL", "http://127.0.0.1:9/nothing.pth")
    assert main(["fid", str(tmp_path / "a b"), "b", "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "a b does not exist" in said and "6726825d" not in said  # nothing is fetched for nothing
    assert main(["fid", str(tmp_path), str(tmp_path), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "6726825d" in said and said.count("\n") == 1


def test_the_inception_scores_formula_on_a_classifiers_own_classes():
    real, fake = images(60, 1), images(50, 2)
    classifier = metrics.FeatureClassifier((1, 28, 28), 3).eval()
    found = image_scores(real, fake, ("exemplar",), classifier=classifier, splits=5, first=(20, 51), **QUIET)
    logits = classifier(fake).detach()
    assert found["is_exemplar"] == pytest.approx(metrics.InceptionScore(5).update(logits).compute().mean)
    assert found["is_exemplar_20"] == pytest.approx(metrics.InceptionScore(5).update(logits[:20]).compute().mean)
    assert "is_exemplar_51" not in found and found["is_exemplar_splits"] == 5
    same = image_scores(real, fake, ("classifier",), classifier=classifier, **QUIET)
    assert found["fd_exemplar"] == same["fd_classifier"]
    with pytest.raises(ArgumentError, match="ask for one of them"):
        image_scores(real, fake, ("classifier", "exemplar"), classifier=classifier, **QUIET)


def test_a_set_without_labels_is_scored_in_its_exemplars_features(cache, monkeypatch, tmp_path):
    monkeypatch.setattr("vaefast.metrics.exemplars._STEPS", 10)
    root = tmp_path / "images.npz"
    np.savez(root, images=images(80, 1).numpy())
    train(Request("vae", "npz", str(tmp_path / "run"), str(root), steps=(2,), score_every=0.5, stage_overrides={"batch_size": 16},
                  model_overrides={"latent_dim": 2}), progress=False)
    curve = [r["fd_exemplar"] for r in RunFolder.open(tmp_path / "run").read_metrics() if "fd_exemplar" in r]
    result = evaluate(str(tmp_path / "run"), samples=20, which=("exemplar",), against="train", say=lambda _: None)
    assert curve and result["fd_exemplar/stage1"] > 0 and result["is_exemplar/test_vs_train"] >= 1
    assert result["against"] == "train" and result["classifier/version"] == metrics.EXEMPLAR_RECIPE
    also = evaluate(str(tmp_path / "run"), samples=20, which=("exemplar",), also=("prdc", "diversity"), coded=30, against="train",
                    say=lambda _: None)
    assert also["fd_exemplar/stage1"] == result["fd_exemplar/stage1"] and 0 <= also["recall/stage1"] <= 1
    assert also["features"] == f"those of {metrics.EXEMPLAR_RECIPE}, trained on the data set"
    assert also["mutual_information_images"] == 20 and result["classifier/version"] == metrics.EXEMPLAR_RECIPE
    text = (tmp_path / "run" / "report.html").read_text()
    assert "FD-exemplar" in text and "IS-exemplar" in text
    with pytest.raises(ArgumentError, match="against is 'all'"):
        evaluate(str(tmp_path / "run"), against="all")


@pytest.mark.parametrize(("count", "measured"), [(3, False), (5, True)])
def test_few_codes_are_scored_as_far_as_they_go(count, measured):
    model = vaefast.VAE((1, 8, 8), 2, nets="residual").eval()
    images = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8)
    found = latent_scores(model, aggregate(model, data.as_image_set(images), 1), count, 0)
    assert ("mmd/stage1" in found) == measured and found["latent_dim"] == 2


def test_codes_pass_through_a_second_stage_of_their_own_classes():
    """It knows the classes, stage 1 does not: latents u of an image are those that samples of its class are drawn from."""
    torch.manual_seed(0)
    model = vaefast.TwoStageVAE((1, 8, 8), 3, nets="residual", net_options={"width": 4, "depth": 1, "hidden": 8}, second="flow",
                                second_width=8, second_depth=1, classes=2).eval()
    for parameter in model.second.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    shown = data.as_image_set(torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8), labels=torch.tensor([0, 1, 1, 0, 1, 0]))
    once, twice, _ = _reconstruct(model, shown, seed=3)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(3)
        z = model.encode(shown.images).sample(generator)
        assert torch.equal(once, to_uint8(model.decode(z, generator)))
        assert torch.equal(twice, to_uint8(model.decode(recode(model.second, z, shown.labels, generator))))
        assert not torch.equal(twice, to_uint8(model.decode(recode(model.second, z, 1 - shown.labels, generator))))
    assert torch.equal(aggregate(model, shown).of_second, shown.labels) and aggregate(model, shown.images).of_second is None
