"""Compiles the Triton kernels of one op to sm_80 and sm_90 code, which needs no GPU: compile_triton.py OP.

test_triton.py starts it, because a process that interprets kernels cannot compile them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from vaefast.ops import _native


def compile(kernel, arch: int, types: Mapping[str, str | tuple[str, ...]], **constants: object) -> None:
    """Compile `kernel`: `types` maps argument names to Triton types ("*fp32", "fp32"); others are int64 ("i64")."""
    signature = {n: "constexpr" if n in constants else types.get(n, "i64") for n in kernel.arg_names}
    source = ASTSource(kernel, signature, {(kernel.arg_names.index(n),): v for n, v in constants.items()})
    code = triton.compile(source, target=GPUTarget("cuda", arch, 32)).asm
    assert code["ptx"] and code["cubin"]


def reparam_kl() -> None:
    k = _native.kernels("reparam_kl")
    tensors = ("grad_z_ptr", "mu_ptr", "scale_ptr", "z_ptr", "grad_mu_ptr", "grad_scale_ptr")
    for element, compute, param, aligned, arch in [
        ("fp32", "fp32", 0, True, 80), ("bf16", "fp32", 2, False, 80), ("bf16", "fp32", 0, True, 90),
        ("fp64", "fp64", 2, True, 90),
    ]:  # fmt: skip
        types = {n: "*" + element for n in tensors}
        types |= {"seed_ptr": "*i64", "kl_ptr": "*" + compute, "grad_kl_ptr": "*" + compute}
        f = tl.float64 if compute == "fp64" else tl.float32
        constants = {"PARAM": param, "F": f, "ALIGNED": aligned, "ROWS": 16, "GROUPS": 16}
        compile(k.forward_kernel, arch, types, HAS_KL=True, **constants)
        compile(k.backward_kernel, arch, types, HAS_Z=True, HAS_KL=True, TO_MU=True, **constants)
        compile(k.forward_kernel, arch, types, HAS_KL=False, draws=1, **constants)
        compile(k.backward_kernel, arch, types, HAS_Z=True, HAS_KL=False, TO_MU=False, draws=1, **constants)


def mixture_density() -> None:
    k = _native.kernels("mixture_density")
    for element, joint, arch in [("fp32", True, 80), ("fp32", False, 90), ("fp64", True, 90)]:
        f = tl.float64 if element == "fp64" else tl.float32
        constants = {"JOINT": joint, "EXCLUDE": joint, "F": f, "BM": 32, "BN": 64 if element == "fp32" else 32}
        for kernel in (k.forward_kernel, k.grad_rows_kernel, k.grad_components_kernel):
            types = {n: "*" + element for n in kernel.arg_names if n.endswith("_ptr")}
            compile(kernel, arch, types, **constants)


def mmd() -> None:
    k = _native.kernels("mmd")
    tensors = ("z_ptr", "e_ptr", "w_ptr", "out_ptr")
    for element, kernel, count, in_registers, arch in [
        ("fp32", 0, 7, True, 80), ("fp32", 0, 7, True, 90), ("fp32", 4, 3, False, 90), ("fp64", 2, 2, True, 90),
    ]:  # fmt: skip
        types = {n: "*" + element for n in tensors} | {n: "*fp64" for n in ("factors_ptr", "offset_ptr", "value_ptr", "rows_ptr")}
        types |= {n: ("fp32",) * (1 if kernel == 4 else count) for n in ("high", "low")}
        double = element == "fp64"
        compile(
            k.forward_kernel, arch, types, COUNT=count, KERNEL=kernel, PAIRED=False, TO_X=True, TO_Y=not double,
            IN_REGISTERS=in_registers, F=tl.float64 if double else tl.float32, T=32 if double else 64, DEPTH=32, COLUMNS=64,
        )  # fmt: skip


def error_sums() -> None:
    k = _native.kernels("error_sums")
    for data, element, compute, kind, logits, arch in [
        ("u8", "fp32", "fp32", 0, True, 80), ("fp32", "bf16", "fp32", 1, True, 90), ("bf16", "bf16", "fp32", 2, True, 80),
        ("fp64", "fp64", "fp64", 2, False, 90), ("fp32", "fp32", "fp32", 0, False, 90),
    ]:  # fmt: skip
        types = {"x_ptr": "*" + data, "grad_x_ptr": "*" + data, "parts_ptr": "*fp64", "constant": "fp32"}
        types |= {n: "*" + element for n in ("x_hat_ptr", "grad_x_hat_ptr")}
        types |= {n: "*" + compute for n in ("weight_ptr", "sums_ptr", "weighted_ptr", "grad_sums_ptr", "grad_weighted_ptr")}
        f = tl.float64 if compute == "fp64" else tl.float32
        constants = {"IS_BYTES": data == "u8", "KIND": kind, "LOGITS": logits, "F": f}
        gamma = {"HAS_GAMMA": False}
        compile(k.forward_kernel, arch, types, HAS_WEIGHT=logits, ROWS=1, COLUMNS=1024, **gamma, **constants)
        compile(k.backward_kernel, arch, types, HAS_SUMS=True, HAS_WEIGHTED=logits, TO_X=data != "u8", TO_X_HAT=True,
                TO_WEIGHT=logits, ROWS=4, COLUMNS=256, **gamma, **constants)  # fmt: skip
        if kind < 2 and compute == "fp32":  # of one scale gamma, whose gradient takes the place of the parts
            gamma, types["parts_ptr"] = {"HAS_GAMMA": True}, "*fp32"
            compile(k.forward_kernel, arch, types, HAS_WEIGHT=False, ROWS=1, COLUMNS=1024, **gamma, **constants)
            compile(k.backward_kernel, arch, types, HAS_SUMS=True, HAS_WEIGHTED=True, TO_X=data != "u8", TO_X_HAT=True,
                    TO_WEIGHT=True, ROWS=4, COLUMNS=256, **gamma, **constants)  # fmt: skip


def mixture_moments() -> None:
    k = _native.kernels("mixture_moments")
    for element, param, arch in [("fp32", 0, 80), ("bf16", 2, 80), ("fp16", 1, 90), ("fp64", 2, 90)]:
        types = {n: "*fp64" for n in ("parts_ptr", "mean_ptr", "between_ptr", "within_ptr", "grad_mean_ptr",
                                      "grad_between_ptr", "grad_within_ptr")}  # fmt: skip
        types |= {n: "*" + element for n in ("mu_ptr", "scale_ptr", "grad_mu_ptr", "grad_scale_ptr")}
        constants = {"HAS_SCALE": element != "fp16", "PARAM": param, "F": tl.float64 if element == "fp64" else tl.float32}
        constants |= {"ROWS": 16, "COLUMNS": 64}
        compile(k.forward_kernel, arch, types, **constants)
        compile(k.merge_kernel, arch, types, PARTS=128, COLUMNS=8)
        compile(k.backward_kernel, arch, types, HAS_MEAN=True, HAS_BETWEEN=True, HAS_WITHIN=param != 1, **constants)


OPS = {"error_sums": error_sums, "mixture_density": mixture_density, "mixture_moments": mixture_moments, "mmd": mmd,
       "reparam_kl": reparam_kl}

if __name__ == "__main__":
    OPS[sys.argv[1]]()
