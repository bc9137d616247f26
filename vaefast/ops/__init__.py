"""Fused operations with a PyTorch reference and C++, Triton and CUDA backends.

`backends()` says which backend serves which op, and why not the others; `backend(name)` and the environment
variable VAEFAST_BACKEND force one.
"""

from vaefast.ops._native import build_record
from vaefast.ops._registry import BACKENDS, Served, backend, backends
from vaefast.ops.likelihood import HALF_LOG_2PI, bernoulli_nll, gaussian_nll, laplace_nll, squared_error
from vaefast.ops.moments import mixture_kl, mixture_moments
from vaefast.ops.reparam import reparam_kl

__all__ = ["BACKENDS", "HALF_LOG_2PI", "Served", "backend", "backends", "bernoulli_nll", "build_record", "gaussian_nll",
           "laplace_nll", "mixture_kl", "mixture_moments", "reparam_kl", "squared_error"]  # fmt: skip
