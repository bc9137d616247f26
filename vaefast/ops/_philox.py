"""Element-indexed noise in plain PyTorch: the definition that every backend follows.

Philox4x32-10 (Salmon et al., SC 2011) with key = the seed's low and high words and counter = (element
index / 4 low, high, stream, 0). Words 0, 1 give normals 0, 1 of the group and words 2, 3 normals 2, 3 by
Box and Muller (1958) with uniforms u = r 2^-32 + 2^-33, so the tails reach 6.77 standard deviations.
"""

from __future__ import annotations

import math

import torch

_MASK = 0xFFFFFFFF


def philox4x32_10(counter: tuple[torch.Tensor, ...], key: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Four random words (int64 tensors of values below 2**32) of counters and keys in the same form."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57  # wraps modulo 2**64, which leaves the right bits
        c0, c1, c2, c3 = ((p1 >> 32) & _MASK) ^ c1 ^ k0, p1 & _MASK, ((p0 >> 32) & _MASK) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return c0, c1, c2, c3


def uniform_from(words: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Words -> u = r 2^-32 + 2^-33 in (0, 1); in float32 the words next to 2**32 are kept from rounding to 1."""
    u = words.to(dtype) * 2.0**-32 + 2.0**-33
    return u.clamp(max=1 - 2.0**-24) if dtype == torch.float32 else u


def box_muller(w0: torch.Tensor, w1: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Two normals: radius sqrt(-2 log u(w0)) at the angle 2 pi u(w1).

    The quadrant of the angle comes from the integer, so the remainder keeps all its digits.
    """
    radius = torch.sqrt(-2 * torch.log(uniform_from(w0, dtype)))
    quadrant = ((w1 + 2**29) & _MASK) >> 30
    rest = w1 - (quadrant << 30)
    rest = torch.where(rest >= 2**31, rest - 2**32, rest)
    angle = (rest.to(dtype) * 2.0**-30 + 2.0**-31) * (math.pi / 2)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    swap = (quadrant & 1).bool()
    cosine, sine = torch.where(swap, sine, cosine), torch.where(swap, cosine, sine)
    cosine = torch.where(((quadrant + 1) & 2).bool(), -cosine, cosine)
    sine = torch.where((quadrant & 2).bool(), -sine, sine)
    return radius * cosine, radius * sine


def normals(seed: torch.Tensor, first: int, count: int, dtype: torch.dtype, stream: int = 0) -> torch.Tensor:
    """Standard normals [count] of the elements first .. first + count - 1, computed in `dtype` (float32 or float64)."""
    group = torch.arange(first // 4, (first + count + 3) // 4, device=seed.device)
    counter = (group & _MASK, group >> 32, torch.full_like(group, stream), torch.zeros_like(group))
    w0, w1, w2, w3 = philox4x32_10(counter, (seed & _MASK, (seed >> 32) & _MASK))
    noise = torch.stack([*box_muller(w0, w1, dtype), *box_muller(w2, w3, dtype)], dim=1).flatten()
    skip = first % 4
    return noise[skip : skip + count]
