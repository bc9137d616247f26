// What the reparam_kl kernels are given, on the CPU and on the GPU alike.
#pragma once

#include "dtype.h"
#include "fields.h"
#include "gaussian.h"

namespace vaefast {

// z[B, k] = mu + s eps and kl[B]. z is contiguous; mu and scale have unit stride within a row.
struct ReparamKlForward {
    const void *mu, *scale;
    const int64_t* seed;
    void *z, *kl;  // kl: double for float64, else float
    int64_t rows, k, mu_stride, scale_stride, row_offset;
    DType dtype;
    ScaleParam param;
    int threads = 1;  // CPU only

    VAEFAST_FIELDS(mu, scale, seed, z, kl, rows, k, mu_stride, scale_stride, row_offset, dtype, param)
};

// Gradients to mu and scale, contiguous. grad_z and grad_kl may each be null.
struct ReparamKlBackward {
    const void *grad_z, *grad_kl, *mu, *scale;
    const int64_t* seed;
    void *grad_mu, *grad_scale;
    int64_t rows, k, grad_z_stride, grad_kl_stride, mu_stride, scale_stride, row_offset;
    DType dtype;
    ScaleParam param;
    int threads = 1;  // CPU only

    VAEFAST_FIELDS(grad_z, grad_kl, mu, scale, seed, grad_mu, grad_scale, rows, k, grad_z_stride, grad_kl_stride,
                   mu_stride, scale_stride, row_offset, dtype, param)
};

}  // namespace vaefast
