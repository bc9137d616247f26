"""mmd_test: is the MMD of two samples larger than chance would make it? A permutation test in one pass over the pairs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vaefast.float32 import widest
from vaefast.ops import _check, mmd
from vaefast.ops import _mmd_reference as reference
from vaefast.ops._precision import compute_dtype
from vaefast.ops._seed import MAX_SEED

_TILE = 512
_DRAWS = 2**22  # random numbers at a time


class MMDTest(NamedTuple):
    """What `mmd_test` finds: MMD^2 [P], its p-value [P], and MMD^2 under every permutation [P, permutations]."""

    value: Tensor
    p_value: Tensor
    permuted: Tensor


@torch.no_grad()
def mmd_test(
    x: Tensor,
    y: Tensor,
    *,
    kernel: str = "imq",
    scales: float | list[float] | str | None = None,
    estimator: str = "unbiased",
    permutations: int = 1000,
    generator: torch.Generator | None = None,
    seed: int | None = None,
    degree: int = 3,
    gamma: float | None = None,
    coef0: float = 1.0,
) -> MMDTest:
    """Two-sample test: the p-value of MMD^2 against both samples having one distribution, for every problem of a batch.

    The rows of both samples are dealt anew `permutations` times. All deals are scored in one pass over the pairs, as
    quadratic forms of one tile of kernel values at a time: no matrix of all pairs, and the kernel is computed once.

    Args:
        x, y, kernel, scales, degree, gamma, coef0: as for `mmd2`; n, m >= 2. "median" is taken once, of both samples.
        estimator: "unbiased" or "biased".
        permutations: >= 1; no p-value is below 1 / (permutations + 1).
        generator: of the samples' device, draws the permutations; torch's default generator where neither it nor
            `seed` is given.
        seed: an int in [0, 2**63), in place of `generator`.

    Returns:
        `MMDTest`; for matrices x and y, scalars and [permutations]. The p-value is (1 + the number of permutations whose
        MMD^2 is at least the samples') / (1 + permutations). No gradient. Memory is O(P (n + m) (k + permutations)),
        a byte for every row and permutation.

    Raises:
        ArgumentError: as `mmd2`, and bad `permutations`, `generator` or `seed`.

    Source: Gretton et al., "A Kernel Two-Sample Test" (2012), section 8; the p-value that counts the samples themselves:
    Phipson & Smyth, "Permutation P-values Should Never Be Zero" (2010).
    """
    x, y, single = mmd.samples(x, y)
    _check.choice("estimator", estimator, ("unbiased", "biased"))
    spec = mmd.checked_spec(kernel, scales, degree, gamma, coef0, x.shape[2])
    for name, z in (("x", x), ("y", y)):
        if z.shape[1] < 2:
            _check.fail(name, f"a sample of {z.shape[1]} row(s)", "at least 2 for a test")
    if isinstance(permutations, bool) or not isinstance(permutations, int) or permutations < 1:
        _check.fail("permutations", repr(permutations), "an int >= 1")
    generator = _generator(generator, seed, x.device)
    bandwidth = mmd.median_distance(x, y) if mmd._wants_median(kernel, scales) else None
    dtype, n, m = widest(x.device), x.shape[1], y.shape[1]
    z = torch.cat((x, y), 1).to(dtype)
    labels = _labels(x, n, m, permutations, generator)
    values = _score(z, labels, n, m, None if bandwidth is None else bandwidth.to(dtype), spec, estimator == "biased")
    observed, permuted, slack = values[0][:, 0], values[0][:, 1:], values[1]
    count = (permuted >= (observed - slack)[:, None]).sum(1)
    result = compute_dtype(x.dtype)
    p_value = (1 + count).to(result) / (1 + permutations)
    p_value = torch.where(observed.isnan(), observed.to(result), p_value)
    test = MMDTest(observed.to(result), p_value, permuted.to(result))
    return MMDTest(*(f[0] for f in test)) if single else test


def _generator(
    generator: torch.Generator | None, seed: int | None, device: torch.device
) -> torch.Generator | None:
    if seed is None:
        if generator is not None and generator.device.type != device.type:
            _check.fail("generator", f"on device {generator.device}", f"the device of x, {device}")
        return generator
    if generator is not None:
        _check.fail("seed", "given together with generator", "one of the two")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        _check.fail("seed", repr(seed), "an int from 0 to 2**63 - 1")
    return torch.Generator(device).manual_seed(seed)


def _labels(x: Tensor, n: int, m: int, permutations: int, generator: torch.Generator | None) -> Tensor:
    """[P, n + m, 1 + permutations] int8: 1 for the rows that are dealt to x; first as the samples are."""
    problems, rows = x.shape[0], n + m
    labels = x.new_empty((problems, rows, 1 + permutations), dtype=torch.int8)
    labels[:, :n, 0], labels[:, n:, 0] = 1, 0
    step = max(1, _DRAWS // max(1, problems * rows))
    for first in range(0, permutations, step):
        count = min(step, permutations - first)
        draws = torch.rand(problems, count, rows, generator=generator, device=x.device, dtype=widest(x.device))
        labels[:, :, 1 + first : 1 + first + count] = (draws.argsort(2) < n).mT
    return labels


def _score(
    z: Tensor, labels: Tensor, n: int, m: int, bandwidth: Tensor | None, spec: reference.Spec, biased: bool
) -> tuple[Tensor, Tensor]:
    """MMD^2 [P, deals] and, [P], how far apart by rounding alone two equal ones may be."""
    problems, rows, k = z.shape
    if spec.kernel != "polynomial":
        z = z - z.mean(1, keepdim=True)
    norms = z.square().sum(2)
    within = z.new_zeros((problems, labels.shape[2]))  # sums over pairs that are both dealt to x
    partners = z.new_zeros((problems, rows))  # sums of a row's kernel values
    for i in range(0, rows, _TILE):
        a = slice(i, min(i + _TILE, rows))
        for j in range(i, rows, _TILE):
            b = slice(j, min(j + _TILE, rows))
            t = z[:, a] @ z[:, b].mT
            if spec.kernel != "polynomial":
                t = t.mul_(-2).add_(norms[:, a, None]).add_(norms[:, None, b]).clamp_(min=0)
                if i == j:
                    t.diagonal(0, 1, 2).zero_()
            f = reference.profile(spec, t, k, bandwidth, slope=False)[0]
            if i == j and not biased:
                f.diagonal(0, 1, 2).zero_()
            partners[:, a] += f.sum(2)
            if i != j:
                partners[:, b] += f.sum(1)
            dealt = (f @ labels[:, b].to(f.dtype)).mul_(labels[:, a])
            within += dealt.sum(1) * (1 if i == j else 2)
    of_x = torch.zeros_like(within)
    for p, s in zip(partners.split(_TILE, 1), labels.split(_TILE, 1), strict=True):
        of_x += (p[:, None] @ s.to(p.dtype))[:, 0]
    total = partners.sum(1, keepdim=True)
    cross, rest = of_x - within, total - 2 * of_x + within
    self_pairs = 0 if biased else 1
    value = within / (n * (n - self_pairs)) + rest / (m * (m - self_pairs)) - 2 * cross / (n * m)
    size = within[:, 0].abs() / (n * n) + rest[:, 0].abs() / (m * m) + 2 * cross[:, 0].abs() / (n * m)
    return value, (1e-12 if z.dtype == torch.float64 else 1e-5) * size

