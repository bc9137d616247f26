"""The command line: `vaefast {train,sweep,sample,evaluate,fid,reproduce,info,demo}`."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from vaefast import __version__
from vaefast.errors import ArgumentError, VaefastError


def _numbers(kind: type) -> Any:
    def parse(text: str) -> tuple:
        return tuple(kind(part) for part in text.split(","))

    parse.__name__ = f"{kind.__name__} or {kind.__name__},{kind.__name__}"
    return parse


def _words(text: str) -> list[str]:
    return text.split(",")


def _option(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    known: dict[str, Any] = {"true": True, "false": False, "none": None}
    if value.lower() in known:
        return name, known[value.lower()]
    for number in (int, float):
        try:
            return name, number(value)
        except ValueError:
            continue
    return name, value


def _gamma(text: str) -> str | float:
    return text if text in ("learned", "optimal") else float(text)


def _parser() -> argparse.ArgumentParser:
    from vaefast import data
    from vaefast.api.adversary import ADVERSARIES
    from vaefast.api.general import PIXEL_NETS
    from vaefast.api.sequential import INFERENCES, VARIANTS
    from vaefast.experiments.codes import SAMPLERS
    from vaefast.experiments.presets import PRESETS
    from vaefast.experiments.reproduce import EXPERIMENTS
    from vaefast.experiments.studies import STUDIES
    from vaefast.experiments.theory.job import PRESETS as STUDY_PRESETS
    from vaefast.metrics.inception_input import RESIZES
    from vaefast.models import FAMILIES, REGULARIZERS
    from vaefast.models.gan_losses import LOSSES
    from vaefast.models.gradient_penalty import PENALTIES
    from vaefast.models.vae import LIKELIHOODS
    from vaefast.nets import FLOWS, NETS
    from vaefast.nets.biggan.plan import ARCHS
    from vaefast.training.device import CHANNELS_LAST, PRECISIONS
    from vaefast.training.iteration import MODES
    from vaefast.training.schedule import SCHEDULES

    parser = argparse.ArgumentParser(prog="vaefast", description="Train, sample and score VAEs and small GANs.")
    parser.add_argument("--version", action="version", version=f"vaefast {__version__}")
    commands = parser.add_subparsers(dest="command", required=True,
                                     metavar="{train,sweep,sample,evaluate,fid,reproduce,info,demo}")

    machine = argparse.ArgumentParser(add_help=False)
    machine.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (default: auto)")
    machine.add_argument("--seed", type=int, default=0, metavar="S", help="seed (default: 0)")

    train = commands.add_parser("train", parents=[machine], help="train a model into a run folder")
    train.add_argument("model", metavar="MODEL", choices=list(PRESETS), help="what to train: " + ", ".join(PRESETS))
    train.add_argument("--data", required=True, metavar="NAME", help="data set: " + ", ".join(data.names()))
    train.add_argument("--data-root", metavar="DIR", help="folder of the data set's files (digits needs none)")
    train.add_argument("--image-size", type=int, metavar="N", help="resize to NxN, where the set offers it (folder, celeba, ...)")
    train.add_argument("--data-option", type=_option, action="append", default=[], metavar="NAME=VALUE",
                       help="option of the data set's loader, such as crop=140 of celeba; may be given several times")
    names = sorted({name for presets in PRESETS.values() for name in presets})
    train.add_argument("--preset", default="quick", metavar="P", help=f"{', '.join(names)} (default: quick)")
    budget = train.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=_numbers(float), metavar="N[,N]", help="epochs of all stages, or of each")
    budget.add_argument("--steps", type=_numbers(int), metavar="N[,N]", help="steps of all stages, or of each")
    train.add_argument("--batch-size", type=int, metavar="B", help="examples a step, in all stages")
    train.add_argument("--lr", type=float, help="learning rate, in all stages")
    train.add_argument("--latent-dim", type=int, metavar="K", help="latent dimensions")
    train.add_argument("--gamma", type=_gamma, metavar="G", help="decoder noise: learned, optimal or a number")
    train.add_argument("--likelihood", choices=LIKELIHOODS,
                       help="of the images: bernoulli is cross-entropy, squared the squared error alone")
    train.add_argument("--nets", choices=[*NETS, *PIXEL_NETS], help="networks of images (pixelcnn, pixelcnn++: general-vae)")
    train.add_argument("--flow", choices=list(FLOWS), help="normalizing flow after the encoder (vae, vae-flow)")
    train.add_argument("--family", choices=FAMILIES, help="of pixels given a code (general-vae and its members)")
    train.add_argument("--regularizer", choices=REGULARIZERS, help="of the codes (general-vae)")
    train.add_argument("--beta", type=float, metavar="B",
                       help="weight of the KL (beta-vae, vae), or of the total correlation (tc-vae)")
    train.add_argument("--alpha", type=float, metavar="A", help="of info-vae: 1 - alpha is the weight of the KL")
    train.add_argument("--lambda", dest="lambda_", type=float, metavar="L",
                       help="weight of the penalty (wae-mmd, wae-gan, info-vae, gan)")
    train.add_argument("--loss", choices=list(LOSSES), help="what the networks of a gan or biggan minimise (default: ns)")
    train.add_argument("--penalty", choices=list(PENALTIES), help="gradient penalty of a gan (default: that of its loss)")
    train.add_argument("--disc-iters", type=int, metavar="N", help="discriminator steps a generator step (gan)")
    train.add_argument("--arch", choices=ARCHS, help="blocks of biggan and biggan-vae")
    train.add_argument("--ch", type=int, metavar="N", help="channels of biggan and biggan-vae at the image's own size")
    train.add_argument("--variant", choices=list(VARIANTS), help="network of the sequential model")
    train.add_argument("--inference", choices=INFERENCES, help="of the sequential model (default: learned)")
    train.add_argument("--chain-steps", type=int, metavar="T", help="steps of the sequential model's chain")
    train.add_argument("--width", type=float, metavar="F", help="factor of the sequential model's widths")
    train.add_argument("--adversary", choices=ADVERSARIES,
                       help="a discriminator that reconstructions have to pass (vae, two-stage, biggan-vae; gamix has it anyway)")
    train.add_argument("--model-option", type=_option, action="append", default=[], metavar="NAME=VALUE",
                       help="any other argument of the model, such as spectral_norm=true of gan; may be given several times")
    train.add_argument("--out", required=True, metavar="RUN", help="run folder to make")
    train.add_argument("--resume", action="store_true", help="go on with the run in RUN")
    train.add_argument("--start-from", metavar="PATH", help="weights to begin with: a run folder, or RUN/checkpoints/last-good")
    train.add_argument("--precision", choices=PRECISIONS, default="auto", help="precision of the networks (default: auto)")
    train.add_argument("--schedule", choices=SCHEDULES, help="learning-rate schedule, in all stages")
    train.add_argument("--beta1", type=float, metavar="X", help="of Adam, in all stages")
    train.add_argument("--clip-norm", type=float, metavar="X", help="largest norm of the gradient, in all stages")
    train.add_argument("--ema", type=float, metavar="D", help="decay of a moving average of the weights, in all stages")
    train.add_argument("--accumulate", type=int, metavar="N", help="send each batch through in N parts, to save memory")
    train.add_argument("--flip", action="store_true", default=None, help="mirror each training image with probability 1/2")
    train.add_argument("--compile", choices=MODES, default="auto",
                       help="torch.compile: auto does for long runs on a GPU (default: auto)")
    train.add_argument("--channels-last", choices=CHANNELS_LAST, default="auto",
                       help="convolutions in NHWC order: auto does on a GPU's tensor cores (default: auto)")
    train.add_argument("--sync", action="store_true", help="batch statistics over all processes of a torchrun")
    train.add_argument("--trials", type=int, metavar="N", help="train N times from derived seeds: RUN/trial-01, ..., trials.json")
    train.add_argument("--at-once", type=int, default=1, metavar="N", help="trials that train at the same time (default: 1)")
    watching = train.add_argument_group("to watch it")
    watching.add_argument("--log-every", type=int, default=50, metavar="N", help="steps a record (default: 50)")
    watching.add_argument("--sample-every", type=float, metavar="E", help="samples as a picture every E epochs: RUN/samples")
    watching.add_argument("--score-every", type=float, metavar="E",
                          help="score samples every E epochs (FD-classifier, or without labels FD-exemplar) and keep the best")
    watching.add_argument("--keep-best", action="store_true", help="end with the best weights that --score-every found")
    watching.add_argument("--mi-every", type=float, metavar="E",
                          help="log the mutual information of images and codes, and its ceiling log N, every E epochs")
    watching.add_argument("--checkpoint-seconds", type=float, default=120.0, metavar="S",
                          help="seconds between checkpoints (default: 120)")
    watching.add_argument("--tensorboard", action="store_true", help="write RUN/tensorboard, too")
    watching.add_argument("--wandb", metavar="PROJECT", help="send records to this Weights & Biases project, too")
    train.set_defaults(call=_train)

    _add_sweep(commands, machine, names)

    sample = commands.add_parser("sample", parents=[machine], help="draw images from a trained run")
    sample.add_argument("run", metavar="RUN", help="run folder")
    sample.add_argument("-n", type=int, default=100, help="how many (default: 100)")
    sample.add_argument("--out", required=True, metavar="FILE",
                        help=".npz: all images, and a grid of the first 100 beside it as .png; .png: the grid alone")
    where = sample.add_mutually_exclusive_group()
    where.add_argument("--sampler", choices=SAMPLERS, help="where codes come from: the prior, a Gaussian mixture fitted to the "
                       "codes of the run's training images, or the second stage (default, where there is one)")
    where.add_argument("--stage", type=int, choices=(1, 2), help="1 for the prior, 2 for the second stage")
    where.add_argument("--chain", type=int, metavar="STEPS",
                       help="instead: images after so many transitions z ~ q(z|x), x ~ p(x|z)")
    sample.add_argument("--start", choices=("noise", "data"), help="of chains: uniform noise (default), or training images")
    sample.add_argument("--pixel-noise", action="store_true", help="draw the pixels of chains, too, not their means alone")
    sample.add_argument("--data-root", metavar="DIR", help="for the mixture and chains of data: where the run's data lie now, if "
                        "they moved")
    sample.set_defaults(call=_sample)

    evaluate = commands.add_parser("evaluate", parents=[machine], help="score a trained run")
    evaluate.add_argument("run", metavar="RUN", help="run folder")
    evaluate.add_argument("--data-root", metavar="DIR", help="where the run's data lie now, if they moved")
    evaluate.add_argument("-n", type=int, default=10_000, help="samples of each kind (default: 10000)")
    evaluate.add_argument("--metrics", type=_words, metavar="M[,M]",
                          help="of classifier, exemplar, fid, is, kid, prdc, sharpness, diversity (default: classifier, or "
                               "exemplar where the data have no labels; and fid, is and kid, where the Inception weights are at "
                               "hand)")
    evaluate.add_argument("--inception-weights", metavar="FILE", help="for fid, is, kid and prdc (default: torch's cache)")
    evaluate.set_defaults(call=_evaluate)

    fid = commands.add_parser("fid", parents=[machine], help="compare two sets of images: FID, Inception score, KID and more")
    fid.add_argument("real", metavar="A", help="real images: a folder, zip, tar, .npz, run folder, or a file of statistics")
    fid.add_argument("fake", metavar="B", help="generated images: the same")
    fid.add_argument("--metrics", type=_words, default="fid,is,kid", metavar="M[,M]",
                     help="of fid, is, kid, prdc (default: fid,is,kid)")
    fid.add_argument("--inception-weights", metavar="FILE", help="pt_inception-2015-12-05-6726825d.pth (default: torch's cache)")
    fid.add_argument("--resize", choices=RESIZES, default=RESIZES[0], help=f"how images come to 299x299 (default: {RESIZES[0]})")
    fid.add_argument("--stretch", action="store_true", help="stretch generated images to the full range first, as old code did")
    fid.add_argument("-n", type=int, default=10_000, help="samples to draw from a run folder (default: 10000)")
    fid.set_defaults(call=_fid)

    reproduce = commands.add_parser("reproduce", parents=[machine], help="run a published or documented experiment",
                                    description="The same command goes on with what an earlier one began.")
    reproduce.add_argument("experiment", metavar="NAME", choices=[*STUDIES, *sorted(EXPERIMENTS)],
                           help="dai-wipf: tables and figures of Dai & Wipf 2019; gamix: the terms of GAMIX-VAE, Rivera "
                           "2023; hinrichsen: BigGANs against VAEs of their "
                           "parts, Hinrichsen 2023; zhao: figures of Zhao, Song & Ermon 2017; or one run: "
                           + ", ".join(sorted(EXPERIMENTS)))
    reproduce.add_argument("part", nargs="?", metavar="PART",
                           help="; ".join(f"of {name}: {', '.join(s.parts)}" for name, s in STUDIES.items()) + "; or all "
                           "(default)")
    reproduce.add_argument("--data", type=_words, metavar="NAME[,NAME]", help="data sets ("
                           + "; ".join(f"{name}: {','.join(s.data)}" for name, s in STUDIES.items()) + ")")
    reproduce.add_argument("--data-root", metavar="DIR", required=True, help="folder of the data sets' files")
    reproduce.add_argument("--data-option", type=_option, action="append", metavar="NAME=VALUE",
                           help="of gamix, hinrichsen and zhao: option of the data sets' loaders, such as classes=1,7; may be "
                           "repeated")
    reproduce.add_argument("--preset", choices=STUDY_PRESETS, help="of a paper (default: quick)")
    reproduce.add_argument("--trials", type=int, metavar="N", help="seeds of every cell of a paper (default: 1)")
    reproduce.add_argument("--models", type=_words, metavar="ROW[,ROW]",
                           help="rows of a paper's tables, such as two-stage, gan-deep")
    reproduce.add_argument("--precision", choices=PRECISIONS, help="of a paper: precision of the networks (default: auto)")
    reproduce.add_argument("--inception-weights", metavar="FILE", help="of a paper (default: torch's cache)")
    reproduce.add_argument("--out", required=True, metavar="DIR", help="folder for the runs, tables and the report")
    reproduce.set_defaults(call=_reproduce)

    info = commands.add_parser("info", help="versions, devices, and which backend serves which op")
    info.set_defaults(call=_info)

    demo = commands.add_parser("demo", parents=[machine], help="a two-stage VAE on handwritten digits in a few minutes")
    demo.add_argument("--out", default=None, metavar="RUN", help="run folder (default: vaefast-demo, or the next free name)")
    demo.set_defaults(call=_demo)
    return parser


def _add_sweep(commands: Any, machine: argparse.ArgumentParser, presets: list[str]) -> None:
    from vaefast.experiments.presets import PRESETS
    from vaefast.experiments.sweep.job import SCORES
    from vaefast.experiments.sweep.space import SPACES
    from vaefast.training.device import PRECISIONS

    sweep = commands.add_parser("sweep", parents=[machine], help="search over a model's settings, on one machine or many",
                                description="Trains many settings once, then the best one from many seeds. The same command goes "
                                "on with what an earlier one began. Needs the extra: pip install 'vaefast[sweep]'.")
    sweep.add_argument("model", metavar="MODEL", choices=list(PRESETS), help="what to train: " + ", ".join(PRESETS))
    sweep.add_argument("--data", required=True, metavar="NAME", help="data set, as for train")
    sweep.add_argument("--data-root", metavar="DIR", help="folder of the data set's files, the same on all machines")
    sweep.add_argument("--image-size", type=int, metavar="N", help="resize to NxN, where the set offers it")
    sweep.add_argument("--data-option", type=_option, action="append", default=[], metavar="NAME=VALUE",
                       help="option of the data set's loader; may be given several times")
    sweep.add_argument("--space", default="wide", metavar="S", help=f"{' or '.join(SPACES)} (Lucic et al. 2018), or a JSON file "
                       "of your own (default: wide)")
    sweep.add_argument("--loss", metavar="L", help="loss of a gan (default: ns)")
    sweep.add_argument("--settings", type=int, default=100, metavar="N", help="how many are tried (default: 100)")
    sweep.add_argument("--seeds", type=int, default=50, metavar="N", help="repeats of the best one (default: 50)")
    sweep.add_argument("--preset", default="quick", metavar="P", help=f"{', '.join(presets)} (default: quick)")
    budget = sweep.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=_numbers(float), metavar="N[,N]", help="epochs of each training")
    budget.add_argument("--steps", type=_numbers(int), metavar="N[,N]", help="steps of each training")
    sweep.add_argument("--batch-size", type=int, metavar="B", help="examples a step")
    sweep.add_argument("--precision", choices=PRECISIONS, default="auto", help="precision of the networks (default: auto)")
    sweep.add_argument("--metric", choices=list(SCORES), help="what ranks (default: fid, where the Inception weights are)")
    sweep.add_argument("--inception-weights", metavar="FILE", help="for fid (default: torch's cache)")
    sweep.add_argument("-n", type=int, default=10_000, help="samples that are scored (default: 10000)")
    sweep.add_argument("--early-stop", action="store_true", help="stop trainings that fall behind the others (ASHA)")
    sweep.add_argument("--checkpoint-seconds", type=float, default=120.0, metavar="S", help="seconds between checkpoints "
                       "(default: 120)")
    sweep.add_argument("--log-every", type=int, default=50, metavar="N", help="steps a record (default: 50)")
    sweep.add_argument("--out", required=True, metavar="DIR", help="folder for the runs and tables")
    where = sweep.add_argument_group("machines")
    where.add_argument("--address", metavar="A", help="of a Ray cluster, or auto (default: this machine)")
    where.add_argument("--cpus-per-trial", type=float, default=1.0, metavar="C", help="cores of a training (default: 1)")
    where.add_argument("--gpus-per-trial", type=float, metavar="G", help="GPUs of a training, such as 0.25 (default: 1, where "
                       "there are GPUs)")
    where.add_argument("--at-once", type=int, metavar="N", help="most trainings at the same time (default: as many as fit)")
    sweep.set_defaults(call=_sweep)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _train(args: argparse.Namespace) -> None:
    from vaefast.experiments.run import train
    from vaefast.experiments.trials import run_trials
    from vaefast.training.distributed import leave, world

    stages = _given(batch_size=args.batch_size, lr=args.lr, schedule=args.schedule, clip_norm=args.clip_norm, ema=args.ema,
                    accumulate=args.accumulate, betas=None if args.beta1 is None else (args.beta1, 0.999), flip=args.flip)
    options = dict(
        data_name=args.data, data_root=args.data_root, out=args.out, preset_name=args.preset, epochs=args.epochs,
        steps=args.steps, stage_overrides=stages, seed=args.seed, device=args.device, precision=args.precision,
        resume=args.resume,
        model_overrides={
            **_given(latent_dim=args.latent_dim, gamma=args.gamma, likelihood=args.likelihood, nets=args.nets, flow=args.flow,
                     lambda_=args.lambda_, family=args.family, regularizer=args.regularizer, beta=args.beta, alpha=args.alpha,
                     loss=args.loss, penalty=args.penalty, disc_iters=args.disc_iters, arch=args.arch, ch=args.ch,
                     variant=args.variant, width=args.width, steps=args.chain_steps, inference=args.inference,
                     adversary=args.adversary),
            **dict(args.model_option)},
        data_options={**_given(size=args.image_size), **dict(args.data_option)}, command=args.line,
        sample_every=args.sample_every, score_every=args.score_every, keep_best=args.keep_best, mi_every=args.mi_every,
        tensorboard=args.tensorboard, wandb=args.wandb, start_from=args.start_from,
        trainer={"compile": args.compile, "channels_last": args.channels_last, "sync": args.sync, "log_every": args.log_every,
                 "checkpoint_seconds": args.checkpoint_seconds})
    try:
        if args.trials is not None:
            run_trials(args.model, args.trials, at_once=args.at_once, **options)
            print(f"done: {args.out} holds {args.trials} trials; their mean and spread are in {Path(args.out) / 'trials.json'}")
            return
        train(args.model, **options)
        if world().writes:
            print(f"done: {args.out} holds the model, samples and report.html; score it with: vaefast evaluate {args.out}")
    finally:
        leave()


def _sweep(args: argparse.Namespace) -> None:
    from vaefast.experiments.sweep.search import Sweep, sweep

    best = sweep(Sweep(
        kind=args.model, out=Path(args.out), data_name=args.data, data_root=args.data_root,
        data_options={**_given(size=args.image_size), **dict(args.data_option)}, space=args.space, loss=args.loss,
        preset_name=args.preset, epochs=args.epochs, steps=args.steps, stage_overrides=_given(batch_size=args.batch_size),
        precision=args.precision, metric=args.metric, samples=args.n, early_stop=args.early_stop, seed=args.seed,
        settings=args.settings, seeds=args.seeds, device=args.device, weights=args.inception_weights, command=args.line,
        trainer={"checkpoint_seconds": args.checkpoint_seconds, "log_every": args.log_every}, address=args.address,
        cpus=args.cpus_per_trial, gpus=args.gpus_per_trial, at_once=args.at_once))
    print(f"done: {best['name']} is best; tables in {args.out}: settings.md"
          + (f", best.md ({best['metric']} {best['mean']:.4g} over {best['seeds']} seeds)" if best["seeds"] else ""))


def _sample(args: argparse.Namespace) -> None:
    from vaefast.experiments.sampling import sample_to_file

    sampler = args.sampler or {1: "prior", 2: "second", None: None}[args.stage]
    for path in sample_to_file(args.run, Path(args.out), args.n, sampler=sampler, data_root=args.data_root, seed=args.seed,
                               device=args.device, chain=args.chain, start=args.start, pixel_noise=args.pixel_noise):
        print(path)


def _evaluate(args: argparse.Namespace) -> None:
    from vaefast.experiments.evaluate import evaluate
    from vaefast.experiments.tables import print_scores

    result = evaluate(args.run, data_root=args.data_root, samples=args.n, seed=args.seed, device=args.device, which=args.metrics,
                      weights=args.inception_weights)
    print_scores(result)
    print(f"written to {Path(args.run) / 'evaluation.json'}")


def _fid(args: argparse.Namespace) -> None:
    from vaefast.experiments.scores import compare_paths, score_lines

    result = compare_paths(args.real, args.fake, args.metrics, weights=args.inception_weights, resize=args.resize,
                           stretch=args.stretch, samples=args.n, seed=args.seed, device=args.device)
    print("\n".join(score_lines(result)))


def _reproduce(args: argparse.Namespace) -> None:
    from vaefast.experiments.reproduce import reproduce
    from vaefast.experiments.studies import STUDIES
    from vaefast.experiments.study.cell import Study

    if args.experiment not in STUDIES:
        own = ("part", "data", "preset", "trials", "models", "precision", "inception_weights", "data_option")
        if given := [name for name in own if getattr(args, name) is not None]:
            raise ArgumentError(f"{given[0].replace('_', '-')} was given, which {' and '.join(STUDIES)} alone take; "
                                f"{args.experiment} is one run of fixed settings.")
        reproduce(args.experiment, data_root=args.data_root, out=args.out, seed=args.seed, device=args.device, command=args.line)
        return
    chosen = STUDIES[args.experiment]
    if args.data_option and not chosen.data_options:
        raise ArgumentError(f"data-option was given, and {args.experiment} has its own options for each data set; leave it out.")
    page = chosen.reproduce(args.part or "all", args.data or list(chosen.data_of.get(args.part, chosen.data)), Study(
        Path(args.out), args.data_root, args.preset or "quick", seed=args.seed, device=args.device, command=args.line,
        metrics=_given(weights=args.inception_weights), data_options=dict(args.data_option or ()),
        **_given(trials=args.trials, precision=args.precision)), args.models)
    print(f"done: tables, figures and {page}")


def _info(args: argparse.Namespace) -> None:
    from vaefast.experiments.information import print_information

    print_information()


def _demo(args: argparse.Namespace) -> None:
    from vaefast.experiments.demo import demo

    demo(args.out, seed=args.seed, device=args.device, command=args.line)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (0, 2 for bad input, 130 after Ctrl-C)."""
    from vaefast.training.allocator import keep_freed_memory

    words = sys.argv[1:] if argv is None else argv
    args = _parser().parse_args(words)
    args.line = shlex.join(["vaefast", *words])
    keep_freed_memory()
    try:
        args.call(args)
    except VaefastError as error:
        print(f"vaefast: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = ""
        if args.command == "train" and any((Path(args.out) / name).exists() for name in ("config.json", "trials.json")):
            line = args.line if args.resume else args.line + " --resume"
            hint = f"; everything is saved, go on with: {line}"
        if args.command == "sweep":
            hint = "; what is done is kept, the same command goes on"
        print(f"\nvaefast: stopped{hint}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
