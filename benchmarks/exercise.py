"""Runs every op, forward and backward, on small odd shapes under one backend, and checks that all is finite.

    python -m benchmarks.exercise cuda      what compute-sanitizer watches, as it slows every launch
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vaefast import ops

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def _both_ways(f: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> list[Tensor]:
    """Outputs of f and the gradients of their sum."""
    inputs = tuple(x.requires_grad_() for x in inputs)
    outputs = f(*inputs)
    return [*outputs, *torch.autograd.grad(sum(y.double().sum() for y in outputs), inputs)]


def reparam_kl(device: str) -> Iterator[list[Tensor]]:
    for dtype in DTYPES:
        for shape in ((1, 1), (5, 3), (7, 64), (3, 513), (2, 5000)):
            for param in ("logvar", "logstd", "softplus"):
                mu, scale = (torch.randn(shape, device=device, dtype=dtype) for _ in range(2))
                yield _both_ways(lambda m, s, p=param: ops.reparam_kl(m, s, param=p), mu, scale)


def mixture_log_density(device: str) -> Iterator[list[Tensor]]:
    shapes = ((1, 1, 1), (7, 5, 3), (70, 70, 64), (2, 9, 513), (3, 1500, 17), (1500, 3, 2), (300, 300, 5))
    for dtype in DTYPES:
        for m, n, k in shapes:
            for per_dimension in (False, True):
                z, mu, scale = (torch.randn(rows, k, device=device, dtype=dtype) for rows in (m, n, n))
                options = {"per_dimension": per_dimension, "exclude_self": m == n > 1}
                yield _both_ways(lambda *x, o=options: (ops.mixture_log_density(*x, **o),), z, mu, scale)


def mmd2(device: str) -> Iterator[list[Tensor]]:
    for dtype in DTYPES:
        for n, m, k in ((2, 3, 1), (65, 70, 64), (33, 5, 513)):
            for kernel in ("imq", "rbf", "laplacian", "energy", "polynomial"):
                x = torch.randn(2, n, k, device=device, dtype=dtype)
                y = torch.randn(2, m, k, device=device, dtype=dtype)
                y[:, 0] = x[:, 0]  # where distances are computed again
                yield _both_ways(lambda a, b, kernel=kernel: (ops.mmd2(a, b, kernel=kernel),), x, y)
            weights = torch.rand(2, n, device=device), None
            yield [ops.mmd2(x, y, weights=weights, estimator="biased"), ops.mmd2(x, y, estimator="block")]


def likelihood(device: str) -> Iterator[list[Tensor]]:
    for dtype in DTYPES:
        for shape in ((1, 1), (5, 3), (300, 7), (3, 513), (2, 9001)):
            data = torch.randint(0, 256, shape, device=device, dtype=torch.uint8)
            for x in (data, torch.rand(shape, device=device, dtype=dtype)):
                x_hat = 0.05 + 0.9 * torch.rand(shape, device=device, dtype=dtype)  # float16 has no 1 / p of a tiny p
                for logits in (False, True):
                    yield _both_ways(lambda h, x=x, g=logits: (ops.bernoulli_nll(x, h, from_logits=g),), x_hat.clone())
                    for nll in (ops.gaussian_nll, ops.laplace_nll):
                        for gamma in ((), shape[1:]):
                            yield _both_ways(
                                lambda h, s, f=nll, x=x, g=logits: (f(x, h, s, from_logits=g),), x_hat.clone(),
                                torch.zeros(gamma, device=device),
                            )  # fmt: skip


def mixture_moments(device: str) -> Iterator[list[Tensor]]:
    for dtype in DTYPES:
        for shape in ((1, 1), (5, 3), (700, 64), (3, 513), (2, 5000)):
            for param in ("logvar", "logstd", "softplus"):
                mu, scale = (torch.randn(shape, device=device, dtype=dtype) for _ in range(2))
                yield _both_ways(lambda m, s, p=param: ops.mixture_moments(m, s, param=p), mu, scale)
            mu = torch.randn(shape, device=device, dtype=dtype)
            yield _both_ways(lambda m: (ops.mixture_kl(m, m.detach(), var="means"),), mu)


EXERCISES = {"likelihood": likelihood, "mixture_log_density": mixture_log_density, "mixture_moments": mixture_moments,
             "mmd2": mmd2, "reparam_kl": reparam_kl}


def main(name: str) -> None:
    device = "cpu" if name in ("cpp", "reference") else "cuda"
    torch.manual_seed(0)
    with ops.backend(name):
        for op, exercise in EXERCISES.items():
            for i, results in enumerate(exercise(device)):
                assert all(torch.isfinite(x).all() for x in results), f"{op}, call {i}"
            print(op, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
