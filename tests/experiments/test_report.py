import base64
import json
import shlex
from html.parser import HTMLParser

import numpy as np
import pytest

from vaefast.errors import RunFolderError
from vaefast.experiments.pictures.grids import save_png
from vaefast.experiments.pictures.report import write_report

pytest.importorskip("PIL")


class Page(HTMLParser):
    """Text, tags and attributes of a page; fails on tags that do not close."""

    VOID = {"meta", "img"}

    def __init__(self, path):
        super().__init__()
        self.text, self.open, self.tags, self.links = "", [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "run"
    config = {
        "kind": "two-stage",
        "data": {"name": "mnist"},
        "seed": 0,
        "versions": {"torch": "2.15.0"},
        "command": "vaefast train <b>two-stage</b> & more",
        "option": None,
    }
    scores = {
        "fd_classifier/stage1": 9.53,
        "fd_classifier/stage2": 1.412,
        "mmd/stage1": 0.07,
        "something_new/odd<thing": 3,
        "samples": 10000,
        "classifier/version": "cnn128-v1",
        "classifier/test_accuracy": 0.9927,
    }
    for name in ("samples_stage2", "samples_stage1", "curves", "latent_walk"):
        save_png(run / f"{name}.png", np.full((4, 4), len(name), np.uint8))
    (run / "config.json").write_text(json.dumps(config))
    (run / "evaluation.json").write_text(json.dumps(scores))
    lines = [{"stage": "stage1", "step": 5, "loss": 12.5}, {"stage": "stage2", "step": 9, "loss": -3.25}]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"stage": "sta')
    return run


def test_all_parts(run):
    path = write_report(run)
    assert path == run / "report.html"
    page = Page(path)
    for text in (
        "two-stage on mnist",
        "9.53",
        "1.412",
        "Lower is better",
        "10,000 samples",
        "cnn128-v1, 99.27%",
        "Something new",
        "Odd<thing",
        "Stage 1 samples",
        "Latent walk",
        "-3.25",
        "versions / torch",
        "vaefast train <b>two-stage</b> & more",
        "not set",
    ):
        assert text in page.text, text
    assert page.text.index("Stage 1 samples") < page.text.index("Stage 2 samples")
    assert "b" not in page.tags and "script" not in page.tags


def test_scores_of_few_samples_and_deviations_have_headings(run):
    scores = {"is_exemplar_512_std/stage1": 0.4, "unknown_512/stage1": 1.5, "is_exemplar/stage1": 12.4,
              "fd_exemplar/stage1": 32.2, "is_exemplar_512/stage1": 9.4,
              "classifier/version": "exemplar128-v1", "classifier/test_accuracy": 1.0}
    (run / "evaluation.json").write_text(json.dumps(scores))
    text = Page(write_report(run)).text
    assert "IS-exemplar, 512 samples" in text and "9.4 ± 0.4" in text and "Unknown 512" in text
    assert "IS-exemplar, 512 samples, standard deviation" not in text
    assert text.index("FD-exemplar") < text.index("IS-exemplar") < text.index("Unknown 512")
    assert "The network behind FD-exemplar is version exemplar128-v1, 100.00% right on new views of its exemplars." in text


def test_self_contained(run):
    page = Page(write_report(run))
    assert len(page.links) == 4 and all(link.startswith("data:image/png;base64,") for link in page.links)
    pictures = [base64.b64decode(link.partition(",")[2]) for link in page.links]
    assert (run / "samples_stage1.png").read_bytes() == pictures[0]


def test_an_empty_run_says_what_to_run(tmp_path):
    page = Page(write_report(tmp_path))
    for command in ("vaefast evaluate", "vaefast train MODEL --data NAME --out RUN"):
        assert command in page.text


@pytest.mark.parametrize("gone", ["config.json", "evaluation.json", "metrics.jsonl", "curves.png"])
def test_missing_or_damaged_files_cost_their_own_part_only(run, gone):
    (run / gone).unlink()
    text = Page(write_report(run)).text
    if gone.endswith("json"):
        (run / gone).write_text("{ damaged")
        assert Page(write_report(run)).text == text
    assert "here yet" in text
    assert ("9.53" in text) == (gone != "evaluation.json")
    assert ("two-stage on mnist" in text) == (gone != "config.json")


def test_a_new_report_replaces_the_old(run):
    write_report(run)
    (run / "evaluation.json").write_text('{"fd_classifier/stage1": 7.77}')
    assert "7.77" in Page(write_report(run)).text
    assert not list(run.glob(".*"))


def test_every_entry_of_an_evaluation_is_told_once_and_in_words(run):
    scores = {"samples": 2000, "fake": 2000, "real": 355, "against": "test", "seed": 7, "reconstruction_error": 0.00936,
              "active_dimensions": 11, "latent_dim": 16, "gamma_x": 0.083, "gamma_z": 0.2393, "is_classifier/stage1": 3.4,
              "is_classifier_std/stage1": 0.13, "is_classifier_splits": 10, "mmd/stage1": 0.3,
              "mmd/stage1_standard_error": 0.0271,
              "mutual_information": 5.01, "mutual_information_standard_error": 0.02, "mutual_information_ceiling": 7.6,
              "mutual_information_images": 2000, "classifier/version": "cnn", "classifier/test_accuracy": 1.0,
              "classifier/test_images": 3}
    (run / "evaluation.json").write_text(json.dumps(scores))
    (run / "latents.json").write_text(json.dumps({"images": 30, "kl": 4.25, "mutual_information": 3.21, "active_dimensions": 9,
                                                  "mutual_information_images": 30, "latent_dim": 16}))
    save_png(run / "latents.png", np.zeros((4, 4), np.uint8))
    text = Page(write_report(run)).text
    for words in ("Gamma of stage 1", "0.083", "Gamma of stage 2", "Reconstruction error", "0.00936", "11 of 16", "3.4 ± 0.13",
                  "0.3 ± 0.027", "5.01 ± 0.02", "at most log N = 7.6", "2,000 samples of each kind, against 355 real test images",
                  "mean over 10 splits", "100.00% right on 3 test images. So few images hardly tell how good it is.", "4.25"):
        assert words in text, words
    for words in ("Gamma x", "Fake:", "Real:", "Against:", "splits:", "3.21", "standard error:", "Samples:"):
        assert words not in text, words


def test_stages_are_rows_and_not_raw(run):
    config = json.loads((run / "config.json").read_text())
    config["stages"] = [{"steps": 8, "lr": 1e-3, "ema": None, "players": {"generator": {"lr": 2e-4}}},
                        {"epochs": 3.5, "ramps": {}}]
    (run / "config.json").write_text(json.dumps(config))
    text = Page(write_report(run)).text
    assert "stage 1 / steps8" in text and "stage 1 / players / generator / lr0.0002" in text and "stage 2 / epochs3.5" in text
    assert "{" not in text.split("Settings")[1]


@pytest.mark.parametrize(("extra", "words"), [
    ({"data_name": "digits"}, "vaefast evaluate 'RUN'"), ({"networks": {"from": "my:nets", "options": {}}}, "--networks my:nets"),
    ({"command": None}, "vaefast.evaluate(model, images, out=")])
def test_advice_can_be_followed(tmp_path, extra, words):
    folder = tmp_path / "a run's folder"
    folder.mkdir()
    config = {"kind": "vae", "data": {"name": "array"}, "command": "vaefast train vae --data digits --out x", **extra}
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    page = Page(write_report(folder))
    assert words.replace("'RUN'", shlex.quote(str(folder))) in page.text
    resumed = "model.fit(images" if "command" in extra else "vaefast train vae --data digits --out x --resume"
    assert resumed in page.text


def test_no_run_folder(tmp_path):
    with pytest.raises(RunFolderError, match="no run folder"):
        write_report(tmp_path / "nowhere")
