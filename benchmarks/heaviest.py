"""The heaviest kernels, each launched once, for a profiler that is told where to begin: `python -m benchmarks.heaviest BACKEND`.

    ncu --profile-from-start off --section SpeedOfLight --section WarpStateStats python -m benchmarks.heaviest triton
"""

from __future__ import annotations

import sys

import torch

from benchmarks import likelihood, mixture_density, mixture_moments, mmd, reparam_kl
from vaefast import ops

CASES = {
    "reparam_kl": lambda: reparam_kl.case(2**24, "cuda"),
    "gaussian_nll": lambda: likelihood.case(1024, "cuda"),
    "mixture_moments": lambda: mixture_moments.case(60_000, "cuda"),
    "mixture_log_density": lambda: mixture_density.GPU_CASES[next(n for n in mixture_density.GPU_CASES if "10,000" in n)]("cuda"),
    "mmd2": lambda: mmd.case(10_000, "cuda"),
}


def main(backend: str) -> None:
    with ops.backend(backend):
        for name, make in CASES.items():
            step = make().steps["vaefast"]
            for _ in range(2):
                step()
            torch.cuda.synchronize()
            print(name, flush=True)
            torch.cuda.profiler.start()
            step()
            torch.cuda.synchronize()
            torch.cuda.profiler.stop()


if __name__ == "__main__":
    main(sys.argv[1])
