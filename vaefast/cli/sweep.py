"""`vaefast sweep`."""

from __future__ import annotations

import argparse
from typing import Any

from vaefast.cli.arguments import real

HELP = "search over a model's settings, on one machine or many"


def add(commands: Any, machine: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    from vaefast.cli.signature import add_arguments
    from vaefast.cli.training import add_data_and_budget, add_trainer
    from vaefast.experiments.sweep.job import SCORES
    from vaefast.experiments.sweep.space import SPACES
    from vaefast.training.settings import StageSettings

    sweep = commands.add_parser("sweep", parents=[machine], help=HELP,
                                description="Trains many settings once, then the best one from many seeds. The same command goes "
                                "on with what an earlier one began. Needs the extra: pip install 'vaefast[sweep]'.")
    add_data_and_budget(sweep, ())
    add_arguments(sweep, StageSettings, ["batch_size"], group="stage", defaults={})
    sweep.add_argument("--space", default="wide", metavar="S", help=f"{' or '.join(SPACES)} (Lucic et al. 2018), or a JSON file "
                       "of your own (default: wide)")
    sweep.add_argument("--loss", metavar="L", help="loss of a gan (default: ns)")
    sweep.add_argument("--settings", type=int, default=100, metavar="N", help="how many are tried (default: 100)")
    sweep.add_argument("--seeds", type=int, default=50, metavar="N", help="repeats of the best one (default: 50)")
    sweep.add_argument("--metric", choices=list(SCORES), help="what ranks (default: fid, where the Inception weights are)")
    sweep.add_argument("--inception-weights", metavar="FILE", help="for fid (default: torch's cache)")
    sweep.add_argument("-n", type=int, default=10_000, help="samples that are scored (default: 10000)")
    sweep.add_argument("--early-stop", action="store_true", help="stop trainings that fall behind the others (ASHA)")
    add_trainer(sweep, ["checkpoint_seconds", "log_every"])
    sweep.add_argument("--out", dest="request.out", required=True, metavar="DIR", help="folder for the runs and tables")
    where = sweep.add_argument_group("machines")
    where.add_argument("--address", metavar="A", help="of a Ray cluster, or auto (default: this machine)")
    where.add_argument("--cpus-per-trial", dest="cpus", type=real, default=1.0, metavar="C",
                       help="cores of a training (default: 1)")
    where.add_argument("--gpus-per-trial", dest="gpus", type=real, metavar="G",
                       help="GPUs of a training, such as 0.25 (default: 1, where there are GPUs)")
    where.add_argument("--at-once", type=int, metavar="N", help="most trainings at the same time (default: as many as fit)")
    sweep.set_defaults(call=_run)


def _run(args: argparse.Namespace) -> None:
    from vaefast.cli.training import request_of
    from vaefast.data.array_files import ARRAYS
    from vaefast.errors import ArgumentError
    from vaefast.experiments.sweep.search import Sweep, sweep

    asked = request_of(args)
    if asked.data_name == ARRAYS:
        raise ArgumentError(f"data is {asked.data_root!r}, examples that are no images; a sweep scores images alone.")
    best = sweep(Sweep(
        asked, space=args.space, loss=args.loss, metric=args.metric, samples=args.n, early_stop=args.early_stop,
        settings=args.settings, seeds=args.seeds, weights=args.inception_weights, address=args.address,
        cpus=args.cpus, gpus=args.gpus, at_once=args.at_once))
    print(f"done: {best['name']} is best; in {vars(args)['request.out']}: settings.md, samples.png"
          + (f", best.md ({best['metric']} {best['mean']:.4g} over {best['seeds']} seeds)" if best["seeds"] else ""))
