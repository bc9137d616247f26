// log sum_j exp(l_ij) over mixture components j, and its gradients.
//
// Jointly over the dimensions a block has a tile of rows and streams tiles of components (for the components'
// gradients the other way round); squared differences are summed in registers from slices of 8 or 16 dimensions in
// shared memory. Where rows alone make too few blocks, what is streamed is cut into ranges, and the parts are merged in
// their order. Per dimension a thread has one point or one component of one dimension.
#include <cmath>

#include "../core/mixture_density.h"
#include "dispatch.h"
#include "kernels.h"
#include "mixture_density_parts.h"

namespace vaefast {
namespace {

constexpr int kTile = 64;  // components of a tile, rows of a backward tile, dimensions of a backward block

// Dimensions of a slice: what shared memory holds beside the shares.
template <class C>
constexpr int kDepth = sizeof(C) == 4 ? 16 : 8;

template <class C, int ROWS>
struct Slice {
    C z[kDepth<C>][ROWS + 4], mu[kDepth<C>][kTile + 4], w[kDepth<C>][kTile + 4];
};

// Squared differences q between R rows and 4 components a thread: rows R * (thread / 16) .., components
// 4 * (thread % 16) .. of the tile at row0, component0.
template <class C, int R>
__device__ void tile_distances(const C* z, const C* mu, const C* w, int64_t row0, int64_t rows, int64_t component0,
                               int64_t components, int64_t k, Slice<C, 16 * R>& slice, C (&q)[R][4]) {
    constexpr int depth = kDepth<C>;
    const int first_row = R * (threadIdx.x / 16), first_component = 4 * (threadIdx.x % 16);
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c) q[r][c] = 0;
    for (int64_t d0 = 0; d0 < k; d0 += depth) {
        __syncthreads();
        for (int e = threadIdx.x; e < 16 * R * depth; e += kThreads) {
            const int64_t row = row0 + e / depth, d = d0 + e % depth;
            slice.z[e % depth][e / depth] = row < rows && d < k ? z[row * k + d] : C(0);
        }
        for (int e = threadIdx.x; e < kTile * depth; e += kThreads) {
            const int64_t component = component0 + e / depth, d = d0 + e % depth;
            const bool real = component < components && d < k;
            slice.mu[e % depth][e / depth] = real ? mu[component * k + d] : C(0);
            slice.w[e % depth][e / depth] = real ? w[component * k + d] : C(0);
        }
        __syncthreads();
        // A sum of its own for each slice: long sums keep their digits.
        C part[R][4] = {};
#pragma unroll
        for (int d = 0; d < depth; ++d) {
            C x[R], m[4], s[4];
#pragma unroll
            for (int r = 0; r < R; ++r) x[r] = slice.z[d][first_row + r];
#pragma unroll
            for (int c = 0; c < 4; ++c) m[c] = slice.mu[d][first_component + c], s[c] = slice.w[d][first_component + c];
#pragma unroll
            for (int r = 0; r < R; ++r)
#pragma unroll
                for (int c = 0; c < 4; ++c) {
                    const C u = (x[r] - m[c]) * s[c];
                    part[r][c] += u * u;
                }
        }
#pragma unroll
        for (int r = 0; r < R; ++r)
#pragma unroll
            for (int c = 0; c < 4; ++c) q[r][c] += part[r][c];
    }
}

template <class C>
__global__ void __launch_bounds__(kThreads) forward_joint_kernel(MixtureDensityForward a) {
    constexpr int R = 8;
    alignas(16) __shared__ Slice<C, 16 * R> slice;
    const C* constant = static_cast<const C*>(a.constant);
    const int64_t row0 = int64_t(blockIdx.x) * (16 * R), split = blockIdx.y, mine = row0 + R * (threadIdx.x / 16);
    C top[R], sum[R];
#pragma unroll
    for (int r = 0; r < R; ++r) top[r] = C(-INFINITY), sum[r] = 0;
    const int64_t end = a.components * (split + 1) / a.splits;
    for (int64_t j0 = a.components * split / a.splits; j0 < end; j0 += kTile) {
        C q[R][4];
        tile_distances<C, R>(static_cast<const C*>(a.z), static_cast<const C*>(a.mu), static_cast<const C*>(a.inverse),
                             row0, a.rows, j0, end, a.k, slice, q);
        const int64_t first = j0 + 4 * (threadIdx.x % 16);
#pragma unroll
        for (int r = 0; r < R; ++r) {
            C l[4], best = top[r];
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                const bool absent = first + c >= end || (a.exclude_self && first + c == mine + r);
                l[c] = absent ? C(-INFINITY) : constant[first + c] - C(0.5) * q[r][c];
                best = l[c] > best ? l[c] : best;
            }
            const C base = best == C(-INFINITY) ? C(0) : best;
            C part = 0;
#pragma unroll
            for (int c = 0; c < 4; ++c) part += share_of(l[c] - base);
            sum[r] = sum[r] * share_of(top[r] - base) + part;
            top[r] = best;
        }
    }
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
        for (int step = 8; step > 0; step /= 2) {
            const C other_top = __shfl_xor_sync(0xffffffffu, top[r], step);
            const C other_sum = __shfl_xor_sync(0xffffffffu, sum[r], step);
            merge_sums(top[r], sum[r], other_top, other_sum);
        }
        if (threadIdx.x % 16 != 0 || mine + r >= a.rows) continue;
        if (a.splits == 1) {
            static_cast<C*>(a.out)[mine + r] = log_sum_of(top[r], sum[r]);
        } else {
            C* scratch = static_cast<C*>(a.scratch);
            scratch[split * a.rows + mine + r] = top[r];
            scratch[(a.splits + split) * a.rows + mine + r] = sum[r];
        }
    }
}

