"""The stand-in for CUDA that the kernels are tested on keeps CUDA's rules and catches those who break them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent / "cuda_on_cpu"
CXX = shutil.which("c++") or shutil.which("g++")

PROGRAM = """
#include <cuda_runtime.h>
__global__ void warp_sum(float* out) {
    float x = float(threadIdx.x);
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    out[blockIdx.x * blockDim.x + threadIdx.x] = x;
}
__global__ void reverse(float* out, bool barrier) {
    __shared__ float row[64];
    row[threadIdx.x] = float(threadIdx.x + 100 * blockIdx.x);
    if (barrier) __syncthreads();
    out[blockIdx.x * 64 + threadIdx.x] = row[63 - threadIdx.x];
}
__global__ void half_barrier() {
    if (threadIdx.x < 32) __syncthreads();
}
__global__ void half_shuffle() {
    if (threadIdx.x < 16) __shfl_xor_sync(0xffffffffu, 1, 1);
}
bool reversed(bool barrier) {
    float out[128];
    run_grid(2, 64, [&] { reverse(out, barrier); });
    for (int i = 0; i < 128; ++i)
        if (out[i] != float(63 - i % 64 + 100 * (i / 64))) return false;
    return true;
}
int main(int argc, char** argv) {
    const char what = argv[1][0];
    if (what == 'b') run_grid(1, 64, [] { half_barrier(); });
    if (what == 's') run_grid(1, 32, [] { half_shuffle(); });
    if (what == 'r') return reversed(false) ? 1 : 0;
    float sums[64];
    run_grid(1, 64, [&] { warp_sum(sums); });
    return sums[0] == 496 && sums[31] == 496 && sums[63] == 1520 && reversed(true) ? 0 : 1;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if CXX is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("program")
    (folder / "x.cpp").write_text(PROGRAM)
    subprocess.run([CXX, "-std=c++17", "-O1", f"-I{HERE}", folder / "x.cpp", "-o", folder / "x"], check=True)
    return folder / "x"


@pytest.mark.parametrize("what", ["works", "race"])
def test_barriers_and_shuffles_work_and_a_missing_barrier_shows(program, what):
    assert subprocess.run([program, what]).returncode == 0


@pytest.mark.parametrize("what, words", [("barrier", "returned while others wait"), ("shuffle", "never reached")])
def test_threads_that_miss_a_barrier_are_reported(program, what, words):
    result = subprocess.run([program, what], capture_output=True, text=True)
    assert result.returncode != 0 and words in result.stderr
