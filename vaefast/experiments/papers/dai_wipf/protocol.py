"""What is trained for each row: the kind of model, its arguments, and its budget in each preset."""

from __future__ import annotations

from typing import Any

from vaefast.data import ImageSet
from vaefast.experiments import presets
from vaefast.experiments.papers.dai_wipf.printed import TITLES
from vaefast.experiments.papers.plan import Row, Training, of_preset
from vaefast.training.settings import PlayerSettings

SAMPLES = {"smoke": 500, "quick": 10_000, "paper": 10_000}
WAE_MULTIPLE = 8


def _row(name: str, training: Training | None, stage: int = 1, best_of: tuple[str, ...] = ()) -> Row:
    return Row(name, TITLES[name], training, stage, best_of)


TWO_STAGE = Training("two-stage", "two-stage", part="table1")
"""What tables 1 and 3, figures 1b and 2 and the controls share."""

GANS = {"mm-gan": "mm", "ns-gan": "ns", "lsgan": "lsgan", "wgan": "wgan", "wgan-gp": "wgan-gp", "dragan": "dragan",
        "began": "began"}
"""Rows and their losses, each with its authors' settings. The paper prints the best of 100 settings for each data set."""
GAN_STEPS = {"mnist": 15_625, "fashion-mnist": 15_625, "cifar10": 78_125, "celeba": 101_250}
"""Discriminator steps of Lucic et al.: 20 epochs of 50,000 grey images, 100 of 50,000, 40 of 162,000."""

GAN_CHECKPOINT_EPOCHS = 5.0
"""Lucic et al. save a checkpoint every 5 epochs, and the best of them by FID counts."""

TABLE1 = (
    *(_row(name, Training(name, "gan", {"loss": loss})) for name, loss in GANS.items()),
    _row("best-gan", None, best_of=tuple(GANS)),
    _row("vae-bernoulli", Training("vae-bernoulli", "vae", {"likelihood": "bernoulli"})),
    _row("vae-fixed", Training("vae-fixed", "vae", {"gamma": 1.0})),
    _row("vae-learned", TWO_STAGE, stage=1),  # the very model whose codes the second stage learns
    _row("vae-flow", Training("vae-flow", "vae-flow")),
    _row("wae-mmd", Training("wae-mmd", "wae-mmd")),
    _row("two-stage", TWO_STAGE, stage=2),
)

_TWO_STAGE_WAE_NETS = Training("two-stage", "two-stage", {"nets": "wae"})

WAE_WIDTH = 16
"""Of the WAE paper's networks in "quick"; theirs is 128, which at 64x64 has 60 times the multiplications."""

TABLE2 = (
    _row("vae", _TWO_STAGE_WAE_NETS, stage=1),
    _row("wae-mmd", Training("wae-mmd", "wae-mmd", {"nets": "wae-stride2"})),
    _row("wae-gan", Training("wae-gan", "wae-gan", {"nets": "wae-stride2"})),
    _row("two-stage", _TWO_STAGE_WAE_NETS, stage=2),
)

KAPPAS = (8, 16, 32, 64, 128)
"""Latent dimensions; the paper's claim of robustness has no table."""


def _kappa_row(name: str, kind: str, kappa: int, stage: int = 1) -> Row:
    training = Training(f"{kind}-k{kappa}", kind, {"latent_dim": kappa})
    return Row(f"{name}-k{kappa}", f"{TITLES[name]}, {kappa} latent dimensions", training, stage)


KAPPA = tuple(_kappa_row(name, kind, kappa, stage) for name, kind, stage in (
    ("vae-learned", "two-stage", 1), ("two-stage", "two-stage", 2), ("wae-mmd", "wae-mmd", 1)) for kappa in KAPPAS)

JOINT = (
    _row("vae-learned", TWO_STAGE, stage=1),
    _row("vae-stacked", Training("vae-stacked", "vae", {"nets": "infogan-stacked"})),
    _row("joint", Training("joint", "two-stage", {"joint": True}), stage=2),
    _row("two-stage", TWO_STAGE, stage=2),
)
"""The controls at the end of section 4, which have no table: the second stage's parameters without its training apart. Both are
trained as long as the first stage."""

FIGURE1A = (Training("gamma-learned", "vae", {"gamma": "learned"}, {"schedule": "constant"}),
            Training("gamma-fixed", "vae", {"gamma": 1.0}, {"schedule": "constant"}))


