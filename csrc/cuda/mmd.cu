// Sums of a kernel over all pairs of rows of two samples, with the gradient to the rows in the same pass.
//
// A block of threads owns a tile of rows and walks along the tiles of their partners, every splits-th of them. Each
// step is a small matrix product in fp32 (no TF32), the kernel on its 64 x 64 results, and, for the gradient, a second
// product with the partners' rows. Rows whose gradient is not wanted visit only the tiles after their own. Nothing is
// added to by two blocks, so results repeat to the last bit.
#include "kernels.h"

#include "dispatch.h"

namespace vaefast {
namespace {

constexpr int kThreads = 256, kSide = 16;  // threads stand in a square of 16 x 16

// Rows to a thread in each direction: tiles of 64, and of 32 in float64, to fit shared memory.
template <class F>
constexpr int kEach = sizeof(F) == 4 ? 4 : 2;
template <class F>
constexpr int kTile = kSide * kEach<F>;
constexpr int kDepth = 32;  // columns of z at a time in the dot products

template <class F, int N>
struct alignas(16) Pack {
    F v[N];
};

// panel[c][row] = z[row][c0 + c], zero beyond the rows and columns there are.
template <class F>
__device__ void load_panel(const F* z, int64_t stride, int64_t row0, int64_t rows, int64_t c0, F* panel) {
    constexpr int tile = kTile<F>, pitch = tile + 4;
    for (int i = threadIdx.x; i < tile * kDepth / 4; i += kThreads) {
        const int row = i % tile, c = i / tile * 4;
        Pack<F, 4> four = {};
        if (row0 + row < rows && c0 + c < stride)
            four = *reinterpret_cast<const Pack<F, 4>*>(z + (row0 + row) * stride + c0 + c);
#pragma unroll
        for (int q = 0; q < 4; ++q) panel[(c + q) * pitch + row] = four.v[q];
    }
}

template <MmdKernel K, class F>
__global__ void __launch_bounds__(kThreads) pairs_kernel(MmdPairs a, MmdCoefs<F> coefs, int tiles) {
    constexpr int each = kEach<F>, tile = kTile<F>, pitch = tile + 4;
    constexpr bool distance = K != MmdKernel::polynomial;
    using Each = Pack<F, each>;
    // The panels of both tiles, and after the dot products the partners' rows.
    alignas(16) __shared__ F panels[2 * kDepth * pitch];
    alignas(16) __shared__ F g[tile * pitch];  // [partner][row]
    __shared__ F e_row[tile], w_row[tile], e_partner[tile], w_partner[tile];
    __shared__ double warp_value[kThreads / 32];
    __shared__ int near;
    static_assert(2 * kDepth >= tile, "the partners' rows must fit into the panels' memory");

    const int64_t rows = a.n + a.m, block = blockIdx.x;
    const int64_t own = block % tiles, split = block / tiles % a.splits, p = block / tiles / a.splits;
    const int tx = threadIdx.x % kSide, ty = threadIdx.x / kSide;
    const int64_t row0 = own * tile;
    const F* z = static_cast<const F*>(a.z) + p * rows * a.z_stride;
    const F *e = static_cast<const F*>(a.e) + p * rows, *w = static_cast<const F*>(a.w) + p * rows;
    const F xx = F(a.factors[p * 3]), yy = F(a.factors[p * 3 + 1]), xy = F(-a.factors[p * 3 + 2]);
    const bool grad = ((a.grad & 1) && row0 < a.n) || ((a.grad & 2) && row0 + tile > a.n);
    if constexpr (K == MmdKernel::polynomial) polynomial_coefs(coefs, int(a.count), a.offset[p]);

    F* out = grad ? static_cast<F*>(a.out) + (split * a.problems + p) * rows * a.k : nullptr;
    const bool in_registers = a.k <= tile;  // the gradient's sums, or else in `out`
    F sum[each][each] = {};
    double row_sum[each] = {}, value = 0;
    if (threadIdx.x < tile) {
        const bool there = row0 + threadIdx.x < rows;
        e_row[threadIdx.x] = there ? e[row0 + threadIdx.x] : F(0);
        w_row[threadIdx.x] = there ? w[row0 + threadIdx.x] : F(0);
    }
    for (int64_t other = (grad ? 0 : own) + split; other < tiles; other += a.splits) {
        const int64_t partner0 = other * tile;
        F dot[each][each] = {};
        for (int64_t c0 = 0; c0 < a.k; c0 += kDepth) {
            __syncthreads();  // the panels are free
            load_panel(z, a.z_stride, row0, rows, c0, panels);
            load_panel(z, a.z_stride, partner0, rows, c0, panels + kDepth * pitch);
            if (c0 == 0 && threadIdx.x < tile) {
                const bool there = partner0 + threadIdx.x < rows;
                e_partner[threadIdx.x] = there ? e[partner0 + threadIdx.x] : F(0);
                w_partner[threadIdx.x] = there ? w[partner0 + threadIdx.x] : F(0);
                near = 0;
            }
            __syncthreads();
#pragma unroll 8
            for (int c = 0; c < kDepth; ++c) {
                const Each x = *reinterpret_cast<const Each*>(panels + c * pitch + ty * each);
                const Each y = *reinterpret_cast<const Each*>(panels + (kDepth + c) * pitch + tx * each);
#pragma unroll
                for (int i = 0; i < each; ++i)
#pragma unroll
                    for (int j = 0; j < each; ++j) dot[i][j] += x.v[i] * y.v[j];
            }
        }
        // The kernel. A pair of tiles counts twice where its mirror image is not visited for the value.
        const F times = other > own ? F(2) : other == own ? F(1) : F(0);
        F tile_value = 0, slopes[each] = {};
#pragma unroll
        for (int i = 0; i < each; ++i) {
            const int64_t row = row0 + ty * each + i;
            const F ei = e_row[ty * each + i], wi = w_row[ty * each + i];
#pragma unroll
            for (int j = 0; j < each; ++j) {
                const int64_t partner = partner0 + tx * each + j;
                const F both = ei + e_partner[tx * each + j];
                const bool of_x = row < a.n, cross = of_x != (partner < a.n);
                const bool pair = row != partner && !(a.paired && cross && (of_x ? row - partner : partner - row) == -a.n);
                const F factor = cross ? xy : of_x ? xx : yy;
                const F weight = pair ? factor * wi * w_partner[tx * each + j] : F(0);
                F u = distance ? both - F(2) * dot[i][j] : both + dot[i][j];
                if (distance && pair && u < F(kNear) * both) {  // too few digits left: again, from differences
                    u = F(0);
                    for (int64_t c = 0; c < a.k; ++c) {
                        const F difference = z[row * a.z_stride + c] - z[partner * a.z_stride + c];
                        u += difference * difference;
                    }
                    near = 1;
                }
                if (distance && !pair) u = both;
                F f, slope;
                mmd_pair<K>(u, dot[i][j], coefs, f, slope);
                tile_value += weight * f;
                slope *= weight;
                if (grad) g[(tx * each + j) * pitch + ty * each + i] = slope;
                slopes[i] += slope;
            }
        }
        value += double(times * tile_value);
        if (!grad) continue;
        __syncthreads();  // g is whole, and the panels are free
        const bool differences = distance && near;
#pragma unroll
        for (int i = 0; i < each; ++i)
            if (!differences) row_sum[i] += double(slopes[i]);
        const int partners = int(rows - partner0 < tile ? rows - partner0 : tile);
        for (int64_t c0 = 0; c0 < a.k; c0 += tile) {
            for (int i = threadIdx.x; i < tile * tile / 4; i += kThreads) {
                const int row = i / (tile / 4), c = i % (tile / 4) * 4;
                Pack<F, 4> four = {};
                if (row < partners && c0 + c < a.z_stride)
                    four = *reinterpret_cast<const Pack<F, 4>*>(z + (partner0 + row) * a.z_stride + c0 + c);
                *reinterpret_cast<Pack<F, 4>*>(panels + row * pitch + c) = four;
            }
            __syncthreads();
            F part[each][each] = {};
            if (differences) {
                F mine[each][each];
#pragma unroll
                for (int i = 0; i < each; ++i)
#pragma unroll
                    for (int j = 0; j < each; ++j) {
                        const int64_t row = row0 + ty * each + i, c = c0 + tx * each + j;
                        mine[i][j] = row < rows && c < a.k ? z[row * a.z_stride + c] : F(0);
                    }
                for (int s = 0; s < partners; ++s)
#pragma unroll
                    for (int i = 0; i < each; ++i)
#pragma unroll
                        for (int j = 0; j < each; ++j)
                            part[i][j] += g[s * pitch + ty * each + i] * (panels[s * pitch + tx * each + j] - mine[i][j]);
            } else {
#pragma unroll 8
                for (int s = 0; s < tile; ++s) {
                    const Each x = *reinterpret_cast<const Each*>(g + s * pitch + ty * each);
                    const Each y = *reinterpret_cast<const Each*>(panels + s * pitch + tx * each);
#pragma unroll
                    for (int i = 0; i < each; ++i)
#pragma unroll
                        for (int j = 0; j < each; ++j) part[i][j] += x.v[i] * y.v[j];
                }
            }
#pragma unroll
            for (int i = 0; i < each; ++i)
#pragma unroll
                for (int j = 0; j < each; ++j) {
                    const int64_t row = row0 + ty * each + i, c = c0 + tx * each + j;
                    if (in_registers) sum[i][j] += part[i][j];
                    else if (row < rows && c < a.k) out[row * a.k + c] += part[i][j];
                }
            __syncthreads();  // the panels and g are free
        }
    }
    if (grad) {
#pragma unroll
        for (int i = 0; i < each; ++i) {
            double total = row_sum[i];
            for (int step = kSide / 2; step > 0; step /= 2) total += __shfl_xor_sync(0xffffffffu, total, step);
            const int64_t row = row0 + ty * each + i;
            if (row >= rows) continue;
            if (tx == 0) a.rows[(split * a.problems + p) * rows + row] = total;
            const F own_part = distance ? F(total) : F(0);
            for (int64_t c0 = 0; c0 < a.k; c0 += tile)
#pragma unroll
                for (int j = 0; j < each; ++j) {
                    const int64_t c = c0 + tx * each + j;
                    if (c >= a.k) continue;
                    const F whole = in_registers ? sum[i][j] : out[row * a.k + c];
                    out[row * a.k + c] = whole - own_part * z[row * a.z_stride + c];
                }
        }
    }
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    if (threadIdx.x % 32 == 0) warp_value[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x == 0) {
        value = 0;
        for (int i = 0; i < kThreads / 32; ++i) value += warp_value[i];
        a.value[(split * tiles + own) * a.problems + p] = value;
    }
}

template <class F>
void launch(const MmdPairs& a, cudaStream_t stream) {
    const int64_t tiles = (a.n + a.m + kTile<F> - 1) / kTile<F>, blocks = tiles * a.splits * a.problems;
    if (blocks == 0) return;
    if (blocks > 0x7fffffff) throw std::runtime_error("mmd_pairs: too many problems for one launch");
    const MmdCoefs<F> coefs = mmd_coefs<F>(a.kernel, a.scales, int(a.count), 0.0);
#define VAEFAST_LAUNCH(K) \
    launch_kernel(pairs_kernel<MmdKernel::K, F>, dim3(unsigned(blocks)), kThreads, stream, a, coefs, int(tiles)); \
    break
    switch (a.kernel) {
        case MmdKernel::imq: VAEFAST_LAUNCH(imq);
        case MmdKernel::rbf: VAEFAST_LAUNCH(rbf);
        case MmdKernel::laplacian: VAEFAST_LAUNCH(laplacian);
        case MmdKernel::energy: VAEFAST_LAUNCH(energy);
        case MmdKernel::polynomial: VAEFAST_LAUNCH(polynomial);
    }
#undef VAEFAST_LAUNCH
}

}  // namespace

void mmd_pairs_cuda(const MmdPairs& args, CudaTarget target) {
    on_device(target, "mmd_pairs", [&](cudaStream_t stream) {
        args.dtype == DType::float64 ? launch<double>(args, stream) : launch<float>(args, stream);
    });
}

}  // namespace vaefast
