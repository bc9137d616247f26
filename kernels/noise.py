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
def cos_sin(t, F: tl.constexpr):
    """cos and sin of pi t / 2 for |t| <= 1/2: the polynomials of csrc/core/elementary.h, series in double."""
    u = t * t
    if F == tl.float64:
        x2 = u * 2.4674011002723395  # (pi / 2)^2
        s = tl.full(u.shape, 1.0, F)
        c = tl.full(u.shape, 1.0, F)
        for i in tl.static_range(8, 0, -1):
            s = 1.0 - s * x2 * (1.0 / ((2 * i) * (2 * i + 1)))
        for i in tl.static_range(9, 0, -1):
            c = 1.0 - c * x2 * (1.0 / ((2 * i - 1) * (2 * i)))
        s = s * 1.5707963267948966
    else:
        s = ((-0.0046859719 * u + 0.079712525) * u - 0.64596665) * u + 1.5707964
        c = (((0.00089357322 * u - 0.020855254) * u + 0.25366852) * u - 1.2337005) * u + 1.0
    return c, s * t


@triton.jit
def box_muller(w0, w1, F: tl.constexpr):
    """Two normals from two words."""
    radius = tl.sqrt(-2.0 * tl.log(uniform_from(w0, F)))
    t = (w1 << 2).to(tl.int32, bitcast=True).to(F) * 2.3283064365386963e-10 + 4.656612873077393e-10
    c, s = cos_sin(t, F)
    v = w1 + 0x20000000  # its two high bits are the quadrant
    swap = (v & 0x40000000) != 0
    cosine = tl.where(swap, s, c)
    sine = tl.where(swap, c, s)
    cosine = tl.where(((v + 0x40000000) & 0x80000000) != 0, -cosine, cosine)
    sine = tl.where((v & 0x80000000) != 0, -sine, sine)
    return radius * cosine, radius * sine


@triton.jit
def noise_words(seed, group, stream):
    """The four Philox4x32-10 words of the groups (int64) of a seed (int64)."""
    low = group.to(tl.uint32)
    high = (group >> 32).to(tl.uint32)
    zero = low ^ low
    return tl.philox(seed, low, high, (zero + stream).to(tl.uint32), zero)


@triton.jit
def normals(seed, group, stream, F: tl.constexpr):
    """Normals [R, 4 G], in element order, of the groups [R, G]."""
    w0, w1, w2, w3 = noise_words(seed, group, stream)
    n0, n1 = box_muller(w0, w1, F)
    n2, n3 = box_muller(w2, w3, F)
    return tl.interleave(tl.interleave(n0, n2), tl.interleave(n1, n3))
