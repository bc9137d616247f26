"""`vaefast evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vaefast.cli.arguments import FEATURES, NETWORKS, given, real, words

HELP = "score a trained run"


def add(commands: Any, machine: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    from vaefast.data.decode import ON_BAD
    from vaefast.experiments.scoring.registry import needing

    evaluate = commands.add_parser("evaluate", parents=[machine], help=HELP)
    evaluate.add_argument("run", metavar="RUN", help="run folder")
    evaluate.add_argument("--networks", metavar="SPEC", help=NETWORKS)
    evaluate.add_argument("--data-root", metavar="DIR", help="where the run's data lie now, if they moved")
    evaluate.add_argument("--on-bad", choices=ON_BAD, help="files that are no sound images (default: as in training)")
    evaluate.add_argument("-n", type=int, default=10_000, help="samples of each kind (default: 10000)")
    evaluate.add_argument("--metrics", type=words, metavar="M[,M]",
                          help=f"of {', '.join(needing('features'))} (default: classifier, or "
                               "exemplar where the data have no labels; and fid, is and kid, where the Inception weights are at "
                               "hand)")
    evaluate.add_argument("--guidance", type=real, metavar="X", help="score samples with so much guidance, too: of a flow that "
                          "knows classes; above 1, further to the class")
    evaluate.add_argument("--inception-weights", metavar="FILE", help="for fid, is, kid and prdc (default: torch's cache)")
    evaluate.add_argument("--features", metavar="SPEC", help=FEATURES)
    evaluate.set_defaults(call=_run)


def _run(args: argparse.Namespace) -> None:
    from vaefast.experiments.scoring.evaluate import evaluate
    from vaefast.experiments.scoring.tables import print_scores

    result = evaluate(args.run, data_root=args.data_root, samples=args.n, seed=args.seed, device=args.device, which=args.metrics,
                      weights=args.inception_weights, networks=args.networks, data_options=given(on_bad=args.on_bad),
                      features=args.features, **given(guidance=args.guidance))
    print_scores(result)
    print(f"written to {Path(args.run) / 'evaluation.json'}")
