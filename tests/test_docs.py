"""The pages show what the result files say."""

from __future__ import annotations

import importlib
import json
import re
import statistics
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import keep, matrix
from vaefast.experiments.papers.catalog import PAPERS
from vaefast.experiments.papers.claims import APART, ONE_SEED, by_name
from vaefast.experiments.papers.page import all_claims, folders, records, write_claims
from vaefast.experiments.papers.tables import write_table
from vaefast.experiments.scoring.tables import markdown_scores

ROOT = Path(__file__).resolve().parents[1]


def test_the_mnist_table_is_the_measured_one():
    result = json.loads((ROOT / "docs/results/two-stage-mnist-short.json").read_text())
    assert markdown_scores(result) in (ROOT / "docs/results/two-stage-mnist.md").read_text()


def test_preset_quick_is_the_measured_one():
    folder, page = ROOT / "docs/results/two-stage-mnist-quick", (ROOT / "docs/results/two-stage-mnist.md").read_text()
    result = json.loads((folder / "evaluation.json").read_text())
    minutes = json.loads((folder / "last-record.json").read_text())["seconds"] / 60
    assert markdown_scores(result) in page and f"trained for {minutes:.1f} minutes" in page
    assert f"trained for {minutes:.1f} minutes" in (ROOT / "README.md").read_text()
    stages = [f"{result[f'fd_classifier/stage{stage}']:.{digits}f}" for stage, digits in ((1, 1), (2, 2))]
    assert f"**FD-classifier {stages[0]} to {stages[1]}**" in page
    before = json.loads((ROOT / "docs/results/two-stage-mnist-mixture/evaluation.json").read_text())
    assert f"scored {before['fd_classifier/stage2']:.4g} " in page.replace("\n", " ")


MINUTES = (*((f"two-stage-mnist-seeds/five-epochs-{s}", f"MNIST, 5 epochs, seed {s}") for s in range(2)),
           *((f"two-stage-mnist-seeds/four-minutes-{s}", f"MNIST, 4.2 epochs, seed {s}") for s in range(3)),
           ("two-stage-mnist-seeds/eleven-epochs-0", "MNIST, 11 epochs, seed 0"),
           ("two-stage-mnist-seeds/fourteen-epochs-0", "MNIST, 14 epochs, seed 0"),
           ("two-stage-mnist-seeds/twenty-epochs-0", "MNIST, 20 epochs, seed 0"))
"""Files of scores, beside them those of times, and their rows."""


@pytest.mark.parametrize(("name", "words"), MINUTES)
def test_samples_in_minutes_are_the_measured_ones(name, words):
    page = (ROOT / "docs/results/minutes.md").read_text()
    found = json.loads((ROOT / "docs/results" / f"{name}.json").read_text())
    last = json.loads((ROOT / "docs/results" / f"{name}-records.json").read_text())
    row = next(line for line in page.splitlines() if line.startswith(f"| {words} "))
    scores = [found[f"fd_classifier/{of}"] for of in ("stage2", "reconstructions", "training_reconstructions")]
    shown = " | ".join(f"{value:.3f}" for value in scores)
    assert f" {shown} | {found['limit_ratio']:.2f} | {found['codes_ratio']:.2f} | {last['stage2']['seconds'] / 60:.1f} |" in row


