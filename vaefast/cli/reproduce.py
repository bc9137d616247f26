"""`vaefast reproduce`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vaefast.cli.arguments import given, option, words
from vaefast.errors import ArgumentError

HELP = "run a published or documented experiment"


def add(commands: Any, machine: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    from vaefast.experiments.papers.catalog import PAPERS
    from vaefast.experiments.reproduce import EXPERIMENTS
    from vaefast.experiments.theory.job import PRESETS
    from vaefast.training.device import PRECISIONS

    reproduce = commands.add_parser("reproduce", parents=[machine], help=HELP,
                                    description="The same command goes on with what an earlier one began.")
    reproduce.add_argument("experiment", metavar="NAME", choices=[*PAPERS, *sorted(EXPERIMENTS)],
                           help="dai-wipf: tables and figures of Dai & Wipf 2019; gamix: the terms of GAMIX-VAE, Rivera "
                           "2023; hinrichsen: BigGANs against VAEs of their "
                           "parts, Hinrichsen 2023; zhao: figures of Zhao, Song & Ermon 2017; or one run: "
                           + ", ".join(sorted(EXPERIMENTS)))
    reproduce.add_argument("part", nargs="?", metavar="PART",
                           help="; ".join(f"of {name}: {', '.join(s.parts)}" for name, s in PAPERS.items()) + "; or all "
                           "(default)")
    reproduce.add_argument("--data", type=words, metavar="NAME[,NAME]", help="data sets ("
                           + "; ".join(f"{name}: {','.join(s.data)}" for name, s in PAPERS.items()) + ")")
    reproduce.add_argument("--data-root", metavar="DIR", required=True, help="folder of the data sets' files")
    reproduce.add_argument("--data-option", type=option, action="append", metavar="NAME=VALUE",
                           help="of gamix, hinrichsen and zhao: option of the data sets' loaders, such as classes=1,7; may be "
                           "repeated")
    reproduce.add_argument("--preset", choices=PRESETS, help="of a paper (default: quick)")
    reproduce.add_argument("--share", type=float, metavar="S",
                           help="of a paper: share of the preset's epochs and steps to train; 2 is twice as many (default: 1)")
    reproduce.add_argument("--trials", type=int, metavar="N", help="seeds of every cell of a paper (default: 1)")
    reproduce.add_argument("--models", type=words, metavar="ROW[,ROW]",
                           help="rows of a paper's tables, such as two-stage, gan-deep")
    reproduce.add_argument("--precision", choices=PRECISIONS, help="of a paper: precision of the networks (default: auto)")
    reproduce.add_argument("--inception-weights", metavar="FILE", help="of a paper (default: torch's cache)")
    reproduce.add_argument("--out", required=True, metavar="DIR", help="folder for the runs, tables and the report")
    reproduce.set_defaults(call=_run)


def _run(args: argparse.Namespace) -> None:
    from vaefast.experiments.papers.catalog import PAPERS
    from vaefast.experiments.papers.plan import Study
    from vaefast.experiments.papers.study import run
    from vaefast.experiments.reproduce import reproduce

    if args.experiment not in PAPERS:
        of_papers = ("part", "data", "preset", "share", "trials", "models", "precision", "inception_weights", "data_option")
        if unfit := [name for name in of_papers if getattr(args, name) is not None]:
            raise ArgumentError(f"{unfit[0].replace('_', '-')} was given, which {' and '.join(PAPERS)} alone take; "
                                f"{args.experiment} is one run of fixed settings.")
        reproduce(args.experiment, data_root=args.data_root, out=args.out, seed=args.seed, device=args.device, command=args.line)
        return
    chosen = PAPERS[args.experiment]
    if args.data_option and not chosen.takes_data_options:
        raise ArgumentError(f"data-option was given, and {args.experiment} has its own options for each data set; leave it out.")
    page = run(chosen, args.part or "all", args.data, Study(
        Path(args.out), args.data_root, args.preset or "quick", seed=args.seed, device=args.device, command=args.line,
        metrics=given(weights=args.inception_weights), data_options=dict(args.data_option or ()),
        **given(share=args.share, trials=args.trials, precision=args.precision)), args.models)
    print(f"done: tables, figures and {page}")
