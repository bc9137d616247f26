"""Triton's noise words, in the interpreter, which test_triton.py starts."""

from __future__ import annotations

import pytest
import torch

from vaefast.ops import _native, _philox

triton = pytest.importorskip("triton")
tl = triton.language
noise = _native.kernels("noise")


@triton.jit
def words_kernel(seed_ptr, out_ptr, first, stream, N: tl.constexpr):
    i = tl.arange(0, N)
    w0, w1, w2, w3 = noise.noise_words(tl.load(seed_ptr), first + i.to(tl.int64), stream)
    tl.store(out_ptr + 4 * i, w0.to(tl.int64))
    tl.store(out_ptr + 4 * i + 1, w1.to(tl.int64))
    tl.store(out_ptr + 4 * i + 2, w2.to(tl.int64))
    tl.store(out_ptr + 4 * i + 3, w3.to(tl.int64))


def test_integers_equal_the_reference(cpu_backend):
    if cpu_backend != "triton":
        pytest.skip("the other backends are tested in test_noise.py")
    seed, first = torch.tensor([0x0123456789ABCDEF]), 2**32 - 2
    g = torch.arange(first, first + 8)
    zero = torch.zeros_like(g)
    for stream in (0, 1, 70_000):
        out = torch.zeros(8, 4, dtype=torch.int64)
        words_kernel[(1,)](seed, out, first, stream, N=8)
        counter = (g & 0xFFFFFFFF, g >> 32, zero + stream, zero)
        expected = _philox.philox4x32_10(counter, (seed & 0xFFFFFFFF, seed >> 32))
        assert torch.equal(out, torch.stack(expected, 1))