// a_ij of a tile of 64 by 64 in shared memory.
template <class C>
__device__ void tile_shares(const MixtureDensityBackward& a, int64_t row0, int64_t row_end, int64_t component0,
                            int64_t component_end, Slice<C, kTile>& slice, C (*shares)[kTile + 1]) {
    C q[4][4];
    tile_distances<C, 4>(static_cast<const C*>(a.z), static_cast<const C*>(a.mu), static_cast<const C*>(a.inverse), row0,
                         row_end, component0, component_end, a.k, slice, q);
    const int row = 4 * (threadIdx.x / 16), component = 4 * (threadIdx.x % 16);
    __syncthreads();  // the last tile's shares and slices have been read
#pragma unroll
    for (int r = 0; r < 4; ++r) {
        const int64_t i = row0 + row + r;
        const C log_sum = i < row_end ? static_cast<const C*>(a.log_sum)[i] : C(-INFINITY);
        const C grad = i < row_end ? row_gradient(static_cast<const C*>(a.grad)[i], log_sum) : C(0);
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            const int64_t j = component0 + component + c;
            const bool absent = i >= row_end || j >= component_end || (a.exclude_self && i == j);
            shares[row + r][component + c] =
                absent ? C(0) : grad * share_in_row(static_cast<const C*>(a.constant)[j] - C(0.5) * q[r][c], log_sum);
        }
    }
    __syncthreads();
}

template <class C>
__global__ void __launch_bounds__(kThreads) grad_rows_kernel(MixtureDensityBackward a) {
    constexpr int depth = kDepth<C>;
    alignas(16) __shared__ Slice<C, kTile> slice;
    __shared__ C shares[kTile][kTile + 1];
    const int64_t row0 = int64_t(blockIdx.x) * kTile, d0 = int64_t(blockIdx.y) * kTile, split = blockIdx.z;
    const int row = 4 * (threadIdx.x / 16), column = 4 * (threadIdx.x % 16);
    const C *mu = static_cast<const C*>(a.mu), *w = static_cast<const C*>(a.inverse);
    C x[4][4], sum[4][4] = {};
#pragma unroll
    for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            const int64_t i = row0 + row + r, d = d0 + column + c;
            x[r][c] = i < a.rows && d < a.k ? finite(static_cast<const C*>(a.z)[i * a.k + d]) : C(0);
        }
    const int64_t end = a.components * (split + 1) / a.splits_z;
    for (int64_t j0 = a.components * split / a.splits_z; j0 < end; j0 += kTile) {
        tile_shares<C>(a, row0, a.rows, j0, end, slice, shares);
        for (int s0 = 0; s0 < kTile; s0 += depth) {
            for (int e = threadIdx.x; e < depth * kTile; e += kThreads) {
                const int64_t j = j0 + s0 + e / kTile, d = d0 + e % kTile;
                const bool real = j < end && d < a.k;
                const C inverse = real ? w[j * a.k + d] : C(0);
                slice.mu[e / kTile][e % kTile] = real ? finite(mu[j * a.k + d]) : C(0);
                slice.w[e / kTile][e % kTile] = finite(inverse * inverse);
            }
            __syncthreads();
#pragma unroll
            for (int j = 0; j < depth; ++j)
#pragma unroll
                for (int r = 0; r < 4; ++r) {
                    const C share = shares[row + r][s0 + j];
#pragma unroll
                    for (int c = 0; c < 4; ++c)
                        sum[r][c] += share * (x[r][c] - slice.mu[j][column + c]) * slice.w[j][column + c];
                }
            __syncthreads();
        }
    }
    C* out = static_cast<C*>(a.splits_z == 1 ? a.grad_z : a.scratch_z) + split * a.rows * a.k;
