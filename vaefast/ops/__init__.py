"""Fused operations with a PyTorch reference and C++, Triton and CUDA backends.

`backends()` says which backend serves which op, and why not the others; `backend(name)` and the environment
variable VAEFAST_BACKEND force one.
"""

from vaefast.ops._native import build_record
from vaefast.ops._registry import BACKENDS, Served, backend, backends
from vaefast.ops.mmd import median_distance, mmd2
from vaefast.ops.mmd_subsets import mmd2_subsets
from vaefast.ops.mmd_test import MMDTest, mmd_test
from vaefast.ops.reparam import reparam_kl

__all__ = [
    "BACKENDS",
    "MMDTest",
    "Served",
    "backend",
    "backends",
    "build_record",
    "median_distance",
    "mmd2",
    "mmd2_subsets",
    "mmd_test",
    "reparam_kl",
]