def test_other_samples_in_minutes_are_the_measured_ones():
    page = (ROOT / "docs/results/minutes.md").read_text()
    for name, words in (("two-stage-mnist-classes", "MNIST with labels"), ("two-stage-fashion-32-dimensions", "Fashion-MNIST"),
                        ("two-stage-fashion-perceptual", "Fashion-MNIST, 32 latent dimensions, `--perceptual"),
                        ("demo", "UCI digits, the demo"), ("two-stage-cifar10-maps", "CIFAR-10"),
                        ("two-stage-cifar10-perceptual", "CIFAR-10, codes of 4x8x8, a flow, `--perceptual")):
        found = json.loads((ROOT / "docs/results" / name / "evaluation.json").read_text())
        row = next(line for line in page.splitlines() if line.startswith(f"| {words}"))
        shown = (found["fd_classifier/stage2"], found["fd_classifier/reconstructions"])
        assert " | ".join(f"{value:.3g}" for value in shown) in row and f"| {found['limit_ratio']:.2f} |" in row
    folder = ROOT / "docs/results/two-stage-lfw"
    for run in ("", "short-", "shortest-", "shortest-1-", "shortest-2-"):
        lfw, of_lfw = (json.loads((folder / f"{run}{name}.json").read_text()) for name in ("evaluation", "last-record"))
        shown = " | ".join(f"{lfw[f'fd_exemplar/{name}']:.3g}"
                           for name in ("stage2", "reconstructions", "training_reconstructions"))
        assert f"| {shown} | {lfw['limit_ratio']:.2f} | {lfw['codes_ratio']:.2f} | {of_lfw['seconds'] / 60:.1f}" in page
    last = json.loads((ROOT / "docs/results/two-stage-fashion-32-dimensions/last-record.json").read_text())
    trained, fitted = last["stage1"]["seconds"] / 60, (last["stage2"]["seconds"] - last["stage1"]["seconds"]) / 60
    assert f"| {trained + fitted:.1f}, " in page and f"{trained:.1f} minutes of training and {fitted:.1f} of fitting" in page
    assert f"{last['stage2']['components']} Gaussians" in page
    for name in ("fashion-perceptual", "cifar10-perceptual", "cifar10-labels"):
        folder = ROOT / f"docs/results/two-stage-{name}"
        records, network = (json.loads((folder / f"{name}.json").read_text()) for name in ("last-record", "exemplar-network"))
        minutes = (records["stage2"]["seconds"] + network["train_seconds"]) / 60  # what learns the features is not in the records
        assert f" | {minutes:.1f} | " in page and f"({network['train_seconds']:.1f} seconds" in page
    folder, distances = ROOT / "docs/results/two-stage-fashion-perceptual", []
    for seed in ("", "-1", "-2"):
        found, last, network = (json.loads((folder / f"{name}{seed}.json").read_text())
                                for name in ("evaluation", "last-record", "exemplar-network"))
        distances.append(found["fd_classifier/stage2"])
        shown = " | ".join(f"{found[f'fd_classifier/{of}']:.3g}"
                           for of in ("stage2", "reconstructions", "training_reconstructions"))
        minutes = (last["stage2"]["seconds"] + network["train_seconds"]) / 60
        assert f"| {shown} | {found['limit_ratio']:.2f} | {found['codes_ratio']:.2f} | {minutes:.1f} |" in page
    assert f"{statistics.mean(distances):.2f} ± {statistics.stdev(distances):.2f} " in page
    found = json.loads((ROOT / "docs/results/two-stage-cifar10-labels/evaluation.json").read_text())
    limits = [found[f"fd_classifier/{of}"] for of in ("reconstructions", "training_reconstructions")]
    for words, drawn in (("with labels, guidance 1.5", "guided"), ("without guidance", "stage2")):
        row = next(line for line in page.splitlines() if line.startswith(f"| CIFAR-10, the same {words}"))
        score = found[f"fd_classifier/{drawn}"]
        shown = [f"{value:.3g}" for value in (score, *limits)] + [f"{score / limit:.2f}" for limit in limits]
        assert f"| {' | '.join(shown)} |" in row and f"{score:.2f}" in page
    assert found["guidance"] == 1.5 and f"{100 * found['class_accuracy']:.1f} % of guided" in page.replace("\n  ", " ")
    straight = importlib.import_module("benchmarks.straighten")
    assert straight.markdown(json.loads((ROOT / "benchmarks/results/straighten-amd.json").read_text())) in page
    classes = json.loads((ROOT / "docs/results/two-stage-mnist-classes/evaluation.json").read_text())
    last = json.loads((ROOT / "docs/results/two-stage-mnist-classes/last-record.json").read_text())
    page = " ".join(page.split())
    assert f"both: {100 * classes['class_accuracy']:.1f} % |" in page
    assert f"reads {100 * classes['classifier/test_accuracy']:.2f} %" in page
    assert f"| {last['stage2']['seconds'] / 60:.1f} | both" in page and f"{last['stage2']['components']} Gaussians" in page
    demo = json.loads((ROOT / "docs/results/demo/last-record.json").read_text())
    assert f"| {demo['seconds'] / 60:.1f} | " in page


def test_streams_are_the_measured_ones():
    found = json.loads((ROOT / "benchmarks/results/streams-avx2.json").read_text())
    page = (ROOT / "docs/data.md").read_text()
    for words, shape in (("28x28", "28x28"), ("64x64, colour", "64x64")):
        shares = found["share_of_memory"][shape]
        assert f"| {words} | " + " | ".join(f"{shares[way]:.2f}" for way in ("Dataset", "augmented", "DataLoader")) + " |" in page
    assert found["memory"]["megabytes_of_images"] == 2000 and found["memory"]["more_at_most_mb"] == 0


@pytest.mark.parametrize("module, name, page", [("second_stages", "second-stages-avx2", "results/minutes"),
                                                ("table_peers", "table-peers-avx2", "tables"),
                                                ("install", "install-avx2", "install")])
