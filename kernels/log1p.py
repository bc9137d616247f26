"""log(1 + t) in Triton, as in csrc/core/elementary.h."""

import triton
import triton.language as tl


@triton.jit
def log1p(t, F: tl.constexpr):
    """log(1 + t) for 0 <= t <= 1 as 2 atanh(t / (2 + t)), to full relative accuracy for small t."""
    TERMS: tl.constexpr = 18 if F == tl.float64 else 9
    y = t / (2.0 + t)
    y2 = y * y
    p = tl.zeros(t.shape, F)
    for i in tl.static_range(TERMS - 1, 0, -1):
        p = (p + 1.0 / (2 * i + 1)) * y2
    return 2.0 * y + 2.0 * y * p
