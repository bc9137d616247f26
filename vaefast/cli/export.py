"""`vaefast export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vaefast.cli.arguments import NETWORKS, words

HELP = "write a model as ONNX, torch.export or safetensors files, and check them"


def add(commands: Any, machine: argparse.ArgumentParser) -> None:
    """Add the command's parser; what is exported is made on the CPU, and no random numbers are drawn that matter."""
    export = commands.add_parser("export", help=HELP)
    export.add_argument("run", metavar="RUN", help="run folder, or saved model")
    export.add_argument("--to", type=words, default=["onnx"], metavar="F[,F]",
                        help="of onnx (default), torch-export, safetensors (the whole model)")
    export.add_argument("--what", type=words, metavar="P[,P]",
                        help="of encoder, decoder, second-stage, sampler (default: all that the model has)")
    export.add_argument("--out", required=True, metavar="DIR", help="new folder for the files and export.json")
    export.add_argument("--steps", type=int, metavar="N",
                        help="of the solver of a second stage that is a flow (default: as in sampling)")
    export.add_argument("--networks", metavar="SPEC", help=NETWORKS)
    export.set_defaults(call=_run)


def _run(args: argparse.Namespace) -> None:
    from vaefast.exporting import export

    done = export(args.run, args.out, to=args.to, what=args.what, steps=args.steps, networks=args.networks)
    for part in done.parts:
        takes, gives = (", ".join(f"{v['name']} [{', '.join(map(str, v['shape']))}]" for v in part[side])
                        for side in ("inputs", "outputs"))
        print(f"{part['file']}: {takes} -> {gives}; differs from the model by at most "
              f"{part['check']['largest_difference']:.1e}" if takes else f"{part['file']}: the whole model, for vaefast.load")
    for name, why in done.left_out.items():
        print(f"no {name}: {why}")
    if done.source is not None:
        print(f"of {done.source}")
    print(f"written to {Path(args.out) / 'export.json'}")
