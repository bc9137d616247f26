"""The kernels that GPUs are given keep their numbers in registers; what benchmarks.predict reads of machine code."""

from __future__ import annotations

import pytest

from benchmarks import predict

ROOT = predict.ROOT
# Bytes written and read of numbers that do not change within a kernel's loops: a few loads beside some 2,700 instructions.
SPILLED = {"mmd_products.cu": 640, "mixture_density_products.cu": 48}


@pytest.mark.slow
@pytest.mark.skipif(predict.nvcc() is None, reason="nvcc is not installed")
@pytest.mark.parametrize("source", [f"{name}.cu" for name in predict.PREFERRED])
def test_preferred_kernels_do_not_spill(tmp_path, source):
    kernels = predict.compiled(ROOT / "csrc/cuda" / source, tmp_path)
    assert kernels
    for kernel in kernels:
        assert kernel.spilled <= SPILLED.get(source, 0), kernel


def test_instructions_of_the_main_loop():
    """A loop within the main one is a part that is seldom taken, and does not count."""
    code = """
        /*0000*/ MOV R1, R2 ;
        /*0010*/ LDS.128 R4, [R1] ;
        /*0020*/ HMMA.16816.F32 R8, R4, R5, R8 ;
        /*0030*/ FADD R1, R1, R2 ;
        /*0040*/ FADD R1, R1, R2 ;
        /*0050*/ @P1 BRA 0x40 ;
        /*0060*/ @!P0 FFMA R1, R1, R2, R3 ;
        /*0070*/ @P0 BRA 0x10 ;
        /*0080*/ EXIT ;
    """
    assert predict.main_loop(code) == {"LDS": 1, "HMMA": 1, "FADD": 1, "FFMA": 1, "BRA": 1}
    assert predict.main_loop("/*0000*/ EXIT ;") == {}


def test_a_prediction_is_of_the_slowest_part():
    loop = {"HMMA": 192, "FFMA": 1808}
    names = {name for work in predict.WORKS for name, _ in work.tiles}
    kernels = [predict.Kernel("x.cu", name, 128, 0, 0, loop) for name in names]
    for work in predict.WORKS:
        limit, seconds, each = predict.predicted(work, kernels)
        assert 0 < limit < seconds and (each is None or each == 2000 * 32 // predict.PAIR)
