"""One training told to several loggers: Weights & Biases, MLflow, TensorBoard and a CSV file, and to a callback of one's own.

    pip install wandb mlflow tensorboard
    python examples/callbacks_wandb_mlflow.py --wandb my-project --mlflow my-experiment --tensorboard --csv
    python examples/callbacks_wandb_mlflow.py --csv                       # what is not asked for need not be installed

On the command line: `vaefast train vae --data digits --wandb my-project --mlflow my-experiment --tensorboard --csv ...`.
W&B runs offline here unless --online is given; MLflow keeps its runs where MLFLOW_TRACKING_URI says.
"""

from __future__ import annotations

import argparse
from typing import Any

import vaefast
from vaefast.experiments.pictures.snapshots import SampleGrids
from vaefast.training import Callback, Trainer
from vaefast.training.loggers import CSV, MLflow, TensorBoard, WeightsAndBiases


class BitsPerDimension(Callback):
    """Adds an entry to every record; callbacks after it in the list, and metrics.jsonl, have it, too."""

    def log(self, trainer: Trainer, record: dict[str, Any]) -> None:
        pixels = trainer.model.image_shape[0] * trainer.model.image_shape[1] * trainer.model.image_shape[2]
        record["bits_per_dimension"] = record["loss"] / (pixels * 0.693147) + 8  # of 256 levels on [0, 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wandb", metavar="PROJECT")
    parser.add_argument("--online", action="store_true", help="send W&B's records to its server")
    parser.add_argument("--mlflow", metavar="EXPERIMENT")
    parser.add_argument("--tensorboard", action="store_true")
    parser.add_argument("--csv", action="store_true")
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--out", default="runs/callbacks", help="a folder that is not there yet")
    args = parser.parse_args()

    # pictures every epoch, which loggers are shown
    callbacks: list[Callback] = [BitsPerDimension(), SampleGrids(every=1)]
    callbacks += [WeightsAndBiases(args.wandb, mode="online" if args.online else "offline")] if args.wandb else []
    callbacks += [MLflow(args.mlflow)] if args.mlflow else []
    callbacks += [TensorBoard()] if args.tensorboard else []
    callbacks += [CSV()] if args.csv else []

    train = vaefast.data.load("digits")
    model = vaefast.VAE(train.image_shape, latent_dim=16, nets="residual", gamma="optimal")
    history = model.fit(train, epochs=args.epochs, lr=1e-3, log_every=10, callbacks=callbacks, out=args.out)
    print(f"{len(history.records)} records, told to {', '.join(type(c).__name__ for c in callbacks[2:]) or 'nobody'}; {args.out}")


if __name__ == "__main__":
    main()
