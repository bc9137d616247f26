"""Fused operations with a PyTorch reference and C++, Triton and CUDA backends.

`backends()` says which backend serves which op, and why not the others; `backend(name)` and the environment
variable VAEFAST_BACKEND force one.
"""

from vaefast.ops._native import build_record
from vaefast.ops._registry import BACKENDS, Served, backend, backends
from vaefast.ops.aggregate_posterior import (
    ElboSurgery,
    dimension_wise_kl,
    elbo_surgery,
    marginal_kl,
    mutual_information,
    total_correlation,
)
from vaefast.ops.mixture_density import mixture_log_density
from vaefast.ops.reparam import reparam_kl

__all__ = [
    "BACKENDS", "ElboSurgery", "Served", "backend", "backends", "build_record", "dimension_wise_kl", "elbo_surgery",
    "marginal_kl", "mixture_log_density", "mutual_information", "reparam_kl", "total_correlation",
]  # fmt: skip