def options(training: Training, table: str, preset: str, data: str) -> dict[str, Any]:
    """Arguments of `vaefast.experiments.request.Request` for a training of a part with rows, or of "fig1a".

    "paper" is the published protocol: 400 + 800 epochs on the grey sets, 1,000 + 2,000 on CIFAR-10 (said by an author on the
    repository of their code; the halving period is scaled with it), 70 + 70 with the WAE paper's networks. "quick" is
    minutes on a CPU for the neutral networks (an hour for a GAN), and a variant of table 2 with narrower ones (`WAE_WIDTH`);
    "smoke" shows that everything runs, and nothing else. GANs count steps (`GAN_STEPS`; those of MNIST for other data, and in
    "quick").

    Raises:
        ArgumentError: no such preset.
    """
    of_preset(SAMPLES, preset)
    two = training.kind == "two-stage" and not training.model.get("joint")
    gan = training.kind == "gan"  # which has its authors' settings at every length
    request: dict[str, Any] = {"kind": training.kind, "preset_name": "paper" if gan or preset == "paper" else "short"}
    model, stages = dict(training.model), dict(training.stages)
    width = presets.TWO_STAGE[request["preset_name"]].model.get("second_width")
    if model.get("nets") == "infogan-stacked" and width is not None:
        model["net_options"] = {"width": width}
    if preset == "smoke":
        request["steps"] = (300, 600) if two else (50,) if gan else (300,)
        if table == "table2":
            request["steps"] = (20, 300) if two else (20,)
            stages["batch_size"] = 16
    elif preset == "quick" and table == "table2":
        model["net_options"] = {"width": WAE_WIDTH}
    elif preset == "paper" and table == "table2":
        request["epochs"] = (70.0, 70.0) if two else (70.0,)
        if two:
            stages["halve_every"] = 30.0
        else:
            _wae_paper(training, model, stages)
    elif preset == "quick" and gan:
        # no shorter: until a few thousand steps in, D often wins and the fakes are all alike
        request |= {"steps": (GAN_STEPS["mnist"],), "score_every": 1.0}
    elif preset == "paper" and gan:
        request |= {"steps": (GAN_STEPS.get(data, GAN_STEPS["mnist"]),), "score_every": GAN_CHECKPOINT_EPOCHS, "keep_best": True}
    elif preset == "paper" and table == "fig1a":
        request["steps"] = (100_000,)
    elif preset == "paper" and data == "cifar10":
        request["epochs"] = (1000.0, 2000.0) if two else (1000.0,)
    return {**request, "model_overrides": model, "stage_overrides": stages}


def _wae_paper(training: Training, model: dict[str, Any], stages: dict[str, Any]) -> None:
    """Tolstikhin et al.'s CelebA configuration: batches of 100, images in [-1, 1], a pretrained encoder."""
    model |= {"image_range": (-1.0, 1.0), "pretrain": True}
    lr = 3e-4 if training.kind == "wae-gan" else 1e-3
    stages |= {"batch_size": 100, "lr": lr, "betas": (0.5, 0.999), "schedule": "wae-manual"}
    if training.kind == "wae-gan":
        stages["players"] = {"adversary": PlayerSettings(lr=1e-3, betas=(0.5, 0.999), schedule="wae-manual")}


def data_options(table: str, preset: str, plain: ImageSet) -> dict[str, Any]:
    """Options of the data set for "table1" or "table2", given its training images as they come without any.

    The paper's CIFAR-10 went through JPEG, and its CelebA is another crop for each table. The WAE paper's networks halve three
    times, so that other sides than multiples of 8 get a black border; a smoke run of them sees 2,000 images.
    """
    loader_options: dict[str, Any] = {}
    if plain.name == "celeba" and table == "table2":
        loader_options["crop"] = 140
    if plain.name == "cifar10" and not plain.note:  # a note says that the files are JPEG already
        loader_options["jpeg75"] = True
    if table == "table2":
        side = max(plain.image_shape[1:])
        if side % WAE_MULTIPLE:
            loader_options["pad"] = -(-side // WAE_MULTIPLE) * WAE_MULTIPLE
        if preset == "smoke":
            loader_options["limit"] = 2_000
    return loader_options
