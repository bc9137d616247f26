// exp, log, log1p and sine/cosine of a turn as short polynomials without branches or calls, so that
// the compiler vectorises any loop they stand in. Errors stay within about 2 ulp (float and double).
// On the GPU exp and log are CUDA's own.
#pragma once

#include <cmath>

#include "macros.h"

namespace vaefast {

template <class To, class From>
VAEFAST_HD To bit_cast(From from) {
    static_assert(sizeof(To) == sizeof(From), "bit_cast needs equal sizes");
    To to;
    memcpy(&to, &from, sizeof(To));
    return to;
}

// What the formulas need to know of a floating-point format.
template <class F>
struct Format;

template <>
struct Format<float> {
    using Int = int32_t;
    static constexpr int mantissa_bits = 23, bias = 127;
    static constexpr Int sqrt_half_bits = 0x3f3504f3;
    static constexpr float round_magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    static constexpr float ln2_hi = 0.693145751953125f, ln2_lo = 1.42860682030941723212e-6f;
    static constexpr float exp_low = -104.0f, exp_high = 89.0f;
    static constexpr int exp_terms = 7, log_terms = 5, log1p_terms = 9, sin_terms = 5, cos_terms = 6;
};

template <>
struct Format<double> {
    using Int = int64_t;
    static constexpr int mantissa_bits = 52, bias = 1023;
    static constexpr Int sqrt_half_bits = 0x3fe6a09e667f3bcd;
    static constexpr double round_magic = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr double ln2_hi = 6.93147180369123816490e-1, ln2_lo = 1.90821492927058770002e-10;
    static constexpr double exp_low = -746.0, exp_high = 710.0;
    static constexpr int exp_terms = 13, log_terms = 12, log1p_terms = 18, sin_terms = 9, cos_terms = 10;
};

// exp(x): x = n ln 2 + r with |r| <= ln 2 / 2, a Taylor polynomial in r, and 2^n in two factors so that
// subnormal results and the step to infinity come out right. NaN stays NaN.
template <class F>
VAEFAST_HD F exp_poly(F x) {
    using Fmt = Format<F>;
    using Int = typename Fmt::Int;
    x = x < Fmt::exp_low ? Fmt::exp_low : x;
    x = x > Fmt::exp_high ? Fmt::exp_high : x;
    const F shifted = x * F(1.4426950408889634074) + Fmt::round_magic;
    const F n = shifted - Fmt::round_magic;
    const Int k = bit_cast<Int>(shifted) - bit_cast<Int>(F(Fmt::round_magic));
    const F r = (x - n * Fmt::ln2_hi) - n * Fmt::ln2_lo;
    F p = F(1);
    for (int i = Fmt::exp_terms; i >= 1; --i) p = F(1) + p * r * (F(1) / F(i));
    const Int k1 = k / 2, k2 = k - k1;
    const F s1 = bit_cast<F>(Int((k1 + Fmt::bias) << Fmt::mantissa_bits));
    const F s2 = bit_cast<F>(Int((k2 + Fmt::bias) << Fmt::mantissa_bits));
    return p * s1 * s2;
}

// 2 atanh(y) = log((1 + y) / (1 - y)) by its series, for |y| small enough for `terms`.
template <class F>
VAEFAST_HD F two_atanh(F y, int terms) {
    const F y2 = y * y;
    F p = F(0);
    for (int i = terms - 1; i >= 1; --i) p = (p + F(1) / F(2 * i + 1)) * y2;
    return F(2) * y + F(2) * y * p;
}

// log(x) for positive normal x; infinity and NaN come back as they are.
template <class F>
VAEFAST_HD F log_poly(F x) {
    using Fmt = Format<F>;
    using Int = typename Fmt::Int;
    const Int bits = bit_cast<Int>(x);
    const Int e = (bits - Fmt::sqrt_half_bits) >> Fmt::mantissa_bits;
    const F m = bit_cast<F>(Int(bits - (e << Fmt::mantissa_bits)));
    const F y = (m - F(1)) / (m + F(1));
    const F n = F(e);
    const F value = n * Fmt::ln2_hi + (two_atanh(y, Fmt::log_terms) + n * Fmt::ln2_lo);
    return x - x == F(0) ? value : x;
}

// log(1 + t) for 0 <= t <= 1, to full relative accuracy for small t.
template <class F>
VAEFAST_HD F log1p_poly(F t) {
    return two_atanh(t / (F(2) + t), Format<F>::log1p_terms);
}

#if defined(__CUDA_ARCH__)
VAEFAST_HD float exp_of(float x) { return ::expf(x); }
VAEFAST_HD double exp_of(double x) { return ::exp(x); }
VAEFAST_HD float log_of(float x) { return ::logf(x); }
VAEFAST_HD double log_of(double x) { return ::log(x); }
VAEFAST_HD float log1p_of(float x) { return ::log1pf(x); }
VAEFAST_HD double log1p_of(double x) { return ::log1p(x); }
VAEFAST_HD float sqrt_of(float x) { return ::sqrtf(x); }
VAEFAST_HD double sqrt_of(double x) { return ::sqrt(x); }
#else
template <class F>
VAEFAST_HD F exp_of(F x) { return exp_poly(x); }
template <class F>
VAEFAST_HD F log_of(F x) { return log_poly(x); }
template <class F>
VAEFAST_HD F log1p_of(F x) { return log1p_poly(x); }
VAEFAST_HD float sqrt_of(float x) { return __builtin_sqrtf(x); }
VAEFAST_HD double sqrt_of(double x) { return __builtin_sqrt(x); }
#endif

// Cosine and sine of 2 pi (r + 1/2) / 2^32. The quadrant comes from the integer, so the remainder in
// [-pi/4, pi/4) keeps all its digits.
template <class F>
VAEFAST_HD void cos_sin_turn(uint32_t r, F& cosine, F& sine) {
    using Fmt = Format<F>;
    const uint32_t quadrant = (r + 0x20000000u) >> 30;
    const int32_t rest = int32_t(r - (quadrant << 30));
    const F x = (F(rest) * F(0x1p-30) + F(0x1p-31)) * F(1.5707963267948966192);
    const F x2 = x * x;
    F s = F(1), c = F(1);
    for (int i = Fmt::sin_terms - 1; i >= 1; --i) s = F(1) - s * x2 * (F(1) / F((2 * i) * (2 * i + 1)));
    for (int i = Fmt::cos_terms - 1; i >= 1; --i) c = F(1) - c * x2 * (F(1) / F((2 * i - 1) * (2 * i)));
    s = s * x;
    const bool swap = (quadrant & 1u) != 0;
    const F c1 = swap ? s : c, s1 = swap ? c : s;
    cosine = ((quadrant + 1u) & 2u) != 0 ? -c1 : c1;
    sine = (quadrant & 2u) != 0 ? -s1 : s1;
}

}  // namespace vaefast