#pragma unroll
    for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            const int64_t i = row0 + row + r, d = d0 + column + c;
            if (i < a.rows && d < a.k) out[i * a.k + d] = -sum[r][c];
        }
}

template <class C>
__global__ void __launch_bounds__(kThreads) grad_components_kernel(MixtureDensityBackward a) {
    constexpr int depth = kDepth<C>;
    alignas(16) __shared__ Slice<C, kTile> slice;
    __shared__ C shares[kTile][kTile + 1];
    const int64_t j0 = int64_t(blockIdx.x) * kTile, d0 = int64_t(blockIdx.y) * kTile, split = blockIdx.z;
    const int component = 4 * (threadIdx.x / 16), column = 4 * (threadIdx.x % 16);
    const C *z = static_cast<const C*>(a.z), *log_sum = static_cast<const C*>(a.log_sum);
    C m[4][4], sum1[4][4] = {}, sum2[4][4] = {}, sum0 = 0;
#pragma unroll
    for (int c = 0; c < 4; ++c)
#pragma unroll
        for (int x = 0; x < 4; ++x) {
            const int64_t j = j0 + component + c, d = d0 + column + x;
            m[c][x] = j < a.components && d < a.k ? finite(static_cast<const C*>(a.mu)[j * a.k + d]) : C(0);
        }
    const int64_t end = a.rows * (split + 1) / a.splits_components;
    for (int64_t row0 = a.rows * split / a.splits_components; row0 < end; row0 += kTile) {
        tile_shares<C>(a, row0, end, j0, a.components, slice, shares);
        if (threadIdx.x < kTile)
            for (int i = 0; i < kTile; ++i) sum0 += shares[i][threadIdx.x];
        for (int s0 = 0; s0 < kTile; s0 += depth) {
            for (int e = threadIdx.x; e < depth * kTile; e += kThreads) {
                const int64_t i = row0 + s0 + e / kTile, d = d0 + e % kTile;
                const bool real = i < end && d < a.k && log_sum[i] != C(-INFINITY);
                slice.mu[e / kTile][e % kTile] = real ? z[i * a.k + d] : C(0);
            }
            __syncthreads();
#pragma unroll
            for (int i = 0; i < depth; ++i)
#pragma unroll
                for (int c = 0; c < 4; ++c) {
                    const C share = shares[s0 + i][component + c];
#pragma unroll
                    for (int x = 0; x < 4; ++x) {
                        const C difference = slice.mu[i][column + x] - m[c][x], weighted = share * difference;
                        sum1[c][x] += weighted;
                        sum2[c][x] += weighted * difference;
                    }
                }
            __syncthreads();
        }
    }
    const Sums<C> out(a, split);
    if (blockIdx.y == 0 && threadIdx.x < kTile && j0 + threadIdx.x < a.components) out.s0[j0 + threadIdx.x] = sum0;
#pragma unroll
    for (int c = 0; c < 4; ++c)
#pragma unroll
        for (int x = 0; x < 4; ++x) {
            const int64_t j = j0 + component + c, d = d0 + column + x;
            if (j >= a.components || d >= a.k) continue;
            out.s1[j * a.k + d] = sum1[c][x];
            out.s2[j * a.k + d] = sum2[c][x];
        }
}

// ---- Per dimension; everything transposed ----

