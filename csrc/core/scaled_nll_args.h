// What the scaled_nll kernels are given. The GPU alone has them: on the CPU the sums of errors and PyTorch's arithmetic on a
// number a row take as long.
#pragma once

#include "dtype.h"
#include "error.h"
#include "fields.h"

namespace vaefast {

// The likelihoods of one scale gamma, in float: error[rows], the sum of the errors of a row, and nll[rows] =
// factor error gamma^-power + k (log gamma + constant), with factor 1/2 and power 2 for squared errors, 1 and 1 for absolute
// ones. x (uint8, float32 or x_hat's dtype) and x_hat [rows, k] have unit stride within a row; k < 2^31 - 2^16.
struct ScaledNllForward {
    const void *x, *x_hat;
    const float* log_gamma;
    float *nll, *error;
    int64_t rows, k, x_stride, x_hat_stride;
    float constant;
    DType x_dtype, dtype;
    ErrorKind kind;
    bool from_logits;

    VAEFAST_FIELDS(x, x_hat, log_gamma, nll, error, rows, k, x_stride, x_hat_stride, constant, x_dtype, dtype, kind,
                   from_logits)
};

// Gradients to x [rows, k], x_hat [rows, k], contiguous, and log_gamma [1]; those that are null are not wanted. Either of the
// incoming gradients [rows] may be null.
struct ScaledNllBackward {
    const float *grad_nll, *grad_error;
    const void *x, *x_hat;
    const float *log_gamma, *error;
    void *grad_x, *grad_x_hat;
    float* grad_log_gamma;
    int64_t rows, k, grad_nll_stride, grad_error_stride, x_stride, x_hat_stride;
    DType x_dtype, dtype;
    ErrorKind kind;
    bool from_logits;

    VAEFAST_FIELDS(grad_nll, grad_error, x, x_hat, log_gamma, error, grad_x, grad_x_hat, grad_log_gamma, rows, k,
                   grad_nll_stride, grad_error_stride, x_stride, x_hat_stride, x_dtype, dtype, kind, from_logits)
};

}  // namespace vaefast
