// What the mmd kernels are given, on the CPU and on the GPU alike.
#pragma once

#include "dtype.h"
#include "fields.h"
#include "mmd_kernel.h"

namespace vaefast {

// z[P, n + m, z_stride] = scale (x, y - mean) in the compute type, zero beyond column k, with the mean[P, k] of both
// samples together, and e[P, n + m]: |z|^2, or, where `dot`, z . (scale mean).
struct MmdCenter {
    const void *x, *y;
    const double* scale;  // [P]
    void *z, *e;
    double* mean;
    int64_t problems, n, m, k, x_problem, x_row, y_problem, y_row, z_stride;
    DType dtype;
    int dot;
    int threads = 1;

    VAEFAST_FIELDS(x, y, scale, z, e, mean, problems, n, m, k, x_problem, x_row, y_problem, y_row, z_stride, dtype,
                   dot)
};

// Sums over pairs of rows of z[P, N, z_stride], the n of x and then the m of y:
//   value[parts, P] += c_ij f_ij,   rows[splits, P, N] += c_ij g_ij,
//   out[splits, P, N, k] += c_ij g_ij (z_j - z_i) for kernels of the distance, c_ij g_ij z_j for polynomials,
// with f and g from mmd_kernel.h and c_ij = w_i w_j times factors[P, 3] (x with x, y with y, minus x with y). A row is
// never paired with itself, and where `paired` neither is x_i with y_i. `grad` says whose rows and out are wanted.
struct MmdPairs {
    const void *z, *e, *w;
    const double* factors;
    const double* offset;  // [P]: the constant under a polynomial's power; else null
    const double* scales;  // [count], in host memory
    double *value, *rows;
    void* out;
    int64_t problems, n, m, k, z_stride, splits, count;
    DType dtype;  // float32 or float64
    MmdKernel kernel;
    int paired;
    int grad;  // 1: x, 2: y
    int threads = 1;

    VAEFAST_FIELDS(z, e, w, factors, offset, scales, value, rows, out, problems, n, m, k, z_stride, splits, count,
                   dtype, kernel, paired, grad)
};

// The same for float rows of at most 64 columns on tensor cores, on the GPU alone. `largest`[P] is max |z|; packed_rows
// [P, padded, depth] and packed_columns[P, depth, padded] have room for z as pairs of halves (4 bytes a number), padded: n + m
// rounded up to 64, depth: k rounded up to 32.
struct MmdProducts {
    MmdPairs pairs;
    const float* largest;
    void *packed_rows, *packed_columns;

    VAEFAST_FIELDS(pairs.z, pairs.e, pairs.w, pairs.factors, pairs.offset, pairs.scales, pairs.value, pairs.rows, pairs.out,
                   pairs.problems, pairs.n, pairs.m, pairs.k, pairs.z_stride, pairs.splits, pairs.count, pairs.dtype,
                   pairs.kernel, pairs.paired, pairs.grad, largest, packed_rows, packed_columns)
};

}  // namespace vaefast
