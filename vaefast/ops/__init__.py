"""Fused operations with a PyTorch reference and C++, Triton and CUDA backends.

`backends()` says which backend serves which op, and why not the others; `backend(name)` and the environment
variable VAEFAST_BACKEND force one.
"""

from vaefast.ops._native import build_record
from vaefast.ops._registry import BACKENDS, Served, backend, backends
from vaefast.ops._shard import row_offset, set_rank
from vaefast.ops.aggregate_posterior import (
    ElboSurgery,
    dimension_wise_kl,
    elbo_surgery,
    marginal_kl,
    mutual_information,
    total_correlation,
)
from vaefast.ops.divergence import mixture_kl
from vaefast.ops.likelihood import HALF_LOG_2PI, bernoulli_nll, gaussian_nll, laplace_nll, squared_error
from vaefast.ops.mixture_density import mixture_log_density
from vaefast.ops.mmd import median_distance, mmd2
from vaefast.ops.mmd_subsets import mmd2_subsets
from vaefast.ops.moments import mixture_moments
from vaefast.ops.permutations import MMDTest, mmd_test
from vaefast.ops.reparam import reparam_kl, reparameterize

__all__ = ["BACKENDS", "HALF_LOG_2PI", "ElboSurgery", "MMDTest", "Served", "backend", "backends", "bernoulli_nll",
           "build_record", "dimension_wise_kl", "elbo_surgery", "gaussian_nll", "laplace_nll", "marginal_kl", "median_distance",
           "mixture_kl", "mixture_log_density", "mixture_moments", "mmd2", "mmd2_subsets", "mmd_test", "mutual_information",
           "reparam_kl", "reparameterize", "row_offset", "set_rank", "squared_error", "total_correlation"]
