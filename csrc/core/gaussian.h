// Terms of a diagonal Gaussian posterior N(mu, s^2) against the prior N(0, 1), one dimension at a time.
#pragma once

#include "elementary.h"

namespace vaefast {

// How the encoder's second output `a` states the standard deviation s.
enum class ScaleParam : int {
    logvar = 0,    // s = exp(a / 2)
    logstd = 1,    // s = exp(a)
    softplus = 2,  // s = 1e-6 + log(1 + exp(a))
};

template <class F>
struct Scale {
    F s;           // standard deviation
    F two_log_s;   // 2 log s
    F derivative;  // ds / da
};

template <ScaleParam P, class F>
VAEFAST_HD Scale<F> scale_of(F a) {
    if constexpr (P == ScaleParam::logvar) {
        const F s = exp_of(F(0.5) * a);
        return {s, a, F(0.5) * s};
    } else if constexpr (P == ScaleParam::logstd) {
        const F s = exp_of(a);
        return {s, F(2) * a, s};
    } else {
        const F t = exp_of(a < F(0) ? a : -a);
        const F s = F(1e-6) + ((a > F(0) ? a : F(0)) + log1p_of(t));
        return {s, F(2) * log_of(s), (a < F(0) ? t : F(1)) / (F(1) + t)};
    }
}

// KL(N(mu, s^2) || N(0, 1)).
template <class F>
VAEFAST_HD F kl_term(F mu, Scale<F> scale) {
    return F(0.5) * (mu * mu + scale.s * scale.s - scale.two_log_s - F(1));
}

// d kl / da. For the exponential forms s (s - 1/s) is s^2 - 1, without the division.
template <ScaleParam P, class F>
VAEFAST_HD F kl_scale_grad(Scale<F> scale) {
    if constexpr (P == ScaleParam::logvar) return F(0.5) * (scale.s * scale.s - F(1));
    else if constexpr (P == ScaleParam::logstd) return scale.s * scale.s - F(1);
    else return (scale.s - F(1) / scale.s) * scale.derivative;
}

}  // namespace vaefast