// Brings p, q and r of first .. end - 1 through shared memory, some at a time: body(j, n, held) has those of j .. j + n - 1
// in held[0], held[1] and held[2].
template <class C, class Body>
__device__ void stream(const C* p, const C* q, const C* r, int64_t first, int64_t end, const Body& body) {
    __shared__ C held[3][kThreads];
    for (int64_t j0 = first; j0 < end; j0 += kThreads) {
        const int64_t j = j0 + threadIdx.x;
        __syncthreads();
        if (j < end) held[0][threadIdx.x] = p[j], held[1][threadIdx.x] = q[j], held[2][threadIdx.x] = r[j];
        __syncthreads();
        body(j0, int(end - j0 < kThreads ? end - j0 : kThreads), held);
    }
}

template <class C>
__global__ void __launch_bounds__(kThreads) forward_marginal_kernel(MixtureDensityForward a) {
    constexpr int group = 8;  // components between two looks at the maximum
    const int64_t blocks = (a.rows + kThreads - 1) / kThreads, d = blockIdx.x / blocks, split = blockIdx.y;
    const int64_t i = blockIdx.x % blocks * kThreads + threadIdx.x, size = a.k * a.rows;
    const C z = i < a.rows ? static_cast<const C*>(a.z)[d * a.rows + i] : C(0);
    C top = C(-INFINITY), sum = 0;
    const int64_t end = a.components * (split + 1) / a.splits, offset = d * a.components;
    stream(static_cast<const C*>(a.mu) + offset, static_cast<const C*>(a.inverse) + offset,
           static_cast<const C*>(a.constant) + offset, a.components * split / a.splits, end,
           [&](int64_t j0, int n, const C(&held)[3][kThreads]) {
               for (int x0 = 0; x0 < n; x0 += group) {
                   C l[group], best = top, part = 0;
#pragma unroll
                   for (int x = 0; x < group; ++x) {
                       const int at = x0 + x < n ? x0 + x : n - 1;
                       const C u = (z - held[0][at]) * held[1][at];
                       const bool absent = x0 + x >= n || (a.exclude_self && i == j0 + at);
                       l[x] = absent ? C(-INFINITY) : held[2][at] - C(0.5) * (u * u);
                       best = l[x] > best ? l[x] : best;
                   }
                   const C base = best == C(-INFINITY) ? C(0) : best;
#pragma unroll
                   for (int x = 0; x < group; ++x) part += share_of(l[x] - base);
                   sum = sum * share_of(top - base) + part;
                   top = best;
               }
           });
    if (i >= a.rows) return;
    if (a.splits == 1) {
        static_cast<C*>(a.out)[d * a.rows + i] = log_sum_of(top, sum);
    } else {
        C* scratch = static_cast<C*>(a.scratch);
        scratch[split * size + d * a.rows + i] = top;
        scratch[(a.splits + split) * size + d * a.rows + i] = sum;
    }
}

template <class C>
__global__ void __launch_bounds__(kThreads) grad_rows_marginal_kernel(MixtureDensityBackward a) {
    const int64_t blocks = (a.rows + kThreads - 1) / kThreads, d = blockIdx.x / blocks, split = blockIdx.y;
    const int64_t i = blockIdx.x % blocks * kThreads + threadIdx.x, at = d * a.rows + i;
    const C log_sum = i < a.rows ? static_cast<const C*>(a.log_sum)[at] : C(-INFINITY);
    const C grad = i < a.rows ? row_gradient(static_cast<const C*>(a.grad)[at], log_sum) : C(0);
    const C z = i < a.rows ? finite(static_cast<const C*>(a.z)[at]) : C(0);
    C sum = 0;
    const int64_t end = a.components * (split + 1) / a.splits_z, offset = d * a.components;
    stream(static_cast<const C*>(a.mu) + offset, static_cast<const C*>(a.inverse) + offset,
           static_cast<const C*>(a.constant) + offset, a.components * split / a.splits_z, end,
           [&](int64_t j0, int n, const C(&held)[3][kThreads]) {
               for (int x = 0; x < n; ++x) {
                   const C w = held[1][x], u = (z - held[0][x]) * w;
                   const C share = share_in_row(held[2][x] - C(0.5) * (u * u), log_sum);
                   if (!(a.exclude_self && i == j0 + x)) sum += share * finite(u * w);
               }
           });
    if (i < a.rows) {
        C* out = static_cast<C*>(a.splits_z == 1 ? a.grad_z : a.scratch_z);
        out[split * a.rows * a.k + at] = -(grad * sum);
    }
}

