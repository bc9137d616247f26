// The joint density of csrc/cuda/mixture_density.cu and its gradients on tensor cores, for float and at most 64 dimensions.
//
// sum_d ((z - mu) w)^2 = z^2 . w^2 - 2 z . (mu w^2) + sum_d (mu w)^2, with products of numbers in two halves each (mma.h), as
// accurate as those in float. Where the terms are so large that their difference loses digits, as for narrow posteriors, a pair
// that may have a share in its row is taken by itself, from differences; one that cannot is absent either way. A block of four
// warps owns 64 rows or components, a warp 16 of them, and streams tiles of 64 of the other. Shares stand in registers, where
// they are the left side of the product that makes the gradient.
#include "mixture_density_parts.h"
#include "mma.h"

namespace vaefast {
namespace {

constexpr int kTile = 64, kDepth = 64, kBlock = 128, kChunks = kDepth / 4;
constexpr int kPitch = kChunks + 4;  // of a row of a tile: what eight threads read at a time lies in different banks
constexpr float kMost = 256.0f;       // a sum of terms up to which their difference keeps its digits
constexpr float kError = 0x1p-19f;    // more than the error of a log density over such a sum

// The packed numbers: kind 0 and 1 (z^2 and z, or w^2 and mu w^2) by rows, and then by columns.
struct Packed {
    Chunk* at;
    int64_t padded;
    __device__ Chunk* by_row(int kind) const { return at + kind * padded * kChunks; }
    __device__ Chunk* by_column(int kind) const { return at + (2 + kind) * padded * kChunks; }
};

__device__ __forceinline__ Packed packed_of(void* at, int64_t count) {
    return {static_cast<Chunk*>(at), (count + kTile - 1) / kTile * kTile};
}

// largest[0], [1], [2] = the largest finite |z - center|, |mu - center| and |w|.
__global__ void __launch_bounds__(kThreads) largest_kernel(const float* z, const float* mu, const float* w, const float* center,
                                                           float* largest, int64_t rows, int64_t components, int64_t k) {
    float most[3] = {0, 0, 0};
    for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < (rows + components) * k; i += int64_t(gridDim.x) * kThreads) {
        const bool row = i < rows * k;
        const int64_t at = row ? i : i - rows * k;
        const float away = finite((row ? z : mu)[at] - center[at % k]), width = row ? 0.0f : finite(w[at]);
        const float size = away < 0 ? -away : away, other = width < 0 ? -width : width;
        float& of = most[row ? 0 : 1];
        of = size > of ? size : of;
        most[2] = other > most[2] ? other : most[2];
    }
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        for (int step = 16; step > 0; step /= 2) {
            const float there = __shfl_xor_sync(0xffffffffu, most[i], step);
            most[i] = there > most[i] ? there : most[i];
        }
        // Of numbers that are not negative the bits are ordered as they are.
        if (threadIdx.x % 32 == 0) atomicMax(reinterpret_cast<unsigned*>(largest + i), bit_cast<unsigned>(most[i]));
    }
}

// Exponents of the scales of z^2, z, w^2 and mu w^2.
__device__ __forceinline__ int exponent_of(const float* largest, int kind, bool of_rows) {
    const float z = largest[0], mu = largest[1], w = largest[2];
    return exponent_to_scale(of_rows ? (kind ? z : z * z) : kind ? mu * (w * w) : w * w);
}

// Four rows by four dimensions a thread. By rows a number that is not finite stays, and its pairs are taken by themselves.
__global__ void __launch_bounds__(kThreads) pack_kernel(const float* x, const float* w, DensityRoom room, void* to, int64_t count,
                                                        int64_t k, bool columns) {
    const Packed packed = packed_of(to, count);
    const int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (at >= packed.padded / 4 * kChunks) return;
    const int c4 = int(at % kChunks);
    const int64_t r4 = at / kChunks;
    const float first_scale = power_of_two(exponent_of(room.largest, 0, !w));
    const float second_scale = power_of_two(exponent_of(room.largest, 1, !w));
    float first[4][4], second[4][4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int64_t row = 4 * r4 + i, d = 4 * c4 + j;
            const bool there = row < count && d < k;
            const float away = there ? x[row * k + d] - room.center[d] : 0.0f, width = there && w ? w[row * k + d] : 1.0f;
            first[i][j] = there ? w ? width * width : away * away : 0.0f;
            second[i][j] = there ? w ? away * (width * width) : away : 0.0f;
        }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        float f[4], s[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) f[j] = first_scale * first[i][j], s[j] = second_scale * finite(second[i][j]);
        packed.by_row(0)[(4 * r4 + i) * kChunks + c4] = chunk_of(f[0], f[1], f[2], f[3]);
        packed.by_row(1)[(4 * r4 + i) * kChunks + c4] = chunk_of(s[0], s[1], s[2], s[3]);
        if (!columns) continue;
#pragma unroll
        for (int j = 0; j < 4; ++j) f[j] = first_scale * finite(first[j][i]), s[j] = second_scale * finite(second[j][i]);
        packed.by_column(0)[(4 * c4 + i) * (packed.padded / 4) + r4] = chunk_of(f[0], f[1], f[2], f[3]);
        packed.by_column(1)[(4 * c4 + i) * (packed.padded / 4) + r4] = chunk_of(s[0], s[1], s[2], s[3]);
    }
}

