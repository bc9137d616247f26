// exp, log, log1p and sine/cosine of a turn as short polynomials without branches or calls, so that
// the compiler vectorises any loop they stand in. Errors stay within about 2 ulp (float and double).
// On the GPU exp and log are CUDA's own, but for the log of a number known to be finite and normal.
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
};

template <>
struct Format<double> {
    using Int = int64_t;
    static constexpr int mantissa_bits = 52, bias = 1023;
    static constexpr Int sqrt_half_bits = 0x3fe6a09e667f3bcd;
    static constexpr double round_magic = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr double ln2_hi = 6.93147180369123816490e-1, ln2_lo = 1.90821492927058770002e-10;
    static constexpr double exp_low = -746.0, exp_high = 710.0;
};

// c0 + x (c1 + x (c2 + ...)).
template <class F>
VAEFAST_HD F horner(F, F c0) {
    return c0;
}
template <class F, class... More>
VAEFAST_HD F horner(F x, F c0, More... more) {
    return c0 + x * horner(x, F(more)...);
}

// The polynomials: least maximal error for float, with coefficients rounded one after the other; series for double.

// exp(r) for |r| <= ln 2 / 2.
VAEFAST_HD float exp_near_zero(float r) {
    return horner(r, 1.0f, 1.0f, 0.49999994f, 0.16666521f, 0.041668259f, 0.0083686681f, 0.0013821303f);
}
VAEFAST_HD double exp_near_zero(double r) {
    return horner(r, 1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320,
                  1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800);
}

// exp(x): x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial in r, and 2^n in two factors so that subnormal results
// and the step to infinity come out right. NaN stays NaN.
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
    const Int k1 = k >> 1, k2 = k - k1;
    const F s1 = bit_cast<F>(Int((k1 + Fmt::bias) << Fmt::mantissa_bits));
    const F s2 = bit_cast<F>(Int((k2 + Fmt::bias) << Fmt::mantissa_bits));
    return exp_near_zero(r) * s1 * s2;
}

// n ln 2 + log(1 + x) for sqrt(1/2) <= 1 + x < sqrt(2); of full relative accuracy for n = 0 and small x.
VAEFAST_HD float log_near_one(float x, float n) {
    using Fmt = Format<float>;
    const float x2 = x * x;
    const float p = horner(x, 0.33333331f, -0.25000820f, 0.20001242f, -0.16623409f, 0.14201580f, -0.13159610f,
                           0.12762217f, -0.076364391f);
    const float tail = x * x2 * p + (n * Fmt::ln2_lo - 0.5f * x2);
    return n * Fmt::ln2_hi + (x + tail);
}
VAEFAST_HD double log_near_one(double x, double n) {  // 2 atanh(y) by its series
    using Fmt = Format<double>;
    const double y = x / (2.0 + x), y2 = y * y;
    const double p = y2 * horner(y2, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15, 1.0 / 17,
                                 1.0 / 19, 1.0 / 21, 1.0 / 23);
    return n * Fmt::ln2_hi + (2.0 * y + (2.0 * y * p + n * Fmt::ln2_lo));
}

// log(x) for positive normal x.
template <class F>
VAEFAST_HD F log_finite_poly(F x) {
    using Fmt = Format<F>;
    using Int = typename Fmt::Int;
    const Int bits = bit_cast<Int>(x);
    const Int e = (bits - Fmt::sqrt_half_bits) >> Fmt::mantissa_bits;
    const F m = bit_cast<F>(Int(bits - (e << Fmt::mantissa_bits)));
    return log_near_one(m - F(1), F(e));
}

// log(x) for positive normal x; infinity and NaN come back as they are.
template <class F>
VAEFAST_HD F log_poly(F x) {
    return x - x == F(0) ? log_finite_poly(x) : x;
}

// log(1 + t) for 0 <= t <= 1, to full relative accuracy for small t.
template <class F>
VAEFAST_HD F log1p_poly(F t) {
    const bool halve = t > F(0.41421356237309504880);
    return log_near_one(halve ? F(0.5) * t - F(0.5) : t, halve ? F(1) : F(0));
}

