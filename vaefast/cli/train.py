"""`vaefast train`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from vaefast.cli.arguments import NETWORKS, add_training, as_declared, by_name, data_options, given, number, option, real

HELP = "train a model into a run folder"


def _gamma(text: str) -> str | float:
    return text if text in ("learned", "optimal") else real(text)


_gamma.expected = "learned, optimal or a number"  # type: ignore[attr-defined]


def add(commands: Any, machine: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    from vaefast.api.adversary import ADVERSARIES
    from vaefast.api.general import PIXEL_NETS
    from vaefast.api.sequential import INFERENCES, VARIANTS
    from vaefast.models import FAMILIES, REGULARIZERS
    from vaefast.models.gan_losses import LOSSES
    from vaefast.models.gradient_penalty import PENALTIES
    from vaefast.models.vae import LIKELIHOODS
    from vaefast.nets import FLOWS, NETS
    from vaefast.nets.biggan.plan import ARCHS
    from vaefast.training.device import CHANNELS_LAST
    from vaefast.training.iteration import MODES
    from vaefast.training.schedule import SCHEDULES

    train = commands.add_parser("train", parents=[machine], help=HELP)
    add_training(train)
    train.add_argument("--data-root", metavar="DIR", help="folder of the data set's files (digits needs none)")
    train.add_argument("--lr", type=real, help="learning rate, in all stages")
    train.add_argument("--latent-dim", type=int, metavar="K", help="latent dimensions")
    train.add_argument("--gamma", type=_gamma, metavar="G", help="decoder noise: learned, optimal or a number")
    train.add_argument("--likelihood", choices=LIKELIHOODS,
                       help="of the images: bernoulli is cross-entropy, squared the squared error alone")
    train.add_argument("--nets", choices=[*NETS, *PIXEL_NETS], help="networks of images (pixelcnn, pixelcnn++: general-vae)")
    train.add_argument("--flow", choices=list(FLOWS), help="normalizing flow after the encoder (vae, vae-flow)")
    train.add_argument("--family", choices=FAMILIES, help="of pixels given a code (general-vae and its members)")
    train.add_argument("--regularizer", choices=REGULARIZERS, help="of the codes (general-vae)")
    train.add_argument("--beta", type=real, metavar="B",
                       help="weight of the KL (beta-vae, vae), or of the total correlation (tc-vae)")
    train.add_argument("--alpha", type=real, metavar="A", help="of info-vae: 1 - alpha is the weight of the KL")
    train.add_argument("--lambda", dest="lambda_", type=real, metavar="L",
                       help="weight of the penalty (wae-mmd, wae-gan, info-vae, gan)")
    train.add_argument("--loss", choices=list(LOSSES), help="what the networks of a gan or biggan minimise (default: ns)")
    train.add_argument("--penalty", choices=list(PENALTIES), help="gradient penalty of a gan (default: that of its loss)")
    train.add_argument("--disc-iters", type=int, metavar="N", help="discriminator steps a generator step (gan)")
    train.add_argument("--arch", choices=ARCHS, help="blocks of biggan and biggan-vae")
    train.add_argument("--ch", type=int, metavar="N", help="channels of biggan and biggan-vae at the image's own size")
    train.add_argument("--variant", choices=list(VARIANTS), help="network of the sequential model")
    train.add_argument("--inference", choices=INFERENCES, help="of the sequential model (default: learned)")
    train.add_argument("--chain-steps", type=int, metavar="T", help="steps of the sequential model's chain")
    train.add_argument("--width", type=number, metavar="W",
                       help="channels of the gamix networks, or factor of the sequential model's widths")
    train.add_argument("--adversary", choices=ADVERSARIES,
                       help="a discriminator that reconstructions have to pass (vae, two-stage, biggan-vae; gamix has it anyway)")
    train.add_argument("--model-option", type=option, action="append", default=[], metavar="NAME=VALUE",
                       help="any other argument of the model, such as spectral_norm=true of gan, or net_options.width=32; may be "
                       "given several times")
    train.add_argument("--networks", metavar="SPEC", help=NETWORKS)
    train.add_argument("--network-option", type=option, action="append", default=[], metavar="NAME=VALUE",
                       help="argument of that function; may be given several times")
    train.add_argument("--out", required=True, metavar="RUN", help="run folder to make")
    train.add_argument("--resume", nargs="?", const=True, default=False, choices=["auto"], metavar="auto",
                       help="go on with the run in RUN, for more epochs, too; --resume auto starts it if there is none")
    train.add_argument("--start-from", metavar="PATH", help="weights to begin with: a run folder, or RUN/checkpoints/last-good")
    train.add_argument("--schedule", choices=SCHEDULES, help="learning-rate schedule, in all stages")
    train.add_argument("--beta1", type=real, metavar="X", help="of Adam, in all stages")
    train.add_argument("--clip-norm", type=real, metavar="X", help="largest norm of the gradient, in all stages")
    train.add_argument("--ema", type=real, metavar="D", help="decay of a moving average of the weights, in all stages")
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
    watching.add_argument("--sample-every", type=real, metavar="E", help="samples as a picture every E epochs: RUN/samples")
    watching.add_argument("--score-every", type=real, metavar="E",
                          help="score samples every E epochs (FD-classifier, or without labels FD-exemplar) and keep the best")
    watching.add_argument("--keep-best", action="store_true", help="end with the best weights that --score-every found")
    watching.add_argument("--mi-every", type=real, metavar="E",
                          help="log the mutual information of images and codes, and its ceiling log N, every E epochs")
    watching.add_argument("--checkpoint-seconds", type=real, default=120.0, metavar="S",
                          help="seconds between checkpoints (default: 120)")
    watching.add_argument("--tensorboard", action="store_true", help="write RUN/tensorboard, too")
    watching.add_argument("--wandb", metavar="PROJECT", help="send records to this Weights & Biases project, too")
    train.set_defaults(call=_run)


def _run(args: argparse.Namespace) -> None:
    from vaefast.experiments.request import Request
    from vaefast.experiments.run import train
    from vaefast.experiments.trials import run_trials
    from vaefast.training.distributed import leave, world

    stages = given(batch_size=args.batch_size, lr=args.lr, schedule=args.schedule, clip_norm=args.clip_norm, ema=args.ema,
                    accumulate=args.accumulate, betas=None if args.beta1 is None else (args.beta1, 0.999), flip=args.flip)
    asked = Request(
        args.model, data_name=args.data, data_root=args.data_root, out=args.out, preset_name=args.preset, epochs=args.epochs,
        steps=args.steps, stage_overrides=stages, seed=args.seed, device=args.device, precision=args.precision,
        resume=args.resume,
        model_overrides=as_declared(args.model, {
            **given(latent_dim=args.latent_dim, gamma=args.gamma, likelihood=args.likelihood, nets=args.nets, flow=args.flow,
                     lambda_=args.lambda_, family=args.family, regularizer=args.regularizer, beta=args.beta, alpha=args.alpha,
                     loss=args.loss, penalty=args.penalty, disc_iters=args.disc_iters, arch=args.arch, ch=args.ch,
                     variant=args.variant, width=args.width, steps=args.chain_steps, inference=args.inference,
                     adversary=args.adversary, networks=args.networks),
            **given(network_options=by_name(args.network_option) or None),
            **by_name(args.model_option)}),
        data_options=data_options(args), command=args.line,
        sample_every=args.sample_every, score_every=args.score_every, keep_best=args.keep_best, mi_every=args.mi_every,
        tensorboard=args.tensorboard, wandb=args.wandb, start_from=args.start_from,
        trainer={"compile": args.compile, "channels_last": args.channels_last, "sync": args.sync, "log_every": args.log_every,
                 "checkpoint_seconds": args.checkpoint_seconds})
    try:
        if args.trials is not None:
            run_trials(asked, args.trials, at_once=args.at_once)
            print(f"done: {args.out} holds {args.trials} trials; their mean and spread are in {Path(args.out) / 'trials.json'}")
            return
        train(asked)
        if world().writes:
            own = ["--networks", args.networks] if args.networks else []
            print(f"done: {args.out} holds the model, samples and report.html; score it with: "
                  + shlex.join(["vaefast", "evaluate", args.out, *own]))
    finally:
        leave()
