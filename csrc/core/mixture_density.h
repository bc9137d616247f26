// Terms of a log-sum-exp over mixture components.
#pragma once

#include "elementary.h"

namespace vaefast {

// A component whose share in a row is below e^floor counts as absent: 2^-100 changes no digit of a sum that is at
// least 1, and above it gradients stay clear of subnormal numbers, which are slow.
template <class F>
struct ShareFloor;
template <>
struct ShareFloor<float> {
    static constexpr float log = -69.0f;
};
template <>
struct ShareFloor<double> {
    static constexpr double log = -690.0;
};

// exp(x) for x not far above 0, and 0 below the floor of shares. NaN stays NaN. Half the work of exp_of.
template <class F>
VAEFAST_HD F share_of(F x) {
#if defined(__CUDA_ARCH__)
    return x < ShareFloor<F>::log ? F(0) : exp_of(x);
#else
    using Fmt = Format<F>;
    using Int = typename Fmt::Int;
    constexpr bool single = sizeof(F) == 4;
    const F shifted = x * F(1.4426950408889634074) + Fmt::round_magic;
    const F n = shifted - Fmt::round_magic;
    const F r = (x - n * Fmt::ln2_hi) - n * Fmt::ln2_lo;
    F p;  // Taylor polynomial
    if constexpr (single) {
        p = F(1.0 / 5040);
    } else {
        p = F(1.0 / 6227020800.0);
        p = p * r + F(1.0 / 479001600);
        p = p * r + F(1.0 / 39916800);
        p = p * r + F(1.0 / 3628800);
        p = p * r + F(1.0 / 362880);
        p = p * r + F(1.0 / 40320);
        p = p * r + F(1.0 / 5040);
    }
    p = p * r + F(1.0 / 720);
    p = p * r + F(1.0 / 120);
    p = p * r + F(1.0 / 24);
    p = p * r + F(1.0 / 6);
    p = p * r + F(1.0 / 2);
    p = p * r + F(1);
    p = p * r + F(1);
    const Int exponent = bit_cast<Int>(shifted) - bit_cast<Int>(F(Fmt::round_magic)) + Fmt::bias;
    const F value = p * bit_cast<F>(Int(exponent << Fmt::mantissa_bits));
    return x < ShareFloor<F>::log ? F(0) : value;
#endif
}

// m + log(sum), where sum is of exp(l - m); -inf where there is nothing.
template <class F>
VAEFAST_HD F log_sum_of(F m, F sum) {
    return m == F(-INFINITY) && sum == F(0) ? m : m + log_of(sum);
}

// Takes the sum `other_sum` of exp(l - other_m) into the sum of exp(l - m).
template <class F>
VAEFAST_HD void merge_sums(F& m, F& sum, F other_m, F other_sum) {
    const F top = m > other_m ? m : other_m;
    const F base = top == F(-INFINITY) ? F(0) : top;
    sum = sum * share_of(m - base) + other_sum * share_of(other_m - base);
    m = top;
}

}  // namespace vaefast
