// What the reparam_kl kernels are given, on the CPU and on the GPU alike.
#pragma once

#include "dtype.h"
#include "fields.h"
#include "gaussian.h"

namespace vaefast {

// z[draws, B, k] = mu + s eps and kl[B]; draw j takes its noise from Philox stream j. z is contiguous; mu and scale
// have unit stride within a row. kl may be null: then only z is made.
struct ReparamKlForward {
    const void *mu, *scale;
    const int64_t* seed;
    void *z, *kl;  // kl: double for float64, else float
    int64_t draws, rows, k, mu_stride, scale_stride, row_offset;
    DType dtype;
    ScaleParam param;
    int threads = 1;  // CPU only

    VAEFAST_FIELDS(mu, scale, seed, z, kl, draws, rows, k, mu_stride, scale_stride, row_offset, dtype, param)
};

// Gradients to mu and scale, contiguous, summed over the draws. One of grad_z and grad_kl may be null. grad_mu may be
// null where grad_kl is: then only grad_scale is made, and mu is not read.
struct ReparamKlBackward {
    const void *grad_z, *grad_kl, *mu, *scale;
    const int64_t* seed;
    void *grad_mu, *grad_scale;
    int64_t draws, rows, k, grad_z_draw_stride, grad_z_stride, grad_kl_stride, mu_stride, scale_stride, row_offset;
    DType dtype;
    ScaleParam param;
    int threads = 1;  // CPU only

    VAEFAST_FIELDS(grad_z, grad_kl, mu, scale, seed, grad_mu, grad_scale, draws, rows, k, grad_z_draw_stride,
                   grad_z_stride, grad_kl_stride, mu_stride, scale_stride, row_offset, dtype, param)
};

}  // namespace vaefast
