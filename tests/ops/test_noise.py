"""The noise: published Philox vectors, the same integers everywhere, normals that are normal."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from vaefast.ops import _native, _philox

CSRC = Path(__file__).resolve().parents[2] / "csrc"
SEED, FIRST_GROUP = 0x0123456789ABCDEF, 2**32 - 2  # the group counter carries into its high word

# Random123's known-answer vectors for philox4x32-10: counter, key, result.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def reference_words(seed: int, group: int, count: int, stream: int = 0) -> list[list[int]]:
    g = torch.arange(group, group + count)
    zero = torch.zeros_like(g)
    key = (torch.tensor([seed & 0xFFFFFFFF]), torch.tensor([seed >> 32]))
    words = _philox.philox4x32_10((g & 0xFFFFFFFF, g >> 32, zero + stream, zero), key)
    return torch.stack(words, 1).tolist()


@pytest.fixture
def core():
    if _native.why_missing():
        pytest.skip(_native.why_missing())
    return _native.core()


@pytest.mark.parametrize("counter, key, words", KNOWN)
def test_reference_philox_gives_the_published_vectors(counter, key, words):
    tensors = tuple(torch.tensor([c]) for c in counter)
    got = _philox.philox4x32_10(tensors, tuple(torch.tensor([k]) for k in key))
    assert [int(w) for w in got] == words


@pytest.mark.parametrize("counter, key, words", KNOWN)
def test_cpp_philox_gives_the_published_vectors(core, counter, key, words):
    assert list(core.philox4x32_10(*counter, *key)) == words


def test_cpp_integers_equal_the_reference(core):
    for stream in (0, 1, 2**32 - 1):
        got = [list(core.noise_words(SEED, FIRST_GROUP + i, stream)) for i in range(6)]
        assert got == reference_words(SEED, FIRST_GROUP, 6, stream)


def test_core_headers_compiled_for_the_host_give_the_same_integers_and_normals(tmp_path):
    """csrc/core as CUDA includes it, built by the host compiler alone."""
    cxx = shutil.which("c++") or shutil.which("g++")
    if not cxx:
        pytest.skip("no C++ compiler")
    source, program = tmp_path / "words.cpp", tmp_path / "words"
    source.write_text(
        '#include <cstdio>\n#include "core/normal.h"\n#include "core/gaussian.h"\nint main() {\n'
        f"for (int i = 0; i < 6; ++i) {{ auto w = vaefast::noise_words({SEED}ull, {FIRST_GROUP}ull + i, 0); double n[4];\n"
        "vaefast::normals4(w, n[0], n[1], n[2], n[3]);\n"
        'std::printf("%u %u %u %u %.17g %.17g %.17g %.17g\\n", w.w0, w.w1, w.w2, w.w3, n[0], n[1], n[2], n[3]); } }\n'
    )
    subprocess.run([cxx, "-std=c++17", "-O1", f"-I{CSRC}", source, "-o", program], check=True)
    lines = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [line.split() for line in lines]
    assert [[int(x) for x in row[:4]] for row in rows] == reference_words(SEED, FIRST_GROUP, 6)
    normals = _philox.normals(torch.tensor([SEED]), 4 * FIRST_GROUP, 24, torch.float64)
    printed = torch.tensor([[float(x) for x in row[4:]] for row in rows], dtype=torch.float64)
    torch.testing.assert_close(printed.flatten(), normals, rtol=1e-14, atol=1e-15)


def noise(seed: int, n: int, dtype=torch.float32) -> torch.Tensor:
    """Noise as the op makes it: mu = 0, s = 1."""
    from vaefast.ops import reparam_kl

    zero = torch.zeros(1, n, dtype=dtype)
    return reparam_kl(zero, zero, seed=seed)[0].flatten()


def test_normals_of_float32_agree_with_float64_to_a_few_ulp(cpu_backend):
    exact = noise(7, 1 << 16, torch.float64)
    error = (noise(7, 1 << 16).double() - exact).abs()
    # An ulp of the normal itself, or of the pair's radius where the normal is near zero.
    radius = exact.view(-1, 2).norm(dim=1, keepdim=True).expand(-1, 2).flatten()
    near_one = radius < 0.1  # there u is within 2^-8 of 1, and float32 holds fewer digits of 1 - u
    assert (error[~near_one] / radius[~near_one]).max() < 2e-5
    assert (error / radius)[radius > 1].max() < 3 * 2**-23
    assert error.max() < 1e-4


def test_moments_and_distribution(cpu_backend):
    n = 1 << 18
    x = noise(11, n, torch.float64)
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)]:
        assert abs((x**power).mean().item() - moment) < 4.5 * math.sqrt(variance / n)
    cdf = torch.special.ndtr(x.sort().values)
    steps = torch.arange(1, n + 1, dtype=torch.float64) / n
    distance = torch.maximum((steps - cdf).max(), (cdf - steps + 1 / n).max()).item()
    assert distance * math.sqrt(n) < 1.95  # Kolmogorov-Smirnov at 0.1 %
    for lag in (1, 2, 3, 4):
        assert abs((x[:-lag] * x[lag:]).mean().item()) < 4.5 / math.sqrt(n)


def test_streams_seeds_and_elements_differ(cpu_backend):
    assert not torch.equal(noise(1, 64), noise(2, 64))
    assert not torch.equal(noise(1, 64), noise(1 + 2**32, 64))
    seed = torch.tensor([1])
    assert not torch.equal(
        _philox.normals(seed, 0, 64, torch.float32), _philox.normals(seed, 0, 64, torch.float32, stream=1)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tails_reach_beyond_5_7_sigma_and_uniforms_stay_inside(dtype):
    words = torch.tensor([0, 1, 2**32 - 1])
    u = _philox.uniform_from(words, dtype)
    assert (u > 0).all() and (u < 1).all()
    n0, _ = _philox.box_muller(torch.tensor([0]), torch.tensor([0]), dtype)  # u = 2^-33, angle about 0
    assert n0.item() == pytest.approx(math.sqrt(-2 * math.log(2.0**-33)), rel=1e-6)
    assert n0.item() > 6.6
    n0, _ = _philox.box_muller(torch.tensor([2**32 - 1]), torch.tensor([0]), dtype)
    assert 0 <= n0.item() < 1e-3


# Elements of seed 3 that lie far out, found by looking through the first 3 billion.
@pytest.mark.parametrize("element, bound", [(2_363_842_242, 6.49), (1_818_364_300, -6.11)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_backend_reaches_the_tails(cpu_backend, element, bound, dtype):
    from vaefast.ops import reparameterize

    zero = torch.zeros(1, 4, dtype=dtype)
    z = reparameterize(zero, zero, seed=3, row_offset=element // 4)[0]
    assert z[element % 4] / bound > 1
    expected = _philox.normals(torch.tensor([3]), element // 4 * 4, 4, torch.float64)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    torch.testing.assert_close(z.double(), expected, rtol=tolerance, atol=tolerance)


def test_runs_of_noise_equal_the_reference_wherever_they_start(cpu_backend):
    """Any start within a group of four, across the carry into the counter's high word, and of other streams."""
    from vaefast.ops import reparameterize

    for first in (4 * FIRST_GROUP - 1, 4 * FIRST_GROUP, 4 * FIRST_GROUP + 1, 4 * FIRST_GROUP + 2):
        zero = torch.zeros(300, 1, dtype=torch.float64)
        draws = reparameterize(zero, zero, seed=SEED, row_offset=first, n_samples=2)
        for stream in (0, 1):
            expected = _philox.normals(torch.tensor([SEED]), first, 300, torch.float64, stream)
            torch.testing.assert_close(draws[stream].flatten(), expected, rtol=1e-13, atol=1e-14)
