// exp at half the price where a result below the smallest normal number is as good as 0.
#pragma once

#include "elementary.h"

namespace vaefast {

// exp(x) within 2 ulp from 2^-126 on, infinity where it overflows; NaN stays NaN. In float on the CPU the polynomial is
// a minimax one of degree 5 on [-ln 2 / 2, ln 2 / 2], and one shift makes 2^n, whose biased exponent the added constant
// leaves in the lowest bits; n = 128 gives infinity.
template <class F>
VAEFAST_HD F exp_normal(F x) {
#if !defined(__CUDA_ARCH__)
    if constexpr (sizeof(F) == 4) {
        constexpr F magic = Format<F>::round_magic + F(127);
        x = x < F(-87.3) ? F(-87.3) : x;
        x = x > F(88.8) ? F(88.8) : x;
        const F shifted = x * F(1.4426950408889634) + magic;
        const F n = shifted - magic;
        const F r = (x - n * Format<F>::ln2_hi) - n * Format<F>::ln2_lo;
        F p = F(0.008369184382291962);
        p = p * r + F(0.04191775875912674);
        p = p * r + F(0.16666504936963597);
        p = p * r + F(0.49998867111853235);
        p = p * r + F(1.0000000108039524);
        p = p * r + F(1.0000000756817886);
        return p * bit_cast<F>(uint32_t(bit_cast<uint32_t>(shifted) << 23));
    }
#endif
    return exp_of(x);
}

}  // namespace vaefast