template <class C>
__global__ void __launch_bounds__(kThreads) grad_components_marginal_kernel(MixtureDensityBackward a) {
    const int64_t blocks = (a.components + kThreads - 1) / kThreads, d = blockIdx.x / blocks, split = blockIdx.y;
    const int64_t j = blockIdx.x % blocks * kThreads + threadIdx.x, at = d * a.components + j;
    const bool real = j < a.components;
    const C mu = real ? static_cast<const C*>(a.mu)[at] : C(0), w = real ? static_cast<const C*>(a.inverse)[at] : C(0);
    const C constant = real ? static_cast<const C*>(a.constant)[at] : C(0);
    C sum0 = 0, sum1 = 0, sum2 = 0;
    const int64_t end = a.rows * (split + 1) / a.splits_components, offset = d * a.rows;
    stream(static_cast<const C*>(a.z) + offset, static_cast<const C*>(a.log_sum) + offset,
           static_cast<const C*>(a.grad) + offset, a.rows * split / a.splits_components, end,
           [&](int64_t i0, int n, const C(&held)[3][kThreads]) {
               for (int x = 0; x < n; ++x) {
                   const C away = held[0][x] - mu, u = away * w, log_sum = held[1][x], difference = finite(away);
                   C share = row_gradient(held[2][x], log_sum) * share_in_row(constant - C(0.5) * (u * u), log_sum);
                   if (a.exclude_self && i0 + x == j) share = 0;
                   sum0 += share;
                   sum1 += share * difference;
                   sum2 += share * difference * difference;
               }
           });
    if (!real) return;
    const Sums<C> out(a, split);
    out.s0[at] = sum0;
    out.s1[at] = sum1;
    out.s2[at] = sum2;
}

template <class C>
void launch_forward(const MixtureDensityForward& a, cudaStream_t stream) {
    const int64_t size = a.per_dimension ? a.k * a.rows : a.rows;
    if (a.per_dimension) {
        const dim3 grid(unsigned(blocks_of(a.rows, kThreads) * a.k), unsigned(a.splits));
        launch_kernel(forward_marginal_kernel<C>, grid, kThreads, stream, a);
    } else {
        launch_kernel(forward_joint_kernel<C>, dim3(blocks_of(a.rows, 128), unsigned(a.splits)), kThreads, stream, a);
    }
    merge_splits<C>(a, size, stream);
}

template <class C>
void launch_backward(const MixtureDensityBackward& a, cudaStream_t stream) {
    if (a.per_dimension) {
        const dim3 rows(unsigned(blocks_of(a.rows, kThreads) * a.k), unsigned(a.splits_z));
        const dim3 components(unsigned(blocks_of(a.components, kThreads) * a.k), unsigned(a.splits_components));
        launch_kernel(grad_rows_marginal_kernel<C>, rows, kThreads, stream, a);
        launch_kernel(grad_components_marginal_kernel<C>, components, kThreads, stream, a);
    } else {
        const unsigned columns = blocks_of(a.k, kTile);
        launch_kernel(grad_rows_kernel<C>, dim3(blocks_of(a.rows, kTile), columns, unsigned(a.splits_z)), kThreads, stream,
                      a);
        launch_kernel(grad_components_kernel<C>,
                      dim3(blocks_of(a.components, kTile), columns, unsigned(a.splits_components)), kThreads, stream, a);
    }
    add_splits<C>(a, stream);
}

}  // namespace

void mixture_density_forward_cuda(const MixtureDensityForward& a, CudaTarget target) {
    on_device(target, "mixture_density_forward", [&](cudaStream_t stream) {
        a.dtype == DType::float64 ? launch_forward<double>(a, stream) : launch_forward<float>(a, stream);
    });
}

void mixture_density_backward_cuda(const MixtureDensityBackward& a, CudaTarget target) {
    on_device(target, "mixture_density_backward", [&](cudaStream_t stream) {
        a.dtype == DType::float64 ? launch_backward<double>(a, stream) : launch_backward<float>(a, stream);
    });
}

}  // namespace vaefast