// squares[j] = sum_d ((mu - center) w)^2.
__global__ void __launch_bounds__(kThreads) squares_kernel(const float* mu, const float* w, const float* center, float* squares,
                                                           int64_t components, int64_t k) {
    const int64_t j = int64_t(blockIdx.x) * (kThreads / 8) + threadIdx.x / 8;
    float sum = 0;
    if (j < components)
        for (int64_t d = threadIdx.x % 8; d < k; d += 8) {
            const float u = (mu[j * k + d] - center[d]) * w[j * k + d];
            sum += u * u;
        }
    for (int step = 4; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (j < components && threadIdx.x % 8 == 0) squares[j] = sum;
}

__device__ float distance(const float* z, const float* mu, const float* w, int k) {
    float q = 0;
#pragma unroll 1
    for (int d0 = 0; d0 < k; d0 += 16) {  // long sums keep their digits
        float part = 0;
#pragma unroll 1
        for (int d = d0; d < d0 + 16 && d < k; ++d) {
            const float u = (z[d] - mu[d]) * w[d];
            part += u * u;
        }
        q += part;
    }
    return q;
}

using Tile = Chunk[kTile * kPitch];

// The tile of `packed` in `order` (a kind by rows or by columns) that begins at row `first`.
__device__ __forceinline__ void load_rows(const Chunk* from, int64_t first, Tile& tile) {
    for (int i = threadIdx.x; i < kTile * kChunks; i += kBlock) tile[i / kChunks * kPitch + i % kChunks] = from[first * kChunks + i];
}
__device__ __forceinline__ void load_columns(const Chunk* from, int64_t first, int64_t padded, Tile& tile) {
    for (int i = threadIdx.x; i < kDepth * kChunks; i += kBlock)
        tile[i / kChunks * kPitch + i % kChunks] = from[int64_t(i / kChunks) * (padded / 4) + first / 4 + i % kChunks];
}

// What a thread has of its warp's 16 own by 64 others: the quadratic form less squares_j in q, and z^2 . w^2 in `plain`.
__device__ __forceinline__ void products(const Packed& own, int64_t own0, const Tile (&tiles)[2], const float* largest,
                                         float (&plain)[kTile / 8][4], float (&q)[kTile / 8][4]) {
    const int lane = threadIdx.x % 32;
    const int64_t top = own0 + threadIdx.x / 32 * 16 + lane / 4;
    const float unscale[2] = {power_of_two(-exponent_of(largest, 0, true)) * power_of_two(-exponent_of(largest, 0, false)),
                              power_of_two(-exponent_of(largest, 1, true)) * power_of_two(-exponent_of(largest, 1, false))};
#pragma unroll
    for (int kind = 0; kind < 2; ++kind) {
        Chunk mine[2][kChunks / 4];
#pragma unroll
        for (int h = 0; h < 2; ++h)
#pragma unroll
            for (int d = 0; d < kChunks / 4; ++d) mine[h][d] = own.by_row(kind)[(top + 8 * h) * kChunks + 4 * d + lane % 4];
#pragma unroll
        for (int tile = 0; tile < kTile / 8; ++tile) {
            const int local = tile / 2 * 16 + lane / 8 * 4 + tile % 2 * 2 + lane / 4 % 2;
            float high[4] = {}, cross[4] = {};
#pragma unroll
            for (int d = 0; d < kChunks / 4; ++d)
                mma_parts(high, cross, mine[0][d], mine[1][d], tiles[kind][local * kPitch + 4 * d + lane % 4]);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float x = unscale[kind] * (high[i] + cross[i] * (1 / kLowScale));
                if (kind == 0) plain[tile][i] = x;
                else q[tile][i] = plain[tile][i] - 2 * x;
            }
        }
    }
}

