"""Element-indexed normals in Triton: the same integers as vaefast/ops/_philox.py and csrc/core.

Not tl.randn: its uniforms have 31 bits and stop at 5.68 standard deviations.
"""

import triton
import triton.language as tl


@triton.jit
def uniform_from(word, F: tl.constexpr):
    """u = r 2^-32 + 2^-33 in (0, 1)."""
    u = word.to(F) * 2.3283064365386963e-10 + 1.1641532182693481e-10
    if F == tl.float32:
        u = tl.minimum(u, 0.9999999403953552)
    return u


@triton.jit
def box_muller(w0, w1, F: tl.constexpr):
    """Two normals from two words; sine and cosine by the polynomials of csrc/core/elementary.h."""
    radius = tl.sqrt(-2.0 * tl.log(uniform_from(w0, F)))
    quadrant = (w1 + 0x20000000) >> 30
    rest = (w1 - (quadrant << 30)).to(tl.int32, bitcast=True)
    x = (rest.to(F) * 9.313225746154785e-10 + 4.656612873077393e-10) * 1.5707963267948966
    x2 = x * x
    s = tl.full(x.shape, 1.0, F)
    c = tl.full(x.shape, 1.0, F)
    SIN_TERMS: tl.constexpr = 9 if F == tl.float64 else 5
    COS_TERMS: tl.constexpr = 10 if F == tl.float64 else 6
    for i in tl.static_range(SIN_TERMS - 1, 0, -1):
        s = 1.0 - s * x2 * (1.0 / ((2 * i) * (2 * i + 1)))
    for i in tl.static_range(COS_TERMS - 1, 0, -1):
        c = 1.0 - c * x2 * (1.0 / ((2 * i - 1) * (2 * i)))
    s = s * x
    swap = (quadrant & 1) != 0
    cosine = tl.where(swap, s, c)
    sine = tl.where(swap, c, s)
    cosine = tl.where(((quadrant + 1) & 2) != 0, -cosine, cosine)
    sine = tl.where((quadrant & 2) != 0, -sine, sine)
    return radius * cosine, radius * sine


@triton.jit
def noise_words(seed, group, STREAM: tl.constexpr):
    """The four Philox4x32-10 words of the groups (int64) of a seed (int64)."""
    low = group.to(tl.uint32)
    high = (group >> 32).to(tl.uint32)
    zero = low ^ low
    return tl.philox(seed, low, high, zero + STREAM, zero)


@triton.jit
def normals(seed, group, STREAM: tl.constexpr, F: tl.constexpr):
    """Normals [R, 4 G], in element order, of the groups [R, G]."""
    w0, w1, w2, w3 = noise_words(seed, group, STREAM)
    n0, n1 = box_muller(w0, w1, F)
    n2, n3 = box_muller(w2, w3, F)
    return tl.interleave(tl.interleave(n0, n2), tl.interleave(n1, n3))
