// What the mixture_density kernels are given, on the CPU and on the GPU alike. All tensors are contiguous, of one
// dtype, float32 or float64. Per dimension they are transposed: [k, rows], [k, components].
#pragma once

#include "dtype.h"
#include "fields.h"
#include "macros.h"

namespace vaefast {

// out[i] = log sum_j exp(l_ij), l_ij = constant_j - 1/2 sum_d ((z_id - mu_jd) inverse_jd)^2; per dimension without the
// sum over d. Components may be cut into `splits` ranges, whose parts go to scratch [2, splits, size of out].
struct MixtureDensityForward {
    const void *z, *mu, *inverse, *constant;
    void *out, *scratch;  // scratch: null where splits is 1
    int64_t rows, components, k, splits;
    bool per_dimension, exclude_self;
    DType dtype;
    int threads = 1;  // CPU only

    VAEFAST_FIELDS(z, mu, inverse, constant, out, scratch, rows, components, k, splits, per_dimension, exclude_self,
                   dtype)
};

// With a_ij = grad_i exp(l_ij - log_sum_i) and D_ij = z_i - mu_j: grad_z_i = -sum_j a_ij D_ij inverse_j^2,
// s0_j = sum_i a_ij, s1_j = sum_i a_ij D_ij, s2_j = sum_i a_ij D_ij^2. The GPU may cut the components (for grad_z) and
// the rows (for s0, s1, s2) into ranges; the parts go to the scratches, [splits_z, size of grad_z] and
// [splits_components, sizes of s0, s1 and s2 together].
struct MixtureDensityBackward {
    const void *grad, *log_sum, *z, *mu, *inverse, *constant;
    void *grad_z, *s0, *s1, *s2, *scratch_z, *scratch_components;
    int64_t rows, components, k, splits_z, splits_components;
    bool per_dimension, exclude_self;
    DType dtype;
    int threads = 1;  // CPU only

    VAEFAST_FIELDS(grad, log_sum, z, mu, inverse, constant, grad_z, s0, s1, s2, scratch_z, scratch_components, rows,
                   components, k, splits_z, splits_components, per_dimension, exclude_self, dtype)
};

// What the joint density takes besides on tensor cores, on the GPU alone, for float and k <= 64. center[k] is taken from z and
// mu, so that what their squares share cancels nowhere; largest[3] begins as zeros. The rest is room: squares[components], and
// for the packed numbers (4 bytes each) two of [padded rows, 64] in rows_packed, two of [padded components, 64] in
// components_packed, and, for gradients, as many in the other order. padded: rounded up to 64.
struct DensityRoom {
    const float* center;
    float *largest, *squares;
    void *rows_packed, *components_packed;
};

struct MixtureDensityForwardProducts {
    MixtureDensityForward density;
    DensityRoom room;

    VAEFAST_FIELDS(density.z, density.mu, density.inverse, density.constant, density.out, density.scratch, density.rows,
                   density.components, density.k, density.splits, density.per_dimension, density.exclude_self, density.dtype,
                   room.center, room.largest, room.squares, room.rows_packed, room.components_packed)
};

struct MixtureDensityBackwardProducts {
    MixtureDensityBackward density;
    DensityRoom room;

    VAEFAST_FIELDS(density.grad, density.log_sum, density.z, density.mu, density.inverse, density.constant, density.grad_z,
                   density.s0, density.s1, density.s2, density.scratch_z, density.scratch_components, density.rows,
                   density.components, density.k, density.splits_z, density.splits_components, density.per_dimension,
                   density.exclude_self, density.dtype, room.center, room.largest, room.squares, room.rows_packed,
                   room.components_packed)
};

}  // namespace vaefast
