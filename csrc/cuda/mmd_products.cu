// The sums of csrc/cuda/mmd.cu on tensor cores, for float rows of at most 64 columns.
//
// A block of four warps owns 64 rows, a warp 16 of them, and walks along the tiles of 64 partners. The dot products come from
// numbers in two halves each (mma.h), as accurate as those in float; a warp keeps its 16 x 64 slopes in registers, where they
// already stand as the left side of the product with the partners' rows. What cancels is left out of both products: pairs whose
// squared distance is small against their norms are taken one by one, from differences.
#include "kernels.h"

#include "dispatch.h"
#include "mma.h"

namespace vaefast {
namespace {

constexpr int kTile = 64, kBlock = 128, kWarps = kBlock / 32;
constexpr int kPackBlock = 256;

// Chunks of a row of a tile in shared memory, with a gap: what eight threads read at a time lies in different banks.
template <int CHUNKS>
constexpr int kPitch = CHUNKS % 8 == 4 ? CHUNKS : CHUNKS + 8 - (CHUNKS + 4) % 8;

// Four rows by four columns of z a thread, into both packed forms, zero where there is no row or column.
__global__ void __launch_bounds__(kPackBlock) pack_kernel(MmdProducts given, int depth, int padded) {
    const MmdPairs& a = given.pairs;
    const int64_t rows = a.n + a.m, per_problem = int64_t(padded / 4) * (depth / 4);
    const int64_t at = int64_t(blockIdx.x) * kPackBlock + threadIdx.x;
    if (at >= a.problems * per_problem) return;
    const int64_t p = at / per_problem;
    const int c4 = int(at % (depth / 4)), r4 = int(at % per_problem / (depth / 4));
    const float scale = power_of_two(exponent_to_scale(given.largest[p]));
    float x[4][4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int64_t row = 4 * r4 + i, c = 4 * c4 + j;
            x[i][j] = row < rows && c < a.k ? scale * static_cast<const float*>(a.z)[(p * rows + row) * a.z_stride + c] : 0.0f;
        }
    Chunk* by_row = static_cast<Chunk*>(given.packed_rows) + p * padded * (depth / 4);
    Chunk* by_column = static_cast<Chunk*>(given.packed_columns) + p * depth * (padded / 4);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        by_row[int64_t(4 * r4 + i) * (depth / 4) + c4] = chunk_of(x[i][0], x[i][1], x[i][2], x[i][3]);
        by_column[int64_t(4 * c4 + i) * (padded / 4) + r4] = chunk_of(x[0][i], x[1][i], x[2][i], x[3][i]);
    }
}

// f and slope of a thread's pairs in place of u, which comes in `s`; dot is there for polynomials.
template <MmdKernel K, int COUNT>
__device__ __forceinline__ void kernel_of(float u, float dot, const MmdCoefs<float>& coefs, float& f, float& slope) {
    if constexpr (K == MmdKernel::imq && COUNT > 0) imq_rational_of<COUNT>(u, coefs, f, slope);
    else mmd_pair<K>(u, dot, coefs, f, slope);
}

template <MmdKernel K, int COUNT, int DEPTH>
__global__ void __launch_bounds__(kBlock, 3) products_kernel(MmdProducts given, MmdCoefs<float> coefs, int tiles, int padded) {
    constexpr bool distance = K != MmdKernel::polynomial;
    constexpr int chunks = DEPTH / 4, row_pitch = kPitch<chunks>, column_pitch = kPitch<kTile / 4>;
    alignas(16) __shared__ Chunk by_row[kTile * row_pitch];       // [partner][column / 4]
    alignas(16) __shared__ Chunk by_column[DEPTH * column_pitch];  // [column][partner / 4]
    alignas(16) __shared__ float e_partner[kTile], w_partner[kTile];
    __shared__ double warp_value[kWarps];

    const MmdPairs& a = given.pairs;
    const int rows = int(a.n + a.m), n = int(a.n), lane = threadIdx.x % 32, warp = threadIdx.x / 32, q = lane % 4;
    const int own = int(blockIdx.x % unsigned(tiles));
    const int64_t p = blockIdx.x / unsigned(tiles) / a.splits;
    const int split = int(blockIdx.x / unsigned(tiles) % a.splits);
    const float* z = static_cast<const float*>(a.z) + p * rows * a.z_stride;
    const float *e = static_cast<const float*>(a.e) + p * rows, *w = static_cast<const float*>(a.w) + p * rows;
    const Chunk* all_rows = static_cast<const Chunk*>(given.packed_rows) + p * padded * chunks;
    const Chunk* all_columns = static_cast<const Chunk*>(given.packed_columns) + p * DEPTH * (padded / 4);
    const float xx = float(a.factors[p * 3]), yy = float(a.factors[p * 3 + 1]), xy = float(-a.factors[p * 3 + 2]);
    const int exponent = exponent_to_scale(given.largest[p]);
    const float scale = power_of_two(exponent), unscale = power_of_two(-exponent), unscale2 = unscale * unscale;
    const bool grad = ((a.grad & 1) && own * kTile < n) || ((a.grad & 2) && own * kTile + kTile > n);
    if constexpr (K == MmdKernel::polynomial) polynomial_coefs(coefs, int(a.count), a.offset[p]);

    // This thread's two rows.
    int row[2], mate[2];
    float e_row[2], within[2], across[2];  // weights of a pair with a partner of the same sample, and of the other
    bool of_x[2];
    Chunk mine[2][chunks / 4];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        row[h] = own * kTile + 16 * warp + lane / 4 + 8 * h;
        const bool there = row[h] < rows;
        of_x[h] = row[h] < n;
        mate[h] = !a.paired ? row[h] : of_x[h] ? row[h] + n : row[h] - n;
        e_row[h] = there ? e[row[h]] : 0.0f;
        const float w_row = there ? w[row[h]] : 0.0f;
        within[h] = (of_x[h] ? xx : yy) * w_row;
        across[h] = xy * w_row;
#pragma unroll
        for (int s = 0; s < chunks / 4; ++s) mine[h][s] = all_rows[int64_t(row[h]) * chunks + 4 * s + q];
    }
    float sum[DEPTH / 8][4] = {};  // of the gradient: rows as in `row`, columns 8 tile + 2 q, + 1, in the scale of the halves
    double row_sum[2] = {}, value = 0;
    for (int other = (grad ? 0 : own) + split; other < tiles; other += int(a.splits)) {
        const int partner0 = other * kTile;
        __syncthreads();  // the last tile has been read
        for (int i = threadIdx.x; i < kTile * chunks; i += kBlock)
            by_row[i / chunks * row_pitch + i % chunks] = all_rows[int64_t(partner0) * chunks + i];
        if (grad)
            for (int i = threadIdx.x; i < DEPTH * (kTile / 4); i += kBlock)
                by_column[i / (kTile / 4) * column_pitch + i % (kTile / 4)] =
                    all_columns[int64_t(i / (kTile / 4)) * (padded / 4) + partner0 / 4 + i % (kTile / 4)];
        if (threadIdx.x < kTile) {
            const bool there = partner0 + int(threadIdx.x) < rows;
            e_partner[threadIdx.x] = there ? e[partner0 + threadIdx.x] : 0.0f;
            w_partner[threadIdx.x] = there ? w[partner0 + threadIdx.x] : 0.0f;
        }
        __syncthreads();

        // Dot products.
        float s[kTile / 8][4];
#pragma unroll
        for (int tile = 0; tile < kTile / 8; ++tile) {
            const int local = tile / 2 * 16 + lane / 8 * 4 + tile % 2 * 2 + lane / 4 % 2;
            float high[4] = {}, cross[4] = {};
#pragma unroll
            for (int d = 0; d < chunks / 4; ++d)
                mma_parts(high, cross, mine[0][d], mine[1][d], by_row[local * row_pitch + 4 * d + q]);
#pragma unroll
            for (int i = 0; i < 4; ++i) s[tile][i] = unscale2 * (high[i] + cross[i] * (1 / kLowScale));
        }

        // Squared distances, or what a polynomial is of.
        bool close = false;
        float largest = 0.0f;
        if constexpr (distance) {
#pragma unroll
            for (int x = 0; x < 32; ++x) {
                const int h = x / 2 % 2, local = column_of(x, lane), partner = partner0 + local;
                const float both = e_row[h] + e_partner[local];
                const bool pair = partner != row[h] && partner != mate[h];
                const float u = pair ? both - 2.0f * s[x / 4][x % 4] : both;
                close |= u < float(kNear) * both;
                largest = u > largest ? u : largest;
                s[x / 4][x % 4] = u;
            }
        }
        uint32_t near = 0;  // which of the 32 have too few digits left
        const bool any_near = distance && __ballot_sync(0xffffffffu, close) != 0;
        if (any_near) {
            float held[32];
#pragma unroll
            for (int x = 0; x < 32; ++x) held[x] = s[x / 4][x % 4];
#pragma unroll 1
            for (int x = 0; x < 32; ++x) {
                const int h = x / 2 % 2, local = column_of(x, lane);
                if (!(held[x] < float(kNear) * (e_row[h] + e_partner[local]))) continue;
                near |= 1u << x;
                float u = 0;
                const float *from = z + int64_t(row[h]) * a.z_stride, *to = z + int64_t(partner0 + local) * a.z_stride;
#pragma unroll 1
                for (int c = 0; c < int(a.k); ++c) u += (from[c] - to[c]) * (from[c] - to[c]);
                held[x] = u;
            }
#pragma unroll
            for (int x = 0; x < 32; ++x) s[x / 4][x % 4] = held[x];
        }

        // The kernel. A pair of tiles counts twice where its mirror image is not visited for the value.
        float tile_value = 0, slopes[2] = {0, 0}, most[2] = {0, 0};
        const auto weight_of = [&](int x) {
            const int h = x / 2 % 2, local = column_of(x, lane), partner = partner0 + local;
            const bool pair = partner != row[h] && partner != mate[h];
            return pair ? ((partner < n) == of_x[h] ? within[h] : across[h]) * w_partner[local] : 0.0f;
        };
        if (COUNT > 0 && !(largest <= coefs.limit)) {  // beyond the range of the fast form
            float held[32];
#pragma unroll
            for (int x = 0; x < 32; ++x) held[x] = s[x / 4][x % 4];
#pragma unroll 1
            for (int x = 0; x < 32; ++x) {
                float f, slope;
                mmd_pair<K>(held[x], held[x], coefs, f, slope);
                const float c = weight_of(x);
                tile_value += c * f;
                held[x] = c * slope;
            }
#pragma unroll
            for (int x = 0; x < 32; ++x) s[x / 4][x % 4] = held[x];
        } else {
#pragma unroll
            for (int x = 0; x < 32; ++x) {
                const float t = s[x / 4][x % 4], c = weight_of(x);
                float f, slope;
                kernel_of<K, COUNT>(distance ? t : e_row[x / 2 % 2] + e_partner[column_of(x, lane)] + t, t, coefs, f, slope);
                tile_value += c * f;
                s[x / 4][x % 4] = c * slope;
            }
        }
        value += double((other > own ? 2.0f : other == own ? 1.0f : 0.0f) * tile_value);
        if (!grad) continue;
        if (any_near) {  // their part of the gradient, and nothing of them in the products
            float held[32];
#pragma unroll
            for (int x = 0; x < 32; ++x) {
                held[x] = s[x / 4][x % 4];
                if (near >> x & 1u) s[x / 4][x % 4] = 0.0f;
            }
#pragma unroll 1
            for (int x = 0; x < 32; ++x) {
                const int h = x / 2 % 2;
                uint32_t lanes = __ballot_sync(0xffffffffu, (near >> x & 1u) != 0);
                while (lanes) {
                    int from = 0;
                    while (!(lanes >> from & 1u)) ++from;
                    lanes &= lanes - 1;
                    const float slope = __shfl_sync(0xffffffffu, held[x], from) * scale;
                    if (lane / 4 != from / 4) continue;  // another row
                    const float first = h ? 0.0f : slope, second = h ? slope : 0.0f;
                    // volatile: few loads on their way together, or this seldom-used part would cost registers
                    const volatile float* to = z + int64_t(partner0 + column_of(x, from)) * a.z_stride;
                    const volatile float* mine_z = z + int64_t(h ? row[1] : row[0]) * a.z_stride;
#pragma unroll
                    for (int tile = 0; tile < DEPTH / 8; ++tile)
#pragma unroll
                        for (int i = 0; i < 2; ++i) {
                            const int c = 8 * tile + 2 * q + i;
                            float difference = 0.0f;
                            if (c < int(a.k)) difference = to[c] - mine_z[c];
                            sum[tile][i] += first * difference;
                            sum[tile][2 + i] += second * difference;
                        }
                }
            }
        }
#pragma unroll
        for (int x = 0; x < 32; ++x) {
            const int h = x / 2 % 2;
            const float slope = s[x / 4][x % 4], size = slope < 0 ? -slope : slope;
            slopes[h] += slope;
            most[h] = size > most[h] ? size : most[h];
        }

        // The product of the slopes and the partners' rows, row by row in a scale of its own.
        float back[2];
#pragma unroll
        for (int h = 0; h < 2; ++h) row_sum[h] += double(slopes[h]);
        share_largest(most);
        scales_of(most, back);
        Chunk left[kTile / 16][2];
        left_side(s, most, left);
#pragma unroll
        for (int tile = 0; tile < DEPTH / 8; ++tile) {
            float high[4] = {}, cross[4] = {};
#pragma unroll
            for (int d = 0; d < kTile / 16; ++d)
                mma_parts(high, cross, left[d][0], left[d][1], by_column[(8 * tile + lane / 4) * column_pitch + 4 * d + q]);
#pragma unroll
            for (int i = 0; i < 4; ++i) sum[tile][i] += back[i / 2] * (high[i] + cross[i] * (1 / kLowScale));
        }
    }
    if (grad) {
        float* out = static_cast<float*>(a.out) + (split * a.problems + p) * rows * a.k;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            double total = row_sum[h];
            for (int step = 1; step <= 2; ++step) total += __shfl_xor_sync(0xffffffffu, total, step);
            if (row[h] >= rows) continue;
            if (q == 0) a.rows[(split * a.problems + p) * rows + row[h]] = total;
            const float own_part = distance ? float(total) : 0.0f;
#pragma unroll
            for (int tile = 0; tile < DEPTH / 8; ++tile)
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    const int c = 8 * tile + 2 * q + i;
                    if (c < int(a.k))
                        out[int64_t(row[h]) * a.k + c] =
                            unscale * sum[tile][2 * h + i] - own_part * z[int64_t(row[h]) * a.z_stride + c];
                }
        }
    }
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    if (lane == 0) warp_value[warp] = value;
    __syncthreads();
    if (threadIdx.x == 0) {
        value = 0;
        for (int i = 0; i < kWarps; ++i) value += warp_value[i];
        a.value[(int64_t(split) * tiles + own) * a.problems + p] = value;
    }
}

