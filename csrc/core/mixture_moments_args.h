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

// The moments and kl[1] = 0.5 sum_k (mean^2 + variance - log max(variance, eps) - 1), in float or, for float64, double, of
// variance = between + within. moments.part_sums has room for parts x 3 x k sums, one number for every eight columns, and
// one more. The GPU alone has it.
struct MixtureKlForward {
    MixtureMomentsForward moments;
    void* kl;
    double eps;

    VAEFAST_FIELDS(moments.mu, moments.scale, moments.part_sums, moments.mean, moments.between, moments.within, kl,
                   moments.rows, moments.k, moments.parts, moments.mu_stride, moments.scale_stride, eps, moments.dtype,
                   moments.param)
};

// Its gradients, from that to kl [1] and the moments; as of MixtureMomentsBackward, whose own incoming gradients are null.
struct MixtureKlBackward {
    MixtureMomentsBackward moments;
    const void* grad;
    const double *between, *within;
    double eps;

    VAEFAST_FIELDS(grad, moments.mean, between, within, moments.mu, moments.scale, moments.grad_mu, moments.grad_scale,
                   moments.rows, moments.k, moments.mu_stride, moments.scale_stride, eps, moments.dtype, moments.param)
};

}  // namespace vaefast
