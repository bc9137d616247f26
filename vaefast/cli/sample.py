"""`vaefast sample`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vaefast.cli.arguments import NETWORKS, numbers, real

HELP = "draw images, or other examples, from a trained run"


def add(commands: Any, machine: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    from vaefast.experiments.scoring.draws import SAMPLERS

    sample = commands.add_parser("sample", parents=[machine], help=HELP)
    sample.add_argument("run", metavar="RUN", help="run folder")
    sample.add_argument("-n", type=int, default=100, help="how many (default: 100)")
    sample.add_argument("--out", required=True, metavar="FILE",
                        help=".npz: all of them, and a grid of the first 100 images beside it as .png (of other data curves, "
                        "slices or points); .png: the picture alone")
    where = sample.add_mutually_exclusive_group()
    where.add_argument("--sampler", choices=SAMPLERS, help="where codes come from: the prior, a Gaussian mixture fitted to the "
                       "codes of the run's training images, or the second stage (default, where there is one)")
    where.add_argument("--stage", type=int, choices=(1, 2), help="1 for the prior, 2 for the second stage")
    where.add_argument("--chain", type=int, metavar="STEPS",
                       help="instead: images after so many transitions z ~ q(z|x), x ~ p(x|z)")
    sample.add_argument("--condition", type=numbers(int, "several"), metavar="N[,N]",
                        help="classes to draw, in turn (of a model that was trained with --condition labels)")
    sample.add_argument("--guidance", type=real, metavar="X", help="of a flow that knows classes: above 1, further to the class")
    sample.add_argument("--start", choices=("noise", "data"), help="of chains: uniform noise (default), or training images")
    sample.add_argument("--pixel-noise", action="store_true", help="draw the pixels of chains, too, not their means alone")
    sample.add_argument("--networks", metavar="SPEC", help=NETWORKS)
    sample.add_argument("--data-root", metavar="DIR", help="for the mixture and chains of data: where the run's data lie now, if "
                        "they moved")
    sample.set_defaults(call=_run)


def _run(args: argparse.Namespace) -> None:
    from vaefast.experiments.sampling import sample_to_file

    sampler = args.sampler or {1: "prior", 2: "second", None: None}[args.stage]
    for path in sample_to_file(args.run, Path(args.out), args.n, sampler=sampler, data_root=args.data_root, seed=args.seed,
                               device=args.device, chain=args.chain, start=args.start, pixel_noise=args.pixel_noise,
                               networks=args.networks, condition=args.condition, guidance=args.guidance):
        print(path)
