"""diffusers' AutoencoderKL as the first stage of a Two-Stage VAE: trained on, given a second stage, and saved for diffusers.

    pip install diffusers
    python examples/fine_tune_autoencoder_kl.py                              # a tiny one with random weights: shows the way
    python examples/fine_tune_autoencoder_kl.py --weights FOLDER --size 256  # one that save_pretrained wrote, or a cached name

The loss is the VAE's (a learned noise level, the whole KL), not what it was trained with. The second stage here takes codes flat.
"""

from __future__ import annotations

import argparse

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

import vaefast


class Encoder(nn.Module):
    scale_param = "logvar"

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = nn.Sequential(vae.encoder, vae.quant_conv or nn.Identity())

    def forward(self, x: Tensor) -> Tensor:  # mu and log variance, side by side
        return self.vae(2 * x - 1).flatten(1)


class Decoder(nn.Module):
    output = "linear"  # of no range; pictures of it are clipped to [0, 1]

    def __init__(self, vae: AutoencoderKL, shape: torch.Size) -> None:
        super().__init__()
        self.vae = nn.Sequential(nn.Unflatten(1, shape), vae.post_quant_conv or nn.Identity(), vae.decoder)

    def forward(self, z: Tensor) -> Tensor:
        return (self.vae(z) + 1) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="folder of the autoencoder, or a name in Hugging Face's cache")
    parser.add_argument("--size", type=int, default=32, help="pixels of the digits (default: 32)")
    parser.add_argument("--steps", type=int, default=200, help="of each stage")
    args = parser.parse_args()
    vae = AutoencoderKL.from_pretrained(args.weights, local_files_only=True) if args.weights else AutoencoderKL(
        block_out_channels=(8,), norm_num_groups=4)
    images = vaefast.data.load("digits", size=args.size).images.expand(-1, 3, -1, -1)
    shape = vae.encode(torch.zeros(1, *images.shape[1:])).latent_dist.mean.shape[1:]
    model = vaefast.TwoStageVAE(images.shape[1:], shape.numel(), encoder=Encoder(vae), decoder=Decoder(vae, shape), second="flow")
    model.fit(images, steps=args.steps, batch_size=16, lr=1e-5 if args.weights else 1e-3)
    vae.save_pretrained("fine-tuned")  # the very weights that were trained
    print(f"samples {list(model.sample(4).shape)}; fine-tuned holds an AutoencoderKL with codes of {tuple(shape)}")


if __name__ == "__main__":
    main()
