// What the mixture_moments kernels are given, on the CPU and on the GPU alike.
#pragma once

#include "dtype.h"
#include "fields.h"
#include "exp_normal.h"
#include "gaussian.h"

namespace vaefast {

template <class F>
struct Variance {
    F value;       // s^2
    F derivative;  // to the encoder's output a
};

template <ScaleParam P, class F>
VAEFAST_HD Variance<F> variance_of(F a) {
    if constexpr (P == ScaleParam::logvar) {
        const F v = exp_normal(a);
        return {v, v};
    } else if constexpr (P == ScaleParam::logstd) {
        const F v = exp_normal(F(2) * a);
        return {v, F(2) * v};
    } else {
        const Scale<F> scale = scale_of<P>(a);
        return {scale.s * scale.s, F(2) * scale.s * scale.derivative};
    }
}

// Per column of mu[rows, k] and scale[rows, k] (or null): the mean of mu, its biased variance (`between`) and the mean
// of s^2 (`within`, 0 without scale). parts[parts, 3, k] is room for the sums of parts of the rows: mean, sum of squared
// deviations from it, sum of s^2. mu and scale have unit stride within a row.
struct MixtureMomentsForward {
    const void *mu, *scale;
    double *part_sums, *mean, *between, *within;
    int64_t rows, k, parts, mu_stride, scale_stride;
    DType dtype;
    ScaleParam param;
    int threads = 1;  // CPU only

    VAEFAST_FIELDS(mu, scale, part_sums, mean, between, within, rows, k, parts, mu_stride, scale_stride, dtype, param)
};

// Gradients to mu and scale, contiguous; scale and grad_scale may be null, and so may each incoming gradient [k].
struct MixtureMomentsBackward {
    const double *grad_mean, *grad_between, *grad_within, *mean;
    const void *mu, *scale;
    void *grad_mu, *grad_scale;
    int64_t rows, k, mu_stride, scale_stride;
    DType dtype;
    ScaleParam param;
    int threads = 1;  // CPU only

    VAEFAST_FIELDS(grad_mean, grad_between, grad_within, mean, mu, scale, grad_mu, grad_scale, rows, k, mu_stride,
                   scale_stride, dtype, param)
};

}  // namespace vaefast
