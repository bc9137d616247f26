// What the kernels of csrc/cuda/mixture_density*.cu share: shares of rows, and the parts of ranges, merged in their order.
#pragma once

#include <cmath>

#include "../core/mixture_density.h"
#include "dispatch.h"
#include "kernels.h"

namespace vaefast {
namespace {

constexpr int kThreads = 256;

// 0 in place of infinity, which meets only shares of 0.
template <class C>
__device__ C finite(C x) { return x - x != C(0) && x == x ? C(0) : x; }

// out[i] = the log-sum-exp of the parts of all ranges.
template <class C>
__global__ void __launch_bounds__(kThreads) merge_kernel(const C* scratch, C* out, int64_t size, int64_t splits) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= size) return;
    C top = C(-INFINITY), sum = 0;
    for (int64_t s = 0; s < splits; ++s) merge_sums(top, sum, scratch[s * size + i], scratch[(splits + s) * size + i]);
    out[i] = log_sum_of(top, sum);
}

// out[i] = the sum of the parts of all ranges, `stride` apart.
template <class C>
__global__ void __launch_bounds__(kThreads) add_kernel(const C* scratch, C* out, int64_t size, int64_t stride,
                                                       int64_t splits) {
    const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= size) return;
    C sum = 0;
    for (int64_t s = 0; s < splits; ++s) sum += scratch[s * stride + i];
    out[i] = sum;
}

// The gradient of row i, 0 where the row is infinitely far from everything and so has none.
template <class C>
__device__ C row_gradient(C grad, C log_sum) { return log_sum == C(-INFINITY) ? C(0) : grad; }
template <class C>
__device__ C share_in_row(C l, C log_sum) {
    return share_of(l - (log_sum == C(-INFINITY) ? C(INFINITY) : log_sum));
}

// Where a range of rows leaves its parts of s0, s1 and s2.
template <class C>
struct Sums {
    C *s0, *s1, *s2;
    __device__ Sums(const MixtureDensityBackward& a, int64_t split) {
        const int64_t size = a.components * a.k, size0 = a.per_dimension ? size : a.components;
        C* part = static_cast<C*>(a.scratch_components) + split * (size0 + 2 * size);
        const bool whole = a.splits_components == 1;
        s0 = whole ? static_cast<C*>(a.s0) : part;
        s1 = whole ? static_cast<C*>(a.s1) : part + size0;
        s2 = whole ? static_cast<C*>(a.s2) : part + size0 + size;
    }
};

unsigned blocks_of(int64_t size, int64_t each) { return unsigned((size + each - 1) / each); }

template <class C>
void merge_splits(const MixtureDensityForward& a, int64_t size, cudaStream_t stream) {
    if (a.splits > 1)
        launch_kernel(merge_kernel<C>, blocks_of(size, kThreads), kThreads, stream, static_cast<const C*>(a.scratch),
                      static_cast<C*>(a.out), size, a.splits);
}

template <class C>
void add_splits(const MixtureDensityBackward& a, cudaStream_t stream) {
    const int64_t size = a.components * a.k, size0 = a.per_dimension ? size : a.components;
    const auto add = [&](const void* scratch, int64_t offset, void* out, int64_t count, int64_t stride, int64_t splits) {
        if (splits > 1)
            launch_kernel(add_kernel<C>, blocks_of(count, kThreads), kThreads, stream,
                          static_cast<const C*>(scratch) + offset, static_cast<C*>(out), count, stride, splits);
    };
    add(a.scratch_z, 0, a.grad_z, a.rows * a.k, a.rows * a.k, a.splits_z);
    add(a.scratch_components, 0, a.s0, size0, size0 + 2 * size, a.splits_components);
    add(a.scratch_components, size0, a.s1, size, size0 + 2 * size, a.splits_components);
    add(a.scratch_components, size0 + size, a.s2, size, size0 + 2 * size, a.splits_components);
}

}  // namespace
}  // namespace vaefast
