"""Distributed training: the same script, started by torchrun, trains one model in several processes.

    torchrun --standalone --nproc-per-node 2 examples/torchrun_two_processes.py      # 2 CPU processes, or 2 GPUs
    python examples/torchrun_two_processes.py                                        # alone

`fit` joins the processes that torchrun started (NCCL between GPUs, Gloo between CPUs) and divides the data among them. Batches
are those of each process; `sync=True` takes batch statistics and the closed-form gamma over all of them. Rank 0 alone writes the
run folder and shows progress. A worker that `--max-restarts` starts again goes on from the newest checkpoint by itself.
"""

from __future__ import annotations

import argparse

import torch.distributed as dist

import vaefast
from vaefast.training.distributed import leave, world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--batch-size", type=int, default=32, help="of each process (default: 32)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", default="runs/torchrun", help="a folder that is not there yet")
    args = parser.parse_args()

    train = vaefast.data.load("digits")  # each process loads the data, and takes its share of every epoch
    model = vaefast.VAE(train.image_shape, latent_dim=16, nets="residual", gamma="optimal")
    try:
        history = model.fit(train, epochs=args.epochs, batch_size=args.batch_size, lr=1e-3, device=args.device, out=args.out,
                            sync=True)
        if world().writes:  # files and messages are one process's
            print(f"{world().size} processes, backend {dist.get_backend() if world().size > 1 else 'none'}: "
                  f"{history.last('stage1')['step']} steps, loss {history.last('stage1')['loss']:.1f}, model in {args.out}")
    finally:
        leave()


if __name__ == "__main__":
    main()
