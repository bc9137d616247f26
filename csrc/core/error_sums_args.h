// What the error_sums kernels are given, on the CPU and on the GPU alike.
#pragma once

#include "dtype.h"
#include "error.h"
#include "fields.h"

namespace vaefast {

// sums[rows, chunks] and, where it is not null, weighted[rows, chunks] by weight[k]: of the errors of `chunk` elements of a
// row each. x (uint8, float32 or x_hat's dtype) and x_hat have unit stride within a row. Sums and weights are double
// for float64, else float.
struct ErrorSumsForward {
    const void *x, *x_hat, *weight;
    void *sums, *weighted;
    int64_t rows, k, chunks, chunk, x_stride, x_hat_stride;
    DType x_dtype, dtype;
    ErrorKind kind;
    bool from_logits;
    int threads = 1;  // CPU only

    VAEFAST_FIELDS(x, x_hat, weight, sums, weighted, rows, k, chunks, chunk, x_stride, x_hat_stride, x_dtype, dtype,
                   kind, from_logits)
};

// Gradients to x [rows, k], x_hat [rows, k] and weight [k], contiguous; those that are null are not wanted. Either of
// the incoming gradients may be null. weight_parts[parts, k] is room for partial sums over rows, where grad_weight is
// wanted.
struct ErrorSumsBackward {
    const void *grad_sums, *grad_weighted, *x, *x_hat, *weight;
    void *grad_x, *grad_x_hat, *grad_weight;
    double* weight_parts;
    int64_t rows, k, parts, grad_sums_stride, grad_weighted_stride, x_stride, x_hat_stride;
    DType x_dtype, dtype;
    ErrorKind kind;
    bool from_logits;
    int threads = 1;  // CPU only

    VAEFAST_FIELDS(grad_sums, grad_weighted, x, x_hat, weight, grad_x, grad_x_hat, grad_weight, weight_parts, rows, k,
                   parts, grad_sums_stride, grad_weighted_stride, x_stride, x_hat_stride, x_dtype, dtype, kind,
                   from_logits)
};

}  // namespace vaefast