__global__ void __launch_bounds__(kBlock, 3) forward_products_kernel(MixtureDensityForwardProducts given) {
    alignas(16) __shared__ Tile tiles[2];
    __shared__ float constant[kTile], squares[kTile];
    const MixtureDensityForward& a = given.density;
    const int lane = threadIdx.x % 32, k = int(a.k);
    const int64_t row0 = int64_t(blockIdx.x) * kTile, split = blockIdx.y, mine = row0 + threadIdx.x / 32 * 16;
    const Packed rows = packed_of(given.room.rows_packed, a.rows), components = packed_of(given.room.components_packed, a.components);
    const float *z = static_cast<const float*>(a.z), *mu = static_cast<const float*>(a.mu), *w = static_cast<const float*>(a.inverse);
    float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    const int64_t all = (a.components + kTile - 1) / kTile, last = all * (split + 1) / a.splits;
    for (int64_t tile0 = all * split / a.splits; tile0 < last; ++tile0) {
        const int64_t j0 = tile0 * kTile;
        __syncthreads();  // the last tile has been read
        for (int kind = 0; kind < 2; ++kind) load_rows(components.by_row(kind), j0, tiles[kind]);
        if (threadIdx.x < kTile) {
            const int64_t j = j0 + threadIdx.x;
            constant[threadIdx.x] = j < a.components ? static_cast<const float*>(a.constant)[j] : -INFINITY;
            squares[threadIdx.x] = j < a.components ? given.room.squares[j] : 0.0f;
        }
        __syncthreads();
        float plain[kTile / 8][4], l[kTile / 8][4], least[2] = {top[0], top[1]};
        products(rows, row0, tiles, given.room.largest, plain, l);
        uint32_t unsure = 0;
#pragma unroll
        for (int x = 0; x < 32; ++x) {
            const int h = x / 2 % 2, local = column_of(x, lane);
            const float terms = plain[x / 4][x % 4] + squares[local];
            float value = constant[local] - 0.5f * (l[x / 4][x % 4] + squares[local]), lower = value;
            const bool absent = constant[local] == -INFINITY || (a.exclude_self && j0 + local == mine + row_of(x, lane));
            if (!(terms <= kMost) && !absent) {
                unsure |= 1u << x;
                lower = value - kError * terms;
                value += kError * terms;  // no less than what it is
            }
            if (absent) value = lower = -INFINITY;
            least[h] = lower > least[h] ? lower : least[h];
            l[x / 4][x % 4] = value;
        }
        if (unsure) {
            float held[32];
#pragma unroll
            for (int x = 0; x < 32; ++x) held[x] = l[x / 4][x % 4];
#pragma unroll 1
            for (int x = 0; x < 32; ++x) {
                if (!(unsure >> x & 1u)) continue;
                const float base = x / 2 % 2 ? least[1] : least[0];
                const int64_t i = mine + row_of(x, lane), j = j0 + column_of(x, lane);
                if (i >= a.rows || held[x] - base < ShareFloor<float>::log) held[x] = -INFINITY;
                else held[x] = constant[column_of(x, lane)] - 0.5f * distance(z + i * k, mu + j * k, w + j * k, k);
            }
#pragma unroll
            for (int x = 0; x < 32; ++x) l[x / 4][x % 4] = held[x];
        }
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float best = top[h], part = 0;
#pragma unroll
            for (int x = 0; x < 16; ++x) {
                const float value = l[x / 2][2 * h + x % 2];
                best = value > best ? value : best;
            }
            const float base = best == -INFINITY ? 0.0f : best;
#pragma unroll
            for (int x = 0; x < 16; ++x) part += share_of(l[x / 2][2 * h + x % 2] - base);
            sum[h] = sum[h] * share_of(top[h] - base) + part;
            top[h] = best;
        }
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
#pragma unroll
        for (int step = 2; step > 0; step /= 2) {
            const float other_top = __shfl_xor_sync(0xffffffffu, top[h], step);
            const float other_sum = __shfl_xor_sync(0xffffffffu, sum[h], step);
            merge_sums(top[h], sum[h], other_top, other_sum);
        }
        const int64_t i = mine + lane / 4 + 8 * h;
        if (lane % 4 != 0 || i >= a.rows) continue;
        if (a.splits == 1) {
            static_cast<float*>(a.out)[i] = log_sum_of(top[h], sum[h]);
        } else {
            float* scratch = static_cast<float*>(a.scratch);
            scratch[split * a.rows + i] = top[h];
            scratch[(a.splits + split) * a.rows + i] = sum[h];
        }
    }
}

