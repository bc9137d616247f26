"""The paper's parts, and the words of its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vaefast import api
from vaefast.experiments import theory
from vaefast.experiments.papers import pictures
from vaefast.experiments.papers.cells import Task
from vaefast.experiments.papers.claims import DISTANCES
from vaefast.experiments.papers.dai_wipf import claims, protocol
from vaefast.experiments.papers.dai_wipf.printed import TABLE1, TABLE2
from vaefast.experiments.papers.plan import SMOKE, Paper, Part, Row, Study
from vaefast.experiments.papers.tables import printed
from vaefast.experiments.scoring.registry import columns, name_of
from vaefast.training.run_folder import RunFolder

COLUMNS = (
    ("paper_fid", "FID in the paper"),
    *columns(*DISTANCES),
    ("reconstructions", f"{name_of('fd_classifier')} of reconstructions"),
    ("exemplar_reconstructions", f"{name_of('fd_exemplar')} of reconstructions"),
    ("reconstruction_error", "squared error a pixel"),
    ("gamma", "gamma"),
    ("active_dimensions", "active dimensions"),
    ("minutes", "minutes of training"),
)
"""Key of a row's value, and its heading. "paper_fid" is the one that was not measured here."""
PRESETS = {
    "smoke": SMOKE,
    "quick": "minutes on a CPU for each row (an hour for a GAN): 16 latent dimensions and gamma in closed form, where "
    "the paper has 64 and a trained gamma; table 2 with networks of an eighth of the WAE paper's widths; its "
    "orderings can be compared with the paper's, its numbers cannot",
    "paper": "the published budgets and settings",
}


def _notes(study: Study) -> Sequence[str]:
    return (
        f"Preset {study.preset}: {PRESETS[study.preset]}. {protocol.SAMPLES[study.preset]:,} samples against as many test "
        "images (all, where there are fewer). FD-classifier is a Fréchet distance in the features of a classifier "
        "trained on each data set's own labels, FD-exemplar, where there are none, in those of a network that tells its images "
        "apart; neither is the FID, and no number of the paper compares with them. FID is given "
        "where the 2015 Inception weights were at hand; it compares with the paper's where the samples are 10,000 and the data "
        "are the paper's, but for the resize to 299x299 and for the contrast of generated images, which the authors' code "
        "stretches.",)


def _printed(part: str, row: Row, data: str) -> dict[str, Any]:
    return {"paper_fid": printed({"table1": TABLE1, "joint": TABLE1, "table2": TABLE2}.get(part, {}).get(row.name, {}).get(data))}


def _gans(task: Task) -> None:
    """The GANs' curves."""
    gans = {row.title: task.folder(row.training) / "trial-01" for row in task.part.rows
            if row.training and row.training.kind == "gan"}
    pictures.training_curves(task.out.with_name(f"{task.name}_curves"), gans, "step")


def _table(heading: str, name: str, rows: tuple[Row, ...]) -> Part:
    return Part(heading, rows, COLUMNS, draw=_gans, figures=(
        (name, pictures.CAPTION),
        (f"{name}_curves", "The GANs while they trained: distance of samples, and diversity of batches of them")))


def _figure1a(task: Task, models: Sequence[str] | None) -> None:
    learned, fixed = (RunFolder.open(task.cell(training, scores=False)).read_metrics() for training in protocol.FIGURE1A)
    theory.fig1a(learned, fixed, image_shape=task.train.image_shape, out=task.out.parent, say=task.study.say)


def _of_two_stage(heading: str, name: str, run: Callable[..., Any]) -> Part:
    """A part that measures table 1's two-stage model of the first trial."""
    def measure(task: Task, models: Sequence[str] | None) -> None:
        study = task.study
        model = api.load(task.cell(protocol.TWO_STAGE, scores=False))
        run(model, task.train.images, out=task.out.parent, preset=study.preset, seed=study.seed, device=study.device,
            say=study.say, **({"data": task.data} if name == "table3" else {}))

    return Part(heading, run=measure, figures=((name, heading),))


def _manifolds(task: Task, models: Sequence[str] | None) -> None:
    study = task.study
    theory.manifolds(out=study.out, preset=study.preset, seed=study.seed, device=study.device, say=study.say)


def _full_dimension(task: Task, models: Sequence[str] | None) -> None:
    study = task.study
    theory.full_dimension(out=study.out, preset=study.preset, seed=study.seed, device=study.device, say=study.say)


PAPER = Paper(
    title="Dai & Wipf, Diagnosing and Enhancing VAE Models", notes=_notes, data=("mnist",),
    parts={
        "table1": _table("Table 1, neutral networks", "table1", protocol.TABLE1),
        "table2": _table("Table 2, networks of the WAE paper", "table2", protocol.TABLE2),
        "kappa": Part("Numbers of latent dimensions", protocol.KAPPA, COLUMNS,
                      figures=(("kappa", pictures.CAPTION),),
                      suits=lambda task: False),  # ten trainings: by name alone
        "joint": Part("Both stages trained together, and one larger VAE", protocol.JOINT, COLUMNS,
                      figures=(("joint", pictures.CAPTION),),
                      suits=lambda task: False),  # beside what "all" trains: by name alone
        "table3": _of_two_stage("Table 3, MMD² to N(0, I)", "table3", theory.table3),
        "fig1a": Part("Figure 1a, gamma while training", run=_figure1a, figures=(("fig1a", "Figure 1a, gamma while training"),)),
        "fig1b": _of_two_stage("Figure 1b, posterior eigenvalues", "fig1b", theory.fig1b),
        "fig2": _of_two_stage("Figure 2, singular values", "fig2", theory.fig2),
        "manifolds": Part("Manifolds of known dimension", run=_manifolds, once=True, claims=claims.of_manifolds,
                          figures=(("manifolds", "Active dimensions, loss and KL on data of known dimension r"),)),
        "full_dimension": Part("Gaussians that fill their space", run=_full_dimension, once=True, claims=claims.of_full_dimension,
                               figures=(("full_dimension", "Loss and KL where r = d"),)),
    },
    settings=lambda training, task: protocol.options(training, task.name, task.study.preset, task.data),
    samples=lambda preset: protocol.SAMPLES[preset], scoring=lambda task: {},
    data_options=lambda part, preset, plain: protocol.data_options(part, preset, plain()),
    takes_data_options=False, about_data=False, folder="{data}/{part}/{training}", printed=_printed, may_diverge=False,
    claims=claims.of_parts)
