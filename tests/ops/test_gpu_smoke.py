"""Every kernel once on a GPU, forward and backward, against the reference in float64: whether a machine works at all, in
seconds. The other files' GPU tests go through dtypes, shapes and options."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import vaefast.ops as ops


def rand(*shape: int) -> Tensor:
    return torch.randn(shape)


def data(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


# name -> a function of the inputs, and the inputs; those of floats get a gradient
CASES: dict[str, tuple[Callable[..., Tensor | tuple[Tensor, ...]], Callable[[], tuple[Tensor, ...]]]] = {
    "reparam_kl": (lambda m, a: ops.reparam_kl(m, a, seed=5), lambda: (rand(37, 65), rand(37, 65))),
    "reparameterize": (lambda m, a: ops.reparameterize(m, a, seed=5, n_samples=3), lambda: (rand(37, 65), rand(37, 65))),
    "gaussian_nll": (lambda h, g, x: ops.gaussian_nll(x, h, g, from_logits=True),
                     lambda: (rand(9, 3, 17, 17), rand(3, 1, 1), data(9, 3, 17, 17))),
    "laplace_nll": (lambda h, g, x: ops.laplace_nll(x, h, g), lambda: (rand(9, 700), rand(), data(9, 700))),
    "bernoulli_nll": (lambda h, x: ops.bernoulli_nll(x, h, from_logits=True), lambda: (rand(9, 700), data(9, 700))),
    "mixture_moments": (lambda m, a: ops.mixture_moments(m, a), lambda: (rand(300, 65), rand(300, 65))),
    "mixture_kl": (lambda m, a: ops.mixture_kl(m, a), lambda: (rand(300, 65), rand(300, 65))),
    "mixture_log_density": (ops.mixture_log_density, lambda: (rand(130, 7), rand(90, 7), rand(90, 7))),
    "mixture_log_density of each dimension": (lambda *x: ops.mixture_log_density(*x, per_dimension=True),
                                              lambda: (rand(130, 7), rand(90, 7), rand(90, 7))),
    "mmd2": (ops.mmd2, lambda: (rand(130, 20), 0.7 * rand(90, 20) + 0.4)),
    "mmd2 of wide rows": (ops.mmd2, lambda: (rand(130, 150), 0.7 * rand(90, 150) + 0.4)),
    "mmd2, polynomial": (lambda x, y: ops.mmd2(x, y, kernel="polynomial"), lambda: (rand(130, 20), 0.7 * rand(90, 20) + 0.4)),
}


def both_ways(f: Callable, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Outputs of f, and the gradients of their sum to the inputs that have one."""
    inputs = tuple(x.detach().requires_grad_(x.is_floating_point()) for x in inputs)
    outputs = f(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    wanted = [x for x in inputs if x.requires_grad]
    return [*outputs, *torch.autograd.grad(sum(y.sum() for y in outputs), wanted)]


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_equals_the_reference(gpu_backend, close, name):
    f, make = CASES[name]
    inputs = make()
    got = both_ways(f, tuple(x.cuda() for x in inputs))
    with ops.backend("reference"):
        expected = both_ways(f, tuple(x.double() if x.is_floating_point() else x for x in inputs))
    for x, y in zip(got, expected, strict=True):
        close(x.cpu(), y, 2e-5)