// OF_ROWS: grad_z of 64 rows; else s0, s1 and s2 of 64 components. a_ij is the share of component j in row i times the gradient
// of the row. With z and mu less the center:
//   grad_z = (sum_j a_ij mu w^2) - z sum_j a_ij w^2,   s1 = (sum_i a_ij z) - mu s0,   s2 = (sum_i a_ij z^2) - 2 mu (sum_i a_ij z) + mu^2 s0.
template <bool OF_ROWS>
__global__ void __launch_bounds__(kBlock, 2) gradient_products_kernel(MixtureDensityBackwardProducts given) {
    alignas(16) __shared__ Tile tiles[2];
    __shared__ float other_first[kTile], other_second[kTile];
    const MixtureDensityBackward& a = given.density;
    const int lane = threadIdx.x % 32, q4 = lane % 4, k = int(a.k);
    const int64_t own_count = OF_ROWS ? a.rows : a.components, other_count = OF_ROWS ? a.components : a.rows;
    const int64_t own0 = int64_t(blockIdx.x) * kTile, split = blockIdx.y, mine = own0 + threadIdx.x / 32 * 16;
    const Packed rows = packed_of(given.room.rows_packed, a.rows), components = packed_of(given.room.components_packed, a.components);
    const Packed own = OF_ROWS ? rows : components, other = OF_ROWS ? components : rows;
    const float *z = static_cast<const float*>(a.z), *mu = static_cast<const float*>(a.mu), *w = static_cast<const float*>(a.inverse);
    const float *constants = static_cast<const float*>(a.constant), *squares = given.room.squares;
    const float *grads = static_cast<const float*>(a.grad), *log_sums = static_cast<const float*>(a.log_sum);
    // Of a row: its gradient and log_sum; of a component: its constant and squares. 0 shares where there is none.
    const auto first_of = [&](bool row, int64_t i) {
        return row ? (i < a.rows ? row_gradient(grads[i], log_sums[i]) : 0.0f) : i < a.components ? constants[i] : -INFINITY;
    };
    const auto second_of = [&](bool row, int64_t i) {
        return row ? (i < a.rows && log_sums[i] != -INFINITY ? log_sums[i] : float(INFINITY)) : i < a.components ? squares[i] : 0.0f;
    };
    const float own_first[2] = {first_of(OF_ROWS, mine + lane / 4), first_of(OF_ROWS, mine + lane / 4 + 8)};
    const float own_second[2] = {second_of(OF_ROWS, mine + lane / 4), second_of(OF_ROWS, mine + lane / 4 + 8)};
    // Where pairs taken by themselves are added, by the thread whose columns they are; begins as zeros.
    const Sums<float> sums(a, split);
    float* to[2] = {OF_ROWS ? static_cast<float*>(a.splits_z == 1 ? a.grad_z : a.scratch_z) + split * a.rows * a.k : sums.s1,
                    OF_ROWS ? nullptr : sums.s2};
    const auto each_of_mine = [&](auto body) {  // body(half, tile, i, place)
#pragma unroll
        for (int h = 0; h < 2; ++h)
#pragma unroll
            for (int tile = 0; tile < kDepth / 8; ++tile)
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    const int64_t row = mine + lane / 4 + 8 * h;
                    const int d = 8 * tile + 2 * q4 + i;
                    if (row < own_count && d < k) body(h, tile, i, row * k + d, d);
                }
    };
    each_of_mine([&](int, int, int, int64_t at, int) {
        to[0][at] = 0.0f;
        if (!OF_ROWS) to[1][at] = 0.0f;
    });
    float total[2][kDepth / 8][4] = {};
    double own_sum[2] = {0, 0};
    float single_sum[2] = {0, 0};
    const int64_t all = (other_count + kTile - 1) / kTile, splits = OF_ROWS ? a.splits_z : a.splits_components;
    for (int64_t tile0 = all * split / splits; tile0 < all * (split + 1) / splits; ++tile0) {
        const int64_t other0 = tile0 * kTile;
        __syncthreads();  // the last tile has been read
        for (int kind = 0; kind < 2; ++kind) load_rows(other.by_row(kind), other0, tiles[kind]);
        if (threadIdx.x < kTile) {
            other_first[threadIdx.x] = first_of(!OF_ROWS, other0 + threadIdx.x);
            other_second[threadIdx.x] = second_of(!OF_ROWS, other0 + threadIdx.x);
        }
        __syncthreads();
        float s[kTile / 8][4];
        uint32_t single = 0;
        {
            float plain[kTile / 8][4];
            products(own, own0, tiles, given.room.largest, plain, s);
#pragma unroll
            for (int x = 0; x < 32; ++x) {
                const int h = x / 2 % 2, local = column_of(x, lane);
                const float grad = OF_ROWS ? own_first[h] : other_first[local], log_sum = OF_ROWS ? own_second[h] : other_second[local];
                const float constant = OF_ROWS ? other_first[local] : own_first[h];
                const float square = OF_ROWS ? other_second[local] : own_second[h];
                const float terms = plain[x / 4][x % 4] + square;
                const float l = constant - 0.5f * (s[x / 4][x % 4] + square) - log_sum;
                bool absent = constant == -INFINITY || log_sum == float(INFINITY);
                absent |= a.exclude_self && other0 + local == mine + row_of(x, lane);
                const bool unsure = !(terms <= kMost) && !absent;
                if (unsure && !(l + kError * terms < ShareFloor<float>::log)) single |= 1u << x;
                s[x / 4][x % 4] = absent || unsure ? 0.0f : grad * share_of(l);
            }
        }
        if (__ballot_sync(0xffffffffu, single != 0)) {
#pragma unroll 1
            for (int x = 0; x < 32; ++x) {
                uint32_t lanes = __ballot_sync(0xffffffffu, (single >> x & 1u) != 0);
                if (!lanes) continue;
                float share = 0;
                if (single >> x & 1u) {
                    const int64_t there = other0 + column_of(x, lane), here = mine + row_of(x, lane);
                    const int64_t i = OF_ROWS ? here : there, j = OF_ROWS ? there : here;
                    const float q = distance(z + i * k, mu + j * k, w + j * k, k);
                    share = row_gradient(grads[i], log_sums[i]) * share_in_row(constants[j] - 0.5f * q, log_sums[i]);
                    single_sum[0] += x / 2 % 2 ? 0.0f : share;
                    single_sum[1] += x / 2 % 2 ? share : 0.0f;
                }
                while (lanes) {
                    int from = 0;
                    while (!(lanes >> from & 1u)) ++from;
                    lanes &= lanes - 1;
                    const float b = __shfl_sync(0xffffffffu, share, from);
                    if (lane / 4 != from / 4) continue;  // another row
                    const int64_t there = other0 + column_of(x, from), here = mine + row_of(x, from);
                    const int64_t i = OF_ROWS ? here : there, j = OF_ROWS ? there : here;
#pragma unroll 1
                    for (int d = 2 * q4; d < k; d += d % 2 ? 7 : 1) {
                        const float away = finite(z[i * k + d]) - finite(mu[j * k + d]), width = w[j * k + d];
                        if (OF_ROWS) {
                            to[0][here * k + d] -= b * away * finite(width * width);
                        } else {
                            to[0][here * k + d] += b * away;
                            to[1][here * k + d] += b * away * away;
                        }
                    }
                }
            }
        }
        // The product of the shares and the others' numbers, row by row in a scale of its own.
        float most[2] = {0, 0}, shares[2] = {0, 0}, back[2];
#pragma unroll
        for (int x = 0; x < 32; ++x) {
            const int h = x / 2 % 2;
            const float share = s[x / 4][x % 4], size = share < 0 ? -share : share;
            shares[h] += share;
            most[h] = size > most[h] ? size : most[h];
        }
#pragma unroll
        for (int h = 0; h < 2; ++h) own_sum[h] += double(shares[h]);
        share_largest(most);
        const bool nothing = __ballot_sync(0xffffffffu, most[0] > 0 || most[1] > 0 || shares[0] != shares[0] || shares[1] != shares[1]) == 0;
        __syncthreads();  // the tiles have been read
        for (int kind = 0; kind < 2; ++kind) load_columns(other.by_column(kind), other0, other.padded, tiles[kind]);
        __syncthreads();
        if (nothing) continue;  // as for most tiles of narrow posteriors
        scales_of(most, back);
        Chunk left[kTile / 16][2];
        left_side(s, most, left);
#pragma unroll
        for (int kind = 0; kind < 2; ++kind)
#pragma unroll
            for (int tile = 0; tile < kDepth / 8; ++tile) {
                float high[4] = {}, cross[4] = {};
#pragma unroll
                for (int d = 0; d < kTile / 16; ++d)
                    mma_parts(high, cross, left[d][0], left[d][1], tiles[kind][(8 * tile + lane / 4) * kPitch + 4 * d + q4]);
#pragma unroll
                for (int i = 0; i < 4; ++i) total[kind][tile][i] += back[i / 2] * (high[i] + cross[i] * (1 / kLowScale));
            }
    }
    float whole[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        for (int step = 1; step <= 2; ++step) {
            own_sum[h] += __shfl_xor_sync(0xffffffffu, own_sum[h], step);
            single_sum[h] += __shfl_xor_sync(0xffffffffu, single_sum[h], step);
        }
        whole[h] = float(own_sum[h]);
        const int64_t row = mine + lane / 4 + 8 * h;
        if (!OF_ROWS && q4 == 0 && row < own_count) sums.s0[row] = float(own_sum[h] + double(single_sum[h]));
    }
    const float unscale[2] = {power_of_two(-exponent_of(given.room.largest, 0, !OF_ROWS)),
                              power_of_two(-exponent_of(given.room.largest, 1, !OF_ROWS))};
    each_of_mine([&](int h, int tile, int i, int64_t at, int d) {
        const float squared = unscale[0] * total[0][tile][2 * h + i], plain = unscale[1] * total[1][tile][2 * h + i];
        const float x = finite((OF_ROWS ? z : mu)[at] - given.room.center[d]);
        if (OF_ROWS) {
            to[0][at] += plain - x * squared;
        } else {
            const float first = plain - x * whole[h];
            to[0][at] += first;
            to[1][at] += (squared - x * plain) - x * first;
        }
    });
}

