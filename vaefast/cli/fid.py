"""`vaefast fid`."""

from __future__ import annotations

import argparse
from typing import Any

from vaefast.cli.arguments import FEATURES, NETWORKS, numbers, words

HELP = "compare two sets of images: FID, Inception score, KID and more"


def add(commands: Any, machine: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    from vaefast.data.decode import ON_BAD
    from vaefast.experiments.scoring.registry import needing
    from vaefast.metrics.inception_input import RESIZES

    fid = commands.add_parser("fid", parents=[machine], help=HELP)
    fid.add_argument("real", metavar="A", help="real images: a folder, zip, tar, .npz, run folder, or a file of statistics")
    fid.add_argument("fake", metavar="B", help="generated images: the same")
    fid.add_argument("--metrics", type=words, metavar="M[,M]",
                     help=f"of {', '.join(needing('network', 'features'))} (default: fid,is,kid; with --features none)")
    fid.add_argument("--inception-weights", metavar="FILE", help="pt_inception-2015-12-05-6726825d.pth (default: torch's cache)")
    fid.add_argument("--resize", choices=RESIZES, default=RESIZES[0], help=f"how images come to 299x299 (default: {RESIZES[0]})")
    fid.add_argument("--stretch", action="store_true", help="stretch generated images to the full range first, as old code did")
    fid.add_argument("--size", type=numbers(int, "height and width"), metavar="N[,N]",
                     help="resize the files' images to NxN, or height,width, first; needed where they differ in size")
    fid.add_argument("--on-bad", choices=ON_BAD, default=ON_BAD[0],
                     help=f"what to do about files that are no sound images (default: {ON_BAD[0]})")
    fid.add_argument("-n", type=int, default=10_000, help="samples to draw from a run folder (default: 10000)")
    fid.add_argument("--networks", metavar="SPEC", help="of a run folder: " + NETWORKS)
    fid.add_argument("--features", metavar="SPEC", help=FEATURES)
    fid.set_defaults(call=_run)


def _run(args: argparse.Namespace) -> None:
    from vaefast.experiments.scoring.scores import compare_paths, score_lines

    size = args.size[0] if args.size is not None and len(args.size) == 1 else args.size
    which = args.metrics or ([] if args.features else ["fid", "is", "kid"])
    result = compare_paths(args.real, args.fake, which, weights=args.inception_weights, resize=args.resize,
                           stretch=args.stretch, samples=args.n, seed=args.seed, device=args.device,
                           size=size, on_bad=args.on_bad, networks=args.networks, features=args.features)
    print("\n".join(score_lines(result)))