template <MmdKernel K, int COUNT>
void launch(const MmdProducts& given, const MmdCoefs<float>& coefs, cudaStream_t stream) {
    const MmdPairs& a = given.pairs;
    const int64_t tiles = (a.n + a.m + kTile - 1) / kTile, blocks = tiles * a.splits * a.problems, padded = tiles * kTile;
    const int depth = COUNT > 0 && a.k <= 32 ? 32 : 64;
    const int64_t packs = a.problems * (padded / 4) * (depth / 4);
    if (blocks == 0) return;
    if (blocks > 0x7fffffff || packs > 0x7fffffff) throw std::runtime_error("mmd_products: too many problems for one launch");
    launch_kernel(pack_kernel, dim3(unsigned((packs + kPackBlock - 1) / kPackBlock)), kPackBlock, stream, given, depth,
                  int(padded));
    const auto kernel = depth == 32 ? products_kernel<K, COUNT, (COUNT > 0 ? 32 : 64)> : products_kernel<K, COUNT, 64>;
    launch_kernel(kernel, dim3(unsigned(blocks)), kBlock, stream, given, coefs, int(tiles), int(padded));
}

}  // namespace

void mmd_products_cuda(const MmdProducts& given, CudaTarget target) {
    on_device(target, "mmd_products", [&](cudaStream_t stream) {
        const MmdPairs& a = given.pairs;
        const MmdCoefs<float> coefs = mmd_coefs<float>(a.kernel, a.scales, int(a.count), 0.0);
        switch (a.kernel) {
            case MmdKernel::imq:
                if (a.count == 7) launch<MmdKernel::imq, 7>(given, coefs, stream);
                else launch<MmdKernel::imq, 0>(given, coefs, stream);
                break;
            case MmdKernel::rbf: launch<MmdKernel::rbf, 0>(given, coefs, stream); break;
            case MmdKernel::laplacian: launch<MmdKernel::laplacian, 0>(given, coefs, stream); break;
            case MmdKernel::energy: launch<MmdKernel::energy, 0>(given, coefs, stream); break;
            case MmdKernel::polynomial: launch<MmdKernel::polynomial, 0>(given, coefs, stream); break;
        }
    });
}

}  // namespace vaefast
