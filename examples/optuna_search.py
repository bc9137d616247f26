"""Optuna looks for the latent dimension and learning rate with the lowest loss on held-out images.

    pip install optuna
    python examples/optuna_search.py
    python examples/optuna_search.py --trials 50 --epochs 40 --storage sqlite:///study.db      # goes on where it was stopped

The score is the negative ELBO of a tenth of the training images, after each epoch; a trial that does worse than half of those
before it is pruned. (`vaefast sweep` searches on Ray Tune, on a cluster, too: docs/sweep.md.)
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import optuna

import vaefast
from vaefast.training import Callback, Trainer

SCORE = "validation/loss"


class Pruning(Callback):
    """Tells the trial of every score, and ends the training where it is not worth going on."""
    def __init__(self, trial: optuna.Trial) -> None:
        self.trial, self.pruned, self.best = trial, False, math.inf

    def evaluate(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.best = min(self.best, record[SCORE])
        self.trial.report(record[SCORE], record["step"])
        if self.trial.should_prune():
            self.pruned = True
            trainer.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=float, default=5, help="of each trial, at most (default: 5)")
    parser.add_argument("--storage", help="database of the study, such as sqlite:///study.db (default: memory)")
    args = parser.parse_args()
    images = vaefast.data.load("digits")

    def objective(trial: optuna.Trial) -> float:
        latent_dim, lr = trial.suggest_int("latent_dim", 2, 32, log=True), trial.suggest_float("lr", 1e-4, 1e-2, log=True)
        model, pruning = vaefast.VAE(images.image_shape, latent_dim, nets="residual", gamma="optimal"), Pruning(trial)
        model.fit(images, epochs=args.epochs, lr=lr, validation=0.1, callbacks=[pruning], device="auto", progress=False)
        if pruning.pruned:
            raise optuna.TrialPruned
        return pruning.best

    study = optuna.create_study(study_name="vae", storage=args.storage, load_if_exists=True, direction="minimize")
    study.optimize(objective, n_trials=args.trials)
    print(f"best of {len(study.trials)} trials: {study.best_params}, {study.best_value:.1f} nats an image")


if __name__ == "__main__":
    main()