def test_what_was_compared_is_the_measured(monkeypatch, module, name, page):
    monkeypatch.syspath_prepend(str(ROOT))
    table_of = importlib.import_module(f"benchmarks.{module}").markdown
    result = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())
    assert table_of(result) in (ROOT / f"docs/{page}.md").read_text()


def test_the_readmes_gains_are_the_measured_ones():
    page = (ROOT / "README.md").read_text()

    def measured(name: str) -> dict:
        return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())

    one, two = (case["faster_than"]["plain, bf16, compiled, data on the GPU"] for case in measured("training-h100")["cases"])
    assert f"| {one:.1f} | [H100]" in page and f"| {two:.1f} | [H100]" in page
    pythae = [measured(name)["cases"][0]["faster_than"]["pythae"] for name in ("training-cpu", "training-cpu-amd")]
    rows = json.loads((ROOT / "benchmarks/results/second-stages-avx2.json").read_text())["rows"]
    peers = min(row["fd_classifier"] for row in rows if row["package"] == "pythae")
    own = next(row["fd_classifier"] for row in rows if row["name"] == "mixture")
    assert f"| the best of pythae's four samplers | {peers / own:.1f} |" in page
    assert f"| pythae | {pythae[0]:.1f}, {pythae[1]:.1f} |" in page
    theirs, ours = (statistics.median(measured("fid-cpu")["whole"]["seconds"][name]) for name in ("pytorch-fid", "vaefast"))
    assert f"| pytorch-fid | {theirs / ours:.1f} |" in page
    for op, size, digits in (("mmd2", "10,000 x 10,000 x 64", 1), ("mixture_log_density", "4,096 x 4,096 x 64", 0)):
        case = next(c for c in measured("ops-cpu")["results"] if (c["op"], c["size"]) == (op, size))
        room = [case["variants"][name]["peak_bytes"] / 2**20 for name in ("vaefast", "compiled")]
        assert f"| {case['faster_than']['compiled']['median']:.{digits}f} | [2 cores](docs/performance.md#cpu), " \
               f"{room[0]:.0f} MiB for {room[1]:,.0f} |" in page


def test_the_second_stage_is_worth_having():
    result = json.loads((ROOT / "docs/results/two-stage-mnist-short.json").read_text())
    assert result["samples"] == 10_000
    assert result["fd_classifier/stage2"] <= 0.2 * result["fd_classifier/stage1"]


@pytest.mark.parametrize("work", ["dai-wipf", "hinrichsen", "zhao", "gamix"])
def test_the_summary_counts_the_statements_of_the_matrix(work):
    told = Counter(line.verdict for line in matrix.statements(work))
    counts = " | ".join(str(told[verdict]) for verdict in ("yes", "no", "cannot tell", "not run"))
    page = (ROOT / "docs/results.md").read_text()
    assert f"| {counts} | [results/{work}.md](results/{work}.md) |" in page
    assert (APART, ONE_SEED) == (2, 0.14) and "more than two deviations" in page and "single seed 14 %" in page


def test_pages_have_what_they_link_to():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)} links to {link}"


def test_the_site_has_every_page():
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    pages = [p.relative_to(ROOT / "docs") for p in (ROOT / "docs").rglob("*") if p.suffix in (".md", ".ipynb")]
    assert [str(p) for p in pages if p.parts[0] != "results" or len(p.parts) == 2 if f"- {p}\n" not in f"{nav}\n"] == []