void pack(const float* z, const float* mu, const float* w, const DensityRoom& room, int64_t rows, int64_t components, int64_t k,
          bool columns, cudaStream_t stream) {
    const auto blocks = [](int64_t count) { return dim3(blocks_of((count + kTile - 1) / kTile * kTile / 4 * kChunks, kThreads)); };
    const unsigned some = blocks_of((rows + components) * k, 8 * kThreads);
    launch_kernel(largest_kernel, dim3(some < 1056 ? some : 1056), kThreads, stream, z, mu, w, room.center, room.largest, rows,
                  components, k);
    launch_kernel(pack_kernel, blocks(rows), kThreads, stream, z, static_cast<const float*>(nullptr), room, room.rows_packed, rows, k,
                  columns);
    launch_kernel(pack_kernel, blocks(components), kThreads, stream, mu, w, room, room.components_packed, components, k, columns);
    launch_kernel(squares_kernel, dim3(blocks_of(components, kThreads / 8)), kThreads, stream, mu, w, room.center, room.squares,
                  components, k);
}

}  // namespace

void mixture_density_forward_products_cuda(const MixtureDensityForwardProducts& given, CudaTarget target) {
    on_device(target, "mixture_density_forward_products", [&](cudaStream_t stream) {
        const MixtureDensityForward& a = given.density;
        pack(static_cast<const float*>(a.z), static_cast<const float*>(a.mu), static_cast<const float*>(a.inverse), given.room,
             a.rows, a.components, a.k, false, stream);
        launch_kernel(forward_products_kernel, dim3(blocks_of(a.rows, kTile), unsigned(a.splits)), kBlock, stream, given);
        merge_splits<float>(a, a.rows, stream);
    });
}

void mixture_density_backward_products_cuda(const MixtureDensityBackwardProducts& given, CudaTarget target) {
    on_device(target, "mixture_density_backward_products", [&](cudaStream_t stream) {
        const MixtureDensityBackward& a = given.density;
        pack(static_cast<const float*>(a.z), static_cast<const float*>(a.mu), static_cast<const float*>(a.inverse), given.room,
             a.rows, a.components, a.k, true, stream);
        launch_kernel(gradient_products_kernel<true>, dim3(blocks_of(a.rows, kTile), unsigned(a.splits_z)), kBlock, stream, given);
        launch_kernel(gradient_products_kernel<false>, dim3(blocks_of(a.components, kTile), unsigned(a.splits_components)), kBlock,
                      stream, given);
        add_splits<float>(a, stream);
    });
}

}  // namespace vaefast
