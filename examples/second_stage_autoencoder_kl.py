"""A second stage for somebody else's autoencoder: diffusers' AutoencoderKL, whose codes a flow learns and draws anew.

    pip install diffusers
    python examples/second_stage_autoencoder_kl.py                              # a tiny one with random weights: shows the way
    python examples/second_stage_autoencoder_kl.py --weights FOLDER --size 256  # one that save_pretrained wrote, or a cached name

The second stage never sees an image: it is fitted to the posteriors (mu, std) of the encoder, of which each batch draws afresh.
"""

from __future__ import annotations

import argparse

import torch
from diffusers import AutoencoderKL

import vaefast
from vaefast.experiments.pictures.grids import image_grid, save_png


def autoencoder(weights: str | None) -> AutoencoderKL:
    if weights:
        return AutoencoderKL.from_pretrained(weights, local_files_only=True)
    return AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                         block_out_channels=(8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="folder of the autoencoder, or a name in Hugging Face's cache")
    parser.add_argument("--folder", help="images (default: the digits)")
    parser.add_argument("--size", type=int, default=32, help="pixels that images are resized to (default: 32)")
    parser.add_argument("--steps", type=int, default=500, help="of the flow (default: 500)")
    parser.add_argument("--out", default="second-stage-samples.png")
    args = parser.parse_args()
    images = vaefast.data.load("folder" if args.folder else "digits", args.folder, size=args.size).images
    vae = autoencoder(args.weights).eval()

    mu, std = [], []
    with torch.no_grad():
        for batch in images.split(64):
            x = vaefast.data.to_float(batch).expand(-1, 3, -1, -1) * 2 - 1  # three channels in [-1, 1]
            posterior = vae.encode(x).latent_dist
            mu, std = [*mu, posterior.mean], [*std, posterior.std]
    means, deviations = torch.cat(mu), torch.cat(std)
    shape = tuple(means.shape[1:])  # maps [C, h, w], which the flow moves by convolutions; other kinds take them flat

    second = vaefast.SecondStage(shape, kind="flow", width=32, depth=1)
    second.fit((means.flatten(1), deviations.flatten(1)), steps=args.steps, batch_size=64, device="auto")
    with torch.no_grad():
        samples = vae.decode(second.sample(16).cpu().unflatten(1, shape)).sample
    save_png(args.out, image_grid((samples + 1).clamp(0, 2) / 2))
    print(f"{len(means)} posteriors of {shape}; 16 new images {list(samples.shape[1:])} in {args.out}")


if __name__ == "__main__":
    main()