def test_tables_have_as_many_cells_in_every_row():
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        widths: set[int] = set()
        for line in [*page.read_text().splitlines(), ""]:
            if line.startswith("|"):
                widths.add(len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", line))))
            else:
                assert len(widths) < 2, f"{page}: the table before {line[:60]!r}"
                widths = set()


def test_pictures_of_the_pages_are_light():
    sizes = [f.stat().st_size for f in (ROOT / "docs").rglob("*") if f.suffix in (".png", ".jpg")]
    assert sum(sizes) < 4e6 and max(sizes) < 400e3


@pytest.mark.parametrize("kept", [f"{name}-{kept.name}" for name, folders in matrix.KEPT.items() for kept in folders])
def test_what_is_kept_of_a_paper_is_told_as_then(kept, tmp_path):
    """Records of the parts give the tables and claims that lie beside them."""
    paper, folder = PAPERS[kept.rpartition("-")[0]], ROOT / "docs/results" / kept
    for data in folders(folder):
        there = records(paper, data, once=False)
        for part in (part for part in there if paper.parts[part].columns and (data / f"{part}.md").is_file()):
            write_table(there[part], tmp_path / part, paper.parts[part].columns)
            assert (tmp_path / f"{part}.md").read_text() == (data / f"{part}.md").read_text(), (data, part)
    write_claims(all_claims(paper, folder), tmp_path)
    assert (tmp_path / "claims.md").read_text() == (folder / "claims.md").read_text()


def test_what_is_kept_of_a_reproduction_names_no_folder_of_the_machine(tmp_path):
    out, kept = tmp_path / "out/cifar10", tmp_path / "kept"
    out.mkdir(parents=True)
    kept.mkdir()
    for path in (ROOT / "docs/results/hinrichsen-long/cifar10").glob("table.[jm]*"):
        (out / path.name).write_bytes(path.read_bytes())
    call = {"command": "vaefast reproduce hinrichsen --data-root '/home/me/my data' --out=/home/me/out", "seconds": 1.0}
    (out.parent / "calls.jsonl").write_text(json.dumps(call) + "\n")
    for _ in range(2):  # a call that is there stays one line
        keep.keep(PAPERS["hinrichsen"], out.parent, kept, None)
    assert json.loads((kept / "calls.jsonl").read_text())["command"] == "vaefast reproduce hinrichsen --data-root DIR --out REPRO"
    assert (kept / "cifar10/table.json").read_bytes() == (out / "table.json").read_bytes()
    write_claims(all_claims(PAPERS["hinrichsen"], kept), kept)
    assert (kept / "claims.md").read_text() == (ROOT / "docs/results/hinrichsen-long/claims.md").read_text()


def test_every_published_number_has_its_line():
    assert (ROOT / "docs/results/matrix.md").read_text() == matrix.page()


def test_the_reproduction_is_the_measured_one():
    folder = ROOT / "docs/results/dai-wipf-quick"
    page = (ROOT / "docs/results/dai-wipf.md").read_text()
    assert (folder / "claims.md").read_text() in page
    for data in ("mnist", "fashion-mnist", "cifar10"):
        assert (folder / data / "table1.md").read_text() in page
    assert all((folder / "lfw" / f"{part}.md").read_text() in page for part in ("table1", "table2"))
    again = folder.with_name("dai-wipf-again")
    told = (again / "claims.md").read_text(), (again / "mnist/joint.md").read_text()
    assert all(text in page for text in told)
    assert (folder.with_name("dai-wipf-quarter") / "cifar10/table1.md").read_text() in page
    assert (folder / "mnist/kappa.md").read_text() in page
    calls = [json.loads(line) for line in (again / "calls.jsonl").read_text().splitlines()]
    for data, words in (("mnist", "with the scores for MNIST"), ("fashion-mnist", "for Fashion-MNIST")):
        assert all(line in page for line in (again / data / "table1.md").read_text().splitlines() if "GAN" not in line)
        minutes = sum(call["seconds"] for call in calls if call["data"] == [data]) / 60
        assert f"{minutes:.0f} minutes {words}" in " ".join(page.split())
    found = json.loads((again / "fashion-mnist/two-stage-evaluation.json").read_text())
    assert f"samples score {found['fd_classifier/stage2']:.4g} where they scored 10.69, reconstructions " \
           f"{found['fd_classifier/reconstructions']:.3g} where they scored 8.18" in page
    assert f"ahead of the second stage there ({found['fd_classifier/mixture']:.3g})" in page
    found = json.loads((again / "mnist/two-stage-evaluation.json").read_text())
    for words in ("samples score {0[fd_classifier/stage2]:.4g} where",
                  "reconstructions {0[fd_classifier/reconstructions]:.3g} where",
                  "errors of {0[reconstruction_error]:.4f}", "is behind the second stage here ({0[fd_classifier/mixture]:.3g})"):
        assert words.format(found) in " ".join(page.split()), words
    distances = [f"{point['fd_classifier']:.1f}" for point in json.loads((folder / "mnist/mm-gan-curve.json").read_text())]
    assert f"{', '.join(distances[:-1])}, and {distances[-1]} in the end" in " ".join(page.split())


def test_the_published_budget_is_the_measured_one():
    folder, page = ROOT / "docs/results/dai-wipf-paper", (ROOT / "docs/results/dai-wipf.md").read_text()
    assert (folder / "mnist/table1.md").read_text() in page
    sets = "mnist", "fashion-mnist", "cifar10", "lfw"
    for kept, data in ((folder, "fashion-mnist"), *((folder.with_name("dai-wipf-tenth"), data) for data in sets)):
        for line in [*(kept / "claims.md").read_text().splitlines(), *(kept / data / "table1.md").read_text().splitlines()]:
            assert line in page or "not measured" in line or line.endswith("| - | - |"), line
    tenth = {data: json.loads((folder.with_name("dai-wipf-tenth") / data / "two-stage-evaluation.json").read_text())
             for data in sets[:3]}
    mixture, limit = ([tenth[data][f"fd_classifier/{name}"] for data in tenth] for name in ("mixture", "reconstructions"))
    assert f"{mixture[0]:.2f} on MNIST and {mixture[1]:.2f} on\n  Fashion-MNIST" in page
    assert f"On CIFAR-10 it is {mixture[2]:.1f}, too." in page
    assert f"MNIST from {limit[0]:.3f} to 0.025" in page and f"reconstructions score {limit[1]:.1f} there" in page
    found = json.loads((folder / "mnist/two-stage-evaluation.json").read_text())
    stages = [f"{found[f'fd_classifier/stage{stage}']:.4g}" for stage in (1, 2)]
    assert f"FD-classifier {' to '.join(stages)}" in page and f"same codes draws nearer samples than the second stage**: " \
        f"{found['fd_classifier/mixture']:.2f}" in page
    assert f"score {found['fd_classifier/reconstructions']:.3g}," in page
    assert f"Passed through stage 2, too, {found['fd_classifier/reconstructions_both_stages']:.2g}." in page
    last = json.loads((folder / "mnist/two-stage-last-records.json").read_text())
    assert [last[stage]["epoch"] for stage in ("stage1", "stage2")] == [400, 800]
    seconds = [last["stage1"]["seconds"], last["stage2"]["seconds"] - last["stage1"]["seconds"]]
    assert "{:.1f} minutes of stage 1 and {:.1f} of\nstage 2".format(*(s / 60 for s in seconds)) in page
    assert "took {:.1f} + {:.1f} s".format(*seconds) in (ROOT / "docs/gpu.md").read_text()


@pytest.mark.parametrize("loss", ["mm", "began"])
def test_the_searched_gan_is_the_measured_one(loss):
    folder, page = ROOT / "docs/results/gan-search" / loss, (ROOT / "docs/results/dai-wipf.md").read_text()
    told = " ".join(page.split())
    asked, found, best = (json.loads((folder / f"{name}.json").read_text()) for name in ("sweep", "settings", "best"))
    assert asked["space"] == f"gan/wide/{loss}" and asked["steps"] == [1875] and asked["early_stop"] and len(found["rows"]) == 20
    lines = (folder / "settings.md").read_text().splitlines()
    done = [line for line, row in zip(lines[2:], found["rows"], strict=True) if row["state"] == "done"]
    assert "\n".join([*lines[:2], *done, ""]) in page and f"The other {20 - len(done)} were stopped" in told
    assert {row["state"] for row in found["rows"]} == {"done", "stopped"}
    authors, first = by_name(found)["setting-000"], found["rows"][0]
    assert best["name"] == first["name"] and best["seeds"] == 3
    assert f"FD-classifier {first['score']:.4g} where the authors' have {authors['score']:.0f}" in told
    assert f"from three other seeds {best['mean']:.3g} ± {best['std']:.2g}" in told
    assert f"{sum(row['minutes'] for row in found['rows']) / 60:.1f} hours of training before the seeds" in told
    lr, beta1 = (f"{first['setting'][f'stage/{name}']:.2g}" for name in ("lr", "beta1"))
    assert f"lr {lr} and beta1 {beta1}" in told
    assert f"`lr={lr}`, `beta1={beta1}`" in (ROOT / "docs/gan.md").read_text() or loss != "mm"


def test_the_controls_are_the_measured_ones():
    folder, page = ROOT / "docs/results/dai-wipf-half", (ROOT / "docs/results/dai-wipf.md").read_text()
    assert (folder / "claims.md").read_text() in page and (folder / "mnist/joint.md").read_text() in page
    calls = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
    assert all((call["part"], call["preset"], call["share"], call["threads"]) == ("joint", "quick", 0.5, 1) for call in calls)
    assert f"{sum(call['seconds'] for call in calls) / 60:.1f} minutes of one core" in " ".join(page.split())
    joint, apart = (json.loads((folder / f"mnist/{name}-evaluation.json").read_text()) for name in ("joint", "two-stage"))
    for words in ("MMD² of q(u) to it is {0[mmd/stage2]:.3g}, and {1[mmd/stage2]:.0e} ",
                  "score {0[fd_classifier/reconstructions]:.3g} with",
                  "and {0[fd_classifier/reconstructions_both_stages]:.3g} with",
                  "({1[fd_classifier/reconstructions]:.3g} and {1[fd_classifier/reconstructions_both_stages]:.3g} where it",
                  "({0[fd_classifier/stage2]:.3g} and {1[fd_classifier/stage1]:.3g})",
                  "{0[fd_classifier/stage2]:.3g} and 12.0, against {1[fd_classifier/stage2]:.3g}"):
        assert words.format(joint, apart) in " ".join(page.split()), words


def test_gamix_is_the_measured_one():
    folder, page = ROOT / "docs/results/gamix-quick", (ROOT / "docs/results/gamix.md").read_text()
    assert (folder / "claims.md").read_text() in page
    for data in ("lfw", "cifar10"):
        assert (folder / data / "ablation.md").read_text() in page
    for part in ("baselines", "weights", "dimensions", "moments"):
        assert (folder / "lfw" / f"{part}.md").read_text() in page
    assert (folder.with_name("gamix-two") / "cifar10/norms.md").read_text() in page
    for longer in ("gamix-ten/lfw/ablation.md", "gamix-five/cifar10/norms.md"):  # rows that were not run are left out
        lines = (folder.parent / longer).read_text().splitlines()
        assert all(line in page or line.endswith("| - | - |") for line in lines)
    calls = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
    for data, words in (("lfw", "minutes for LFW"), ("cifar10", "minutes for CIFAR-10")):
        assert f"{sum(call['seconds'] for call in calls if call['data'] == [data]) / 60:.0f} {words}" in " ".join(page.split())
    assert [call["threads"] for call in calls].count(2) == 1  # of the first


def test_the_biggans_are_the_measured_ones():
    folder, page = ROOT / "docs/results/hinrichsen-quick", (ROOT / "docs/results/hinrichsen.md").read_text()
    calls = json.loads((folder / "calls.json").read_text())
    assert (folder / "claims.md").read_text() in page
    for budget, table in (("long", "cifar10/table.md"), ("half", "lfw/table.md"), ("quarter", "lfw/optimizers.md")):
        assert all((folder.with_name(f"hinrichsen-{budget}") / name).read_text() in page for name in ("claims.md", table))
    seeds = by_name(json.loads((folder.with_name("hinrichsen-half") / "lfw/table.json").read_text()))
    for row in ("gan-normal", "gan-deep"):
        assert ", ".join(f"{value:.1f}" for value in seeds[row]["fd_exemplar"]["values"]) in page
    spent = [json.loads(line)["seconds"] / 60
             for line in (folder.with_name("hinrichsen-quarter") / "calls.jsonl").read_text().splitlines()]
    assert "{:.0f} minutes and {:.0f} more".format(*spent) in page
    assert (folder / "cifar10/blocks.md").read_text() in page
    for part, words in (("rates", "minutes on two cores"), ("activation", "minutes more")):
        later = [call for call in calls if (call["part"], call["data"]) == (part, ["cifar10"])]
        calls = [call for call in calls if call not in later]
        assert f"REPRO`, {sum(call['seconds'] for call in later) / 60:.0f} {words}" in page
        assert (folder / f"cifar10/{part}.md").read_text() in page
    assert all(call["threads"] == 1 for call in calls)
    for data, title, metric in (("cifar10", "CIFAR-10", "fd_classifier"), ("lfw", "LFW", "fd_exemplar")):
        assert (folder / data / "table.md").read_text() in page
        for curve in json.loads((folder / data / "curves.json").read_text()).values():
            assert ", ".join(f"{point[metric]:.1f}" for point in curve) in page
        seconds = sum(call["seconds"] for call in calls if call["part"] == "table" and call["data"] == [data])
        assert f"{seconds / 60:.1f} minutes for {title}" in page
    spent = []
    for part in ("latents", "rates", "activation"):
        assert (folder / "lfw" / f"{part}.md").read_text() in page
        spent.append(f"{sum(call['seconds'] for call in calls if call['part'] == part) / 60:.1f}")
    assert f"in {spent[0]}, {spent[1]} and {spent[2]} minutes more" in page


def test_the_chains_are_the_measured_ones():
    folder, page = ROOT / "docs/results/zhao-quick", (ROOT / "docs/results/zhao.md").read_text()
    assert all((folder.with_name("zhao-long") / f"mnist/{name}.md").read_text() in page for name in ("fig5", "fig5_log"))
    assert all((folder.with_name("zhao-five") / name).read_text() in page for name in ("claims.md", "mnist/fig2.md"))
    for name in ("claims.md", "mnist/fig2.md", "mnist/fig5.md", "lfw/fig3.md", "lfw/fig4.md"):
        assert (folder / name).read_text() in page
    for name in ("fig5", "fig5-constant-rate"):
        rows = json.loads((folder / "mnist" / f"{name}.json").read_text())["rows"]
        row = next(row for row in rows if row["name"] == "none")
        assert f"{row['fd_ancestral']['mean'] / row['fd_chain']['mean']:.2f}" in page


def test_the_chains_in_colour_are_the_measured_ones():
    folder, page = ROOT / "docs/results/zhao-colour", (ROOT / "docs/results/zhao.md").read_text()
    assert (folder / "claims.md").read_text() in page and (folder / "cifar10/fig5-colour.md").read_text() in page
    calls = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
    asked = {(call["part"], call["preset"], call["share"], call["threads"]) for call in calls}
    assert asked == {("fig5-colour", "quick", 1.0, 1)}
    rows, told = by_name(json.loads((folder / "cifar10/fig5-colour.json").read_text())), " ".join(page.split())
    kl = json.loads((folder / "cifar10/colour-elbo-latents.json").read_text())["kl"]
    information = rows["colour-elbo"]["information"]["mean"]
    assert f"KL is {kl:.1f} nats (of 10,000 training images), of which {information:.1f} are mutual information" in told
    bits = [f"{rows[f'colour-{name}']['bits']['mean']:.2f}" for name in ("none", "elbo")]
    assert f"({bits[0]} and {bits[1]} bits)" in told
    minutes = [f"{call['seconds'] / 60:.0f}" for call in calls if "--models" in call["command"]]
    assert f"row by row, {minutes[0]} and {minutes[1]} minutes with the scores" in told


def test_the_longer_sequential_runs_are_the_measured_ones():
    page, cells, ends = (ROOT / "docs/results/zhao.md").read_text(), [f"| step {t} " for t in range(1, 9)], []
    told = " ".join(page.split())
    for run in ("long", "quarter"):
        folder = ROOT / f"docs/results/sequential-lfw-{run}"
        found = json.loads((folder / "steps.json").read_text())
        assert (found["split"], found["images"]) == ("test", 500)
        errors, sharpness = found["reconstruction_error"], found["sharpness_samples"]
        for t, (error, sharp) in enumerate(zip(errors, sharpness, strict=True)):
            cells[t] += f"| {error:.4g} | {sharp:.4g} "
        (fall,) = [1 - after / before for before, after in zip(sharpness, sharpness[1:]) if after < before]
        assert f"by {100 * fall:.1f} %" in told
        ends.append((errors[-1], sharpness[-1], f"{100 * sharpness[-1] / found['sharpness_data']:.0f}"))
        assert f"{json.loads((folder / 'training.json').read_text())['seconds'] / 60:.1f} minutes on one core" in told
    assert all(f"{line}|\n" in page for line in cells)
    (error, sharp, share), (wide_error, wide_sharp, wide_share) = ends
    assert f"at {share} and {wide_share} % of the data's own sharpness" in told
    better, softer = (f"{100 * (1 - wide / narrow):.0f} %" for narrow, wide in ((error, wide_error), (sharp, wide_sharp)))
    assert f"better, by {better}, and its samples are less sharp, by {softer}" in told


def test_the_longer_fashion_run_is_the_measured_one():
    folder, page = ROOT / "docs/results/two-stage-fashion-15-epochs", (ROOT / "docs/results/dai-wipf.md").read_text()
    found = json.loads((folder / "evaluation.json").read_text())
    stage1, stage2 = found["fd_classifier/stage1"], found["fd_classifier/stage2"]
    assert markdown_scores(found) in page and f"{stage1 / stage2:.2f} times, {stage1:.2f} to {stage2:.2f}" in page


def test_the_manifolds_are_the_measured_ones():
    page = (ROOT / "docs/theory.md").read_text()
    found = json.loads((ROOT / "docs/results/manifolds-quick/manifolds.json").read_text())
    assert f"on {found['right']} of\n{found['counted']} manifolds" in page
    for case in found["cases"]:
        slopes = [f"{case[f'{of}_slope']:.2f} ({case[f'expected_{of}_slope']})" for of in ("loss", "kl")]
        assert f"| {case['active_dimensions']} | {case['gamma']:.4f} | {slopes[0]} | {slopes[1]} |" in page


    full = json.loads((ROOT / "docs/results/manifolds-quick/full_dimension.json").read_text())
    assert f"{full['worst']:.3f} nats a dimension above" in page
    for case in full["cases"]:
        assert f"| {case['d']} | {case['latent_dim']} | {case['active_dimensions']} | {case['excess'] / case['d']:.3f} |" in page


def test_the_fid_table_is_the_measured_one():
    page = (ROOT / "docs/performance.md").read_text()
    found = json.loads((ROOT / "benchmarks/results/fid-cpu.json").read_text())
    for seconds, digits in ((found["whole"]["seconds"], 1), (found["distance_alone"]["seconds"], 2)):
        theirs, ours = (statistics.median(seconds[name]) for name in ("pytorch-fid", "vaefast"))
        assert f"| {theirs:.{digits}f} | {ours:.{digits}f} | {theirs / ours:.2f} |" in page


@pytest.mark.slow
def test_the_second_stage_of_a_third_partys_autoencoder():
    page = (ROOT / "docs/second-stage.md").read_text()
    found = {}
    exec(re.search(r"<!-- example -->\n```python\n(.*?)```", page, re.S).group(1), found)
    assert found["digits"].shape == (1000, 64)
    distance = found["distance"]
    assert distance["real digits"] < distance["second stage"] < 0.9 * distance["one Gaussian"]
    for value, name in re.findall(r"([\d.]+)\s+for\s+(real digits|the second stage|one Gaussian)", page):
        assert distance[name.removeprefix("the ")] == pytest.approx(float(value), abs=0.6)


def test_the_guide_of_tables():
    from benchmarks.tables import markdown

    page, found = (ROOT / "docs/tables.md").read_text(), {}
    assert markdown(json.loads((ROOT / "benchmarks/results/tables.json").read_text())) in page
    exec(re.search(r"<!-- example -->\n```python\n(.*?)```", page, re.S).group(1), found)
    assert max(found["distances"].values()) < 0.4 and len(found["rarity"]) == 300
    assert not any(v is None or v != v for made in ("whole", "guess") for v in found[made]["city"])


@pytest.mark.parametrize("loss", ["ns", "mm", "began"])
def test_the_short_gans_are_the_measured_ones(loss):
    folder, page = ROOT / "docs/results/gan-quick", (ROOT / "docs/gan.md").read_text()
    curve, found = (json.loads((folder / f"{loss}{name}.json").read_text()) for name in ("-curve", ""))
    assert [point["step"] for point in curve] == [950, 1900, 2850, 3750]
    scores = " | ".join(f"{point['fd_classifier']:.1f}" for point in curve)
    end = f"{found['fd_classifier/stage1']:.4g} | {curve[-1]['seconds'] / 60:.1f}"
    assert f"| `{loss}`, preset `quick` | {scores} | {end} |" in page


@pytest.mark.parametrize("loss", ["ns", "mm", "lsgan", "dragan", "wgan", "wgan-gp", "began"])
def test_the_gans_of_uci_digits_are_the_measured_ones(loss):
    folder, page = ROOT / "docs/results/gan-quick", (ROOT / "docs/gan.md").read_text()
    curve, found = (json.loads((folder / f"{loss}-digits{name}.json").read_text()) for name in ("-curve", ""))
    scores = ", ".join(f"{point['fd_classifier']:.1f}" for point in curve)
    end = f"{found['fd_classifier/stage1']:.4g} | {curve[-1]['seconds'] / 60:.1f}"
    assert f"| `{loss}` | {curve[-1]['step']:,} | {scores} | {end} |" in page


def test_the_guides_own_networks_train():
    page = (ROOT / "docs/python.md").read_text()
    found: dict = {"__name__": "guide"}
    exec(re.search(r"<!-- own networks -->\n```python\n(.*?)```", page, re.S).group(1), found)
    import torch

    found["model"].fit(torch.rand(16, 1, 28, 28), steps=1, batch_size=8, device="cpu", progress=False)
    assert found["model"].sample(2).shape == (2, 1, 28, 28)


def test_the_guides_model_in_diffusers():
    pytest.importorskip("diffusers", reason="diffusers is not installed (pip install diffusers)")
    import torch

    page = (ROOT / "docs/export.md").read_text()
    found: dict = {"x": torch.rand(2, 3, 32, 32) * 2 - 1}
    exec(re.search(r"<!-- diffusers -->\n```python\n(.*?)```", page, re.S).group(1), found)
    assert found["z"].shape == (2, 4, 8, 8) and found["x_hat"].shape == (2, 3, 32, 32)


def test_what_the_guide_exports_is_served(tmp_path, monkeypatch):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed (pip install 'vaefast[export]')")
    import vaefast

    page, found = (ROOT / "docs/export.md").read_text(), {}
    monkeypatch.chdir(tmp_path)
    vaefast.TwoStageVAE((1, 8, 8), 4, second_width=8, second_depth=1).save("m")
    for name in ("export", "onnxruntime", "torch.export"):
        exec(re.search(rf"<!-- {name} -->\n```python\n(.*?)```", page, re.S).group(1), found)
    assert found["images"].shape == (64, 1, 8, 8) and found["mean"].shape == (64, 4)
    assert found["done"].largest_difference < 1e-4


def test_the_rates_beside_another_process_are_the_measured_ones():
    rates = json.loads((ROOT / "benchmarks/results/under-load-avx2.json").read_text())["rates"]
    page = (ROOT / "docs/performance.md").read_text()
    for load, label in (("idle", "idle machine"), ("half of the cores busy", "one of the two cores busy")):
        asleep, spinning = (round(statistics.median(rates[load][name])) for name in ("asleep", "as torch is"))
        assert f"| {label} | {asleep:,} | {spinning:,} |" in page
