// Error between one element of the data, x, and what the decoder says of it, a: the terms of the likelihoods.
#pragma once

#include "exp_normal.h"

namespace vaefast {

enum class ErrorKind : int { squared = 0, absolute = 1, cross_entropy = 2 };

// x / 255 for a whole x below 256, rounded as a division rounds: 1 / 255 in two parts, where multiply-adds are fused.
template <class F>
VAEFAST_HD F unit_of(F x) {
#if defined(__CUDA_ARCH__)
    if constexpr (sizeof(F) == 4) return __fmaf_rn(x, 0x1.010102p-8f, x * -0x1.fdfdfep-33f);
#elif defined(__FMA__) && !defined(__CUDACC__)
    if constexpr (sizeof(F) == 4) return __builtin_fmaf(x, 0x1.010102p-8f, x * -0x1.fdfdfep-33f);
#endif
    return x / F(255);
}

// t = exp(-|a|) and r = 1 / (1 + t). On the CPU in float, 1 / u for u in (1, 2] is a parabola of error 0.0101 and two
// Newton steps, which takes half the time of a division.
template <class F>
VAEFAST_HD void logistic_of(F a, F& t, F& r) {
#if !defined(__CUDA_ARCH__)
    if constexpr (sizeof(F) == 4) {
        t = exp_normal(bit_cast<F>(uint32_t(bit_cast<uint32_t>(a) | 0x80000000u)));
        const F u = F(1) + t;
        r = (F(0.32323232) * u - F(1.45454545)) * u + F(2.12121212);
        r = r + r * (F(1) - u * r);
        r = r + r * (F(1) - u * r);
        return;
    }
#endif
    t = exp_of(a < F(0) ? a : -a);
    r = F(1) / (F(1) + t);
}

template <class F>
struct Sigmoid {
    F value, derivative;
};

// Both to full relative accuracy in either tail.
template <class F>
VAEFAST_HD Sigmoid<F> sigmoid_of(F a) {
    F t, r;
    logistic_of(a, t, r);
    const F tr = t * r;
    return {a < F(0) ? tr : r, tr * r};
}

// Probabilities are raised to this inside the logarithms of a cross-entropy.
template <class F>
VAEFAST_HD F floored(F p) {
    return p < F(1e-8) ? F(1e-8) : p;
}

template <ErrorKind K, bool Logits, class F>
VAEFAST_HD F error_term(F x, F a) {
    if constexpr (K == ErrorKind::cross_entropy) {
        // a ((a > 0) - x) is max(a, 0) - a x without its cancellation.
        if constexpr (Logits) {
            F t, r;
            logistic_of(a, t, r);
            return a * ((a > F(0) ? F(1) : F(0)) - x) + log1p_of(t);
        } else {
            return -(x * log_of(floored(a)) + (F(1) - x) * log_of(floored(F(1) - a)));
        }
    } else {
        const F d = (Logits ? sigmoid_of(a).value : a) - x;
        if constexpr (K == ErrorKind::squared) return d * d;
        else return d < F(0) ? -d : d;
    }
}

template <class F>
struct Slopes {
    F to_x, to_a;
};

// Derivatives of error_term.
template <ErrorKind K, bool Logits, class F>
VAEFAST_HD Slopes<F> error_slopes(F x, F a) {
    if constexpr (K == ErrorKind::cross_entropy) {
        if constexpr (Logits) return {-a, sigmoid_of(a).value - x};
        const F p = floored(a), q = floored(F(1) - a);
        const F to_q = F(1) - a < F(1e-8) ? F(0) : (F(1) - x) / q, to_p = a < F(1e-8) ? F(0) : x / p;
        return {log_of(q) - log_of(p), to_q - to_p};
    } else {
        const Sigmoid<F> h = Logits ? sigmoid_of(a) : Sigmoid<F>{a, F(1)};
        const F d = h.value - x;
        F slope = F(2) * d;
        // NaN is neither above nor below, and stays.
        if constexpr (K == ErrorKind::absolute) slope = d > F(0) ? F(1) : d < F(0) ? F(-1) : d;
        return {-slope, slope * h.derivative};
    }
}

}  // namespace vaefast
