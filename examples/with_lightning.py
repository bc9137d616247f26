"""PyTorch Lightning trains one of vaefast's models: its networks and losses are plain modules.

    pip install lightning
    python examples/with_lightning.py
    python examples/with_lightning.py --epochs 50 --latent-dim 32

Lightning has the loop, the loggers and the checkpoints; vaefast the networks, the fused ops and the loss terms, which are
logged. (Named so that `import lightning` finds the package, and not this file.)
"""

from __future__ import annotations

import argparse

import lightning
import torch
from torch.utils.data import DataLoader

from vaefast import data, models, nets


class LitVAE(lightning.LightningModule):
    """A VAE of images [C, H, W]; `nets.NETS` has others of the same form."""

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        encoder, decoder = (net(image_shape, latent_dim) for net in nets.NETS["residual"])
        self.vae = models.VAE(encoder, decoder, data_shape=image_shape, latent_dim=latent_dim, gamma="optimal")

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        terms = self.vae(batch[0])  # uint8 [B, C, H, W]; nats an image
        self.log_dict({name: terms[name] for name in ("reconstruction", "kl", "gamma")}, prog_bar=True)
        return terms["loss"]

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        self.log("validation/loss", self.vae(batch[0])["loss"], prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.hparams["lr"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--latent-dim", type=int, default=16)
    parser.add_argument("--out", default="runs/lightning", help="folder of Lightning's logs and checkpoints")
    args = parser.parse_args()
    train, test = (data.load("digits", split=split) for split in ("train", "test"))
    lit = LitVAE(train.image_shape, args.latent_dim, 1e-3)
    trainer = lightning.Trainer(max_epochs=args.epochs, default_root_dir=args.out, accelerator="auto", devices=1)
    trainer.fit(lit, DataLoader(train, 64, shuffle=True, drop_last=True), DataLoader(test, 64))
    samples = lit.vae.eval().decode(lit.vae.prior(16))
    loss = float(trainer.callback_metrics["validation/loss"])
    print(f"validation loss {loss:.1f} nats an image; samples {list(samples.shape)}")


if __name__ == "__main__":
    main()
