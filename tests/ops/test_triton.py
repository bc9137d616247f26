"""The Triton kernels without a GPU: run in the interpreter, and compiled to sm_80 and sm_90 code."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vaefast

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")

INTERPRETED = """
import torch, triton, triton.language as tl
import vaefast.ops as ops
from vaefast.ops import _native, _philox, reparam

noise = _native.kernels("noise")

@triton.jit
def words_kernel(seed_ptr, out_ptr, first, N: tl.constexpr):
    i = tl.arange(0, N)
    w0, w1, w2, w3 = noise.noise_words(tl.load(seed_ptr), first + i.to(tl.int64), 0)
    tl.store(out_ptr + 4 * i, w0.to(tl.int64)); tl.store(out_ptr + 4 * i + 1, w1.to(tl.int64))
    tl.store(out_ptr + 4 * i + 2, w2.to(tl.int64)); tl.store(out_ptr + 4 * i + 3, w3.to(tl.int64))

seed, out, first = torch.tensor([0x0123456789ABCDEF]), torch.zeros(8, 4, dtype=torch.int64), 2**32 - 2
words_kernel[(1,)](seed, out, first, N=8)
g = torch.arange(first, first + 8); zero = torch.zeros_like(g)
expected = _philox.philox4x32_10((g & 0xFFFFFFFF, g >> 32, zero, zero), (seed & 0xFFFFFFFF, seed >> 32))
assert torch.equal(out, torch.stack(expected, 1)), "integers differ"

def rel(x, y):
    return ((x.double() - y.double()).norm() / y.double().norm().clamp(min=1e-30)).item()

torch.manual_seed(0)
# The interpreter cuts floats to bfloat16 where the GPU rounds, hence twice the bound.
for dtype, bound in ((torch.float32, 2e-6), (torch.float64, 1e-13), (torch.bfloat16, 8e-3), (torch.float16, 6e-4)):
    for shape in ((0, 4), (1, 64), (5, 1), (7, 3), (3, 513), (2, 1100)):
        both = torch.randn(shape[0], 2 * shape[1]).to(dtype)
        mu, a = both.chunk(2, dim=1)
        grad_z, grad_kl = torch.randn(shape).to(dtype), torch.randn(()).to(reparam.compute_dtype(dtype)).expand(shape[0])
        for i, param in enumerate(reparam.PARAMS):
            results = []
            for name, cast in (("triton", lambda x: x), ("reference", lambda x: x.double())):
                with ops.backend(name):
                    m, s = cast(mu).detach().requires_grad_(), cast(a).detach().requires_grad_()
                    z, kl = ops.reparam_kl(m, s, param=param, seed=5, row_offset=i)
                    pairs = [((z, kl), (cast(grad_z), cast(grad_kl))), ((z,), (cast(grad_z),)), ((kl,), (cast(grad_kl),))]
                    outs, grads = pairs[i]
                    results.append((z, kl, *torch.autograd.grad(outs, (m, s), grads)))
            for x, y in zip(*results):
                assert x.shape == y.shape and (x.numel() == 0 or rel(x, y) < bound), (dtype, shape, param, rel(x, y))
print("agrees")
"""

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
import triton.language as tl
from vaefast.ops import _native

k = _native.kernels("reparam_kl")

def compile(kernel, element, compute, pointers, param, aligned, arch, **constants):
    constants = {"PARAM": param, "F": compute, "ALIGNED": aligned, "ROWS": 16, "GROUPS": 16, **constants}
    signature = {}
    for name in kernel.arg_names:
        if name in constants:
            signature[name] = "constexpr"
        elif name.endswith("_ptr"):
            special = {"seed_ptr": "*i64", "kl_ptr": "*" + pointers, "grad_kl_ptr": "*" + pointers}
            signature[name] = special.get(name, "*" + element)
        else:
            signature[name] = "i64"
    source = ASTSource(kernel, signature, {(kernel.arg_names.index(n),): v for n, v in constants.items()})
    code = triton.compile(source, target=GPUTarget("cuda", arch, 32)).asm
    assert code["ptx"] and code["cubin"]

cases = [("fp32", tl.float32, "fp32", 0, True, 80), ("bf16", tl.float32, "fp32", 2, False, 80),
         ("bf16", tl.float32, "fp32", 0, True, 90), ("fp64", tl.float64, "fp64", 2, True, 90)]
for case in cases:
    compile(k.forward_kernel, *case)
    compile(k.backward_kernel, *case, HAS_Z=True, HAS_KL=True)
print("compiles")
"""


def python(code: str, **environment: str) -> str:
    env = {**os.environ, **environment}
    env["PYTHONPATH"] = os.pathsep.join([str(Path(vaefast.__file__).parents[1]), env.get("PYTHONPATH", "")])
    file = Path(env.pop("SCRIPT"))
    file.write_text(code)  # @triton.jit reads its source from a file
    result = subprocess.run([sys.executable, file], capture_output=True, text=True, env=env, cwd=file.parent)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.strip()


def test_interpreted_kernels_equal_the_reference(tmp_path):
    assert python(INTERPRETED, SCRIPT=str(tmp_path / "run.py"), TRITON_INTERPRET="1") == "agrees"


def test_kernels_compile_without_a_gpu(tmp_path):
    """Both architectures, every element type once or twice, in one process."""
    env = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path / "cache")}
    assert python(COMPILED, SCRIPT=str(tmp_path / "run.py"), **env) == "compiles"
