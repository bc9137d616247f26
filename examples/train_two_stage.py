"""A training script of one's own: a two-stage VAE on a folder of images, or on the digits that ship with the package.

    python examples/train_two_stage.py                                   # digits, about a minute on 2 cores
    python examples/train_two_stage.py --folder photos --size 64 --epochs 100 --out runs/photos

It trains, draws samples into samples.png, scores them beside real images, and saves the model, which `vaefast.load` reads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import vaefast
from vaefast.experiments.pictures.grids import image_grid, save_png


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="images of any kind: a folder, zip or tar (default: the digits)")
    parser.add_argument("--size", type=int, default=32, help="pixels that images are resized to (default: 32)")
    parser.add_argument("--latent-dim", type=int, default=16)
    parser.add_argument("--epochs", type=float, default=20, help="of stage 1 (default: 20)")
    parser.add_argument("--samples", type=int, default=355, help="that are scored (default: 355)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("runs/two-stage"), help="a folder that is not there yet")
    args = parser.parse_args()

    name = "folder" if args.folder else "digits"
    train, test = (vaefast.data.load(name, args.folder, split=split, size=args.size) for split in ("train", "test"))
    print(train)

    # small residual networks, and a mixture of Gaussians for the second stage: what a CPU trains in minutes
    model = vaefast.TwoStageVAE(train.image_shape, args.latent_dim, nets="residual", gamma="optimal", second="mixture")
    model.fit(train, epochs=args.epochs, batch_size=64, lr=1e-3, schedule="cosine", device=args.device, out=args.out)

    save_png(args.out / "samples.png", image_grid(model.sample(64).cpu()))
    # without metrics= also in the features of a network trained on the data: FD-classifier, or FD-exemplar where no labels are
    scores = vaefast.evaluate(model, test, train=train, samples=args.samples, metrics=["sliced", "sharpness"], out=args.out)
    for sampler in ("stage1", "stage2", "test_vs_train"):
        print(f"{sampler:14} sliced Wasserstein {scores[f'sliced_wasserstein/{sampler}']:.4f}")

    again = vaefast.load(args.out)  # `fit` has saved it there; model.save(folder) does so anywhere
    print(f"saved: {args.out} holds {type(again).__name__} {again.config()['image_shape']}, samples.png and report.html")


if __name__ == "__main__":
    main()