// 1 / x for a normal x. On the GPU in float within an ulp, at an eighth of a division's price.
template <class F>
VAEFAST_HD F reciprocal_of(F x) {
#if defined(__CUDA_ARCH__)
    if constexpr (sizeof(F) == 4) {
        F y;
        asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
        return y;
    }
#endif
    return F(1) / x;
}

#if defined(__CUDA_ARCH__)
VAEFAST_HD float exp_of(float x) { return ::expf(x); }
VAEFAST_HD double exp_of(double x) { return ::exp(x); }
VAEFAST_HD float log_of(float x) { return ::logf(x); }
VAEFAST_HD double log_of(double x) { return ::log(x); }
VAEFAST_HD float log_finite_of(float x) { return log_finite_poly(x); }
VAEFAST_HD double log_finite_of(double x) { return ::log(x); }
VAEFAST_HD float log1p_of(float x) { return ::log1pf(x); }
VAEFAST_HD double log1p_of(double x) { return ::log1p(x); }
VAEFAST_HD float sqrt_of(float x) {  // within an ulp, and 0 for subnormal numbers
    float y;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
VAEFAST_HD double sqrt_of(double x) { return ::sqrt(x); }
#else
template <class F>
VAEFAST_HD F exp_of(F x) { return exp_poly(x); }
template <class F>
VAEFAST_HD F log_of(F x) { return log_poly(x); }
template <class F>
VAEFAST_HD F log_finite_of(F x) { return log_finite_poly(x); }
template <class F>
VAEFAST_HD F log1p_of(F x) { return log1p_poly(x); }
VAEFAST_HD float sqrt_of(float x) { return __builtin_sqrtf(x); }
VAEFAST_HD double sqrt_of(double x) { return __builtin_sqrt(x); }
#endif

// sin(pi t / 2) / t and cos(pi t / 2) as polynomials in u = t^2 <= 1/4.
VAEFAST_HD float sine_over(float u) {
    return horner(u, 1.5707964f, -0.64596665f, 0.079712525f, -0.0046859719f);
}
VAEFAST_HD float cosine_of(float u) {
    return horner(u, 1.0f, -1.2337005f, 0.25366852f, -0.020855254f, 0.00089357322f);
}
VAEFAST_HD double sine_over(double u) {
    return horner(u, 1.5707963267948966, -0.6459640975062463, 0.07969262624616705, -0.004681754135318688,
                  0.00016044118478735982, -3.598843235212085e-06, 5.692172921967927e-08, -6.688035109811468e-10,
                  6.0669357311061955e-12);
}
VAEFAST_HD double cosine_of(double u) {
    return horner(u, 1.0, -1.2337005501361697, 0.25366950790104803, -0.02086348076335296, 0.0009192602748394266,
                  -2.5202042373060607e-05, 4.710874778818172e-07, -6.386603083791852e-09, 6.565963114979473e-11,
                  -5.294400200734623e-13);
}

// Cosine and sine of 2 pi (r + 1/2) / 2^32. The quadrant comes from the integer, so the remainder, t quarter turns
// with |t| <= 1/2, keeps all its digits.
template <class F>
VAEFAST_HD void cos_sin_turn(uint32_t r, F& cosine, F& sine) {
    const F t = F(int32_t(r << 2)) * F(0x1p-32) + F(0x1p-31);
    const F u = t * t;
    const F s = t * sine_over(u), c = cosine_of(u);
    const uint32_t v = r + 0x20000000u;  // its two high bits are the quadrant
    const bool swap = (v & 0x40000000u) != 0;
    const F c1 = swap ? s : c, s1 = swap ? c : s;
    cosine = ((v + 0x40000000u) & 0x80000000u) != 0 ? -c1 : c1;
    sine = (v & 0x80000000u) != 0 ? -s1 : s1;
}

}  // namespace vaefast
