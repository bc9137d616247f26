"""`vaefast train`."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HELP = "train a model into a run folder"


def add(commands: Any, machine: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Add the command's parser, with the arguments of the model that the words name."""
    from vaefast.cli.training import add_data_and_budget, add_model, add_request, add_trainer, flags_of_models, kind_of
    from vaefast.experiments.presets import PRESETS

    kind = kind_of(words)
    train = commands.add_parser(
        "train", parents=[machine], help=HELP, usage=f"vaefast train {kind or 'MODEL'} --data NAME --out RUN [options]",
        description=None if kind else "vaefast train MODEL --help tells of a model's own arguments, with the preset's defaults.")
    train._negative_number_matcher = re.compile(r"^-\.?\d[^a-z]*$")  # "-1,1" is a value
    next(action for action in train._actions if action.dest == "seed").default = argparse.SUPPRESS  # a --config may say it
    add_data_and_budget(train, words)
    train.add_argument("--config", metavar="FILE", help="a run's config.json, or a part of one: what it says stands in the place "
                       "of the preset's, and what this command line says in the place of that")
    train.add_argument("--out", dest="request.out", required=True, metavar="RUN", help="run folder to make")
    train.add_argument("--resume", dest="request.resume", nargs="?", const=True, default=argparse.SUPPRESS, choices=["auto"],
                       metavar="auto", help="go on with the run in RUN, for more epochs, too; --resume auto starts it if there "
                       "is none")
    train.add_argument("--dry-run", action="store_true", help="say what would be trained, and how long it would take, and stop")
    train.add_argument("--trials", type=int, metavar="N", help="train N times from derived seeds: RUN/trial-01, ..., trials.json")
    train.add_argument("--at-once", type=int, metavar="N", help="trials that train at the same time (default: 1)")
    add_request(train, ["start_from"])
    add_trainer(train, ["compile", "channels_last", "deterministic", "sync"])
    watching = train.add_argument_group("to watch it")
    add_request(watching, ["sample_every", "score_every", "validation", "keep_best", "patience", "mi_every", "tensorboard",
                           "wandb", "mlflow", "csv"])
    add_trainer(watching, ["log_every", "checkpoint_seconds"])
    if kind in PRESETS:
        add_model(train, kind, words)
    train.strangers = frozenset(flags_of_models())
    train.set_defaults(call=_run)


def refuse(word: str, kind: str) -> None:
    """`ArgumentError` for a flag that other models have."""
    from vaefast.cli.training import flags_of_models
    from vaefast.errors import ArgumentError

    if word.partition("=")[0] in flags_of_models():
        raise ArgumentError(f"{word.partition('=')[0]} was given; {kind} has no such setting.")


def _run(args: argparse.Namespace) -> None:
    from vaefast.cli.training import request_of
    from vaefast.errors import ArgumentError
    from vaefast.experiments.dry_run import dry_run
    from vaefast.experiments.run import train
    from vaefast.experiments.trials import run_trials
    from vaefast.training.distributed import leave, world

    asked = request_of(args)
    if args.at_once is not None and args.trials is None:
        raise ArgumentError(f"at_once is {args.at_once}, which is of trials; give --trials, or leave it out.")
    try:
        if args.dry_run:
            dry_run(asked, trials=args.trials or 1)
        elif args.trials is not None:
            summary = run_trials(asked, args.trials, at_once=args.at_once or 1)
            print(f"done: {asked.out} holds {summary['trials']} trials; their mean and spread are in "
                  f"{Path(asked.out) / 'trials.json'}")
        else:
            train(asked)
            if world().writes:
                networks = ["--networks", spec] if (spec := asked.model_overrides.get("networks")) else []
                print(f"done: {asked.out} holds the model, samples and report.html; score it with: "
                      + shlex.join(["vaefast", "evaluate", asked.out, *networks]))
    finally:
        leave()
