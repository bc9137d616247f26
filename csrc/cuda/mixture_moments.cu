// Mean and variance of every dimension of a Gaussian mixture, and their gradients. A block takes a tile of columns of a
// part of the rows, four columns a thread. Deviations from the first row are summed in double, which loses nothing where
// the data lie far from 0 and lets parts be added as they are.
#include "kernels.h"

#include "dispatch.h"
#include "pack.h"
#include "team.h"

namespace vaefast {
namespace {

constexpr unsigned kBackwardParts = 528;  // four blocks a multiprocessor of an H200
constexpr int kMergeColumns = 8;

template <class C>
__device__ Variance<C> variance(ScaleParam param, C a) {
    switch (param) {
        case ScaleParam::logvar: return variance_of<ScaleParam::logvar>(a);
        case ScaleParam::logstd: return variance_of<ScaleParam::logstd>(a);
        default: return variance_of<ScaleParam::softplus>(a);
    }
}

// Room for the sums of the rows that a block's threads have: what a warp's lanes of a column have is summed by shuffles.
constexpr int kMostColumns = 128;
using SumsOfRows = double[3][kThreads / 32][kMostColumns];

// Puts this thread's four columns of x, summed over the lanes of its warp that have the same columns, into `room`.
__device__ void sum_of_warp(const double (&x)[4], int width, double (&room)[kThreads / 32][kMostColumns]) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        double sum = x[i];
        for (int step = 16; step >= width; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
        if (lane < width) room[threadIdx.x / 32][4 * lane + i] = sum;
    }
}

// Sums of d, d^2 and s^2 of one part, where d is the deviation from the first row.
template <class T>
__global__ void __launch_bounds__(kThreads) forward_kernel(MixtureMomentsForward a, int width, bool packed, unsigned* done) {
    using C = typename ComputeType<T>::type;
    __shared__ SumsOfRows room;
    if (done && blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) *done = 0;  // for merge_kernel
    const int64_t column = (int64_t(blockIdx.x) * width + threadIdx.x % width) * 4;
    const int live = a.k - column >= 4 ? 4 : a.k > column ? int(a.k - column) : 0;
    const int64_t begin = a.rows * blockIdx.y / a.parts, end = a.rows * (blockIdx.y + 1) / a.parts;
    const T *mu = static_cast<const T*>(a.mu) + column, *scale = static_cast<const T*>(a.scale) + column;
    double sums[4] = {0, 0, 0, 0}, squares[4] = {0, 0, 0, 0}, widths[4] = {0, 0, 0, 0};
    if (live > 0 && begin < end) {
        C first[4];
        load4(mu, live, packed, first);
#pragma unroll 4
        for (int64_t row = begin + threadIdx.x / width; row < end; row += kThreads / width) {
            C m[4], s[4];
            load4(mu + row * a.mu_stride, live, packed, m);
            if (a.scale) load4(scale + row * a.scale_stride, live, packed, s);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const double d = double(m[i]) - double(first[i]);
                sums[i] += d;
                squares[i] += d * d;
                if (a.scale) widths[i] += double(variance(a.param, s[i]).value);
            }
        }
    }
    sum_of_warp(sums, width, room[0]);
    sum_of_warp(squares, width, room[1]);
    sum_of_warp(widths, width, room[2]);
    __syncthreads();
    const int columns = 4 * width;
    for (int e = threadIdx.x; e < 3 * columns; e += kThreads) {
        const int64_t c = int64_t(blockIdx.x) * columns + e % columns;
        if (c >= a.k) continue;
        double sum = 0;
#pragma unroll
        for (int warp = 0; warp < kThreads / 32; ++warp) sum += room[e / columns][warp][e % columns];
        a.part_sums[(int64_t(blockIdx.y) * 3 + e / columns) * a.k + c] = sum;
    }
}

// The divergence besides the moments: each block leaves that of its columns behind part_sums, and the last one adds up.
template <class C>
struct Divergence {
    C* kl;  // null where it is not wanted
    double eps;
    double* of_blocks;
    unsigned* done;
};

template <class T, class C>
__global__ void __launch_bounds__(kThreads) merge_kernel(MixtureMomentsForward a, Divergence<C> divergence) {
    constexpr int lanes = kThreads / kMergeColumns;
    __shared__ double room[3][lanes][kMergeColumns];
    const int c = threadIdx.x % kMergeColumns, lane = threadIdx.x / kMergeColumns;
    const int64_t column = int64_t(blockIdx.x) * kMergeColumns + c;
    double sums[3] = {0, 0, 0};
    if (column < a.k)
        for (int64_t part = lane; part < a.parts; part += lanes)
            for (int i = 0; i < 3; ++i) sums[i] += a.part_sums[(part * 3 + i) * a.k + column];
    for (int i = 0; i < 3; ++i) room[i][lane][c] = sums[i];
    __syncthreads();
    for (int half = lanes / 2; half > 0; half /= 2) {
        if (lane < half)
            for (int i = 0; i < 3; ++i) room[i][lane][c] += room[i][lane + half][c];
        __syncthreads();
    }
    if (lane == 0) {
        double kl = 0;
        if (column < a.k) {
            const double n = a.rows > 0 ? double(a.rows) : 1.0, offset = room[0][0][c] / n;
            const double mean = a.rows > 0 ? double(load(static_cast<const T*>(a.mu) + column)) + offset : 0.0;
            double between = room[1][0][c] / n - offset * offset;
            between = between < 0 ? 0.0 : between;  // rounding alone; NaN stays
            const double within = room[2][0][c] / n, variance = between + within;
            a.mean[column] = mean;
            a.between[column] = between;
            a.within[column] = within;
            if (divergence.kl) {
                const double inside = variance < divergence.eps ? divergence.eps : variance;
                kl = 0.5 * (mean * mean + variance - (inside == 0 ? -double(INFINITY) : log_of(inside)) - 1);
            }
        }
        room[0][0][c] = kl;
    }
    if (!divergence.kl) return;
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x == 0) {
        double kl = 0;
        for (int i = 0; i < kMergeColumns; ++i) kl += room[0][0][i];
        divergence.of_blocks[blockIdx.x] = kl;
        __threadfence();
        last = atomicAdd(divergence.done, 1u) + 1 == gridDim.x;
        __threadfence();
    }
    __syncthreads();
    if (!last) return;
    double kl = 0;
    for (unsigned b = threadIdx.x; b < gridDim.x; b += kThreads) kl += static_cast<volatile double*>(divergence.of_blocks)[b];
    kl = sum_of_team(kl, kThreads);
    if (threadIdx.x == 0) *divergence.kl = C(kl);
}

// What the gradients of a column are made of: those to mu are level + slope (mu - mean), mean in two parts, of which the
// second is what C cannot hold; those to s^2 are `spread`.
template <class C>
struct Column {
    C level, slope, mean, rest, spread;
};

template <class C>
__device__ Column<C> column_of(const MixtureKlBackward& a, int64_t column) {
    const MixtureMomentsBackward& m = a.moments;
    const double per_row = 1.0 / double(m.rows), mean = m.mean[column];
    double to_mean = 0, to_between = 0, to_within = 0;
    if (a.grad) {  // of the divergence
        const double variance = a.between[column] + a.within[column], g = double(*static_cast<const C*>(a.grad));
        to_mean = g * mean;
        to_between = to_within = 0.5 * g * (variance < a.eps ? 1.0 : 1.0 - 1.0 / variance);
    } else {
        if (m.grad_mean) to_mean = m.grad_mean[column];
        if (m.grad_between) to_between = m.grad_between[column];
        if (m.grad_within) to_within = m.grad_within[column];
    }
    return {C(to_mean * per_row), C(2 * to_between * per_row), C(mean), C(mean - double(C(mean))), C(to_within * per_row)};
}

template <class T>
__global__ void __launch_bounds__(kThreads) backward_kernel(MixtureKlBackward given, int width, bool packed) {
    using C = typename ComputeType<T>::type;
    const MixtureMomentsBackward& a = given.moments;
    constexpr int R = 2;  // rows whose loads are on their way together
    __shared__ Column<C> columns[kMostColumns];
    const int64_t column0 = int64_t(blockIdx.x) * width * 4, column = column0 + threadIdx.x % width * 4;
    if (int(threadIdx.x) < 4 * width && column0 + threadIdx.x < a.k)
        columns[threadIdx.x] = column_of<C>(given, column0 + threadIdx.x);
    __syncthreads();
    const int live = a.k - column >= 4 ? 4 : a.k > column ? int(a.k - column) : 0;
    if (live == 0) return;
    Column<C> of[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) of[i] = columns[threadIdx.x % width * 4 + (i < live ? i : 0)];
    const int64_t lanes = kThreads / width, step = int64_t(gridDim.y) * lanes * R;
    for (int64_t row0 = int64_t(blockIdx.y) * lanes * R + threadIdx.x / width; row0 < a.rows; row0 += step) {
        C m[R][4], s[R][4];
#pragma unroll
        for (int r = 0; r < R; ++r) {
            const int64_t row = row0 + r * lanes;
            if (row >= a.rows) break;
            load4(static_cast<const T*>(a.mu) + row * a.mu_stride + column, live, packed, m[r]);
            if (a.grad_scale) load4(static_cast<const T*>(a.scale) + row * a.scale_stride + column, live, packed, s[r]);
        }
#pragma unroll
        for (int r = 0; r < R; ++r) {
            const int64_t row = row0 + r * lanes;
            if (row >= a.rows) break;
#pragma unroll
            for (int i = 0; i < 4; ++i) m[r][i] = of[i].level + of[i].slope * ((m[r][i] - of[i].mean) - of[i].rest);
            store4(static_cast<T*>(a.grad_mu) + row * a.k + column, live, packed, m[r]);
            if (!a.grad_scale) continue;
#pragma unroll
            for (int i = 0; i < 4; ++i) s[r][i] = of[i].spread * variance(a.param, s[r][i]).derivative;
            store4(static_cast<T*>(a.grad_scale) + row * a.k + column, live, packed, s[r]);
        }
    }
}

// Groups of four columns that a block covers.
int width_of_tile(int64_t k) {
    int width = 1;
    while (width < 32 && 4 * width < k) width *= 2;
    return width;
}

template <class T>
void launch_typed(const MixtureKlForward& given, cudaStream_t stream) {
    using C = typename ComputeType<T>::type;
    const MixtureMomentsForward& a = given.moments;
    const int width = width_of_tile(a.k);
    const bool packed = packable(static_cast<const T*>(a.mu), a.mu_stride) &&
                        packable(static_cast<const T*>(a.scale), a.scale_stride);
    if (a.k == 0) return;
    const unsigned blocks = blocks_for(a.k, kMergeColumns);
    double* of_blocks = a.part_sums + a.parts * 3 * a.k;
    unsigned* done = given.kl ? reinterpret_cast<unsigned*>(of_blocks + blocks) : nullptr;
    const Divergence<C> divergence{static_cast<C*>(given.kl), given.eps, of_blocks, done};
    launch_kernel(forward_kernel<T>, dim3(blocks_for(a.k, 4 * width), unsigned(a.parts)), kThreads, stream, a, width,
                  packed, done);
    launch_kernel(merge_kernel<T, C>, dim3(blocks), kThreads, stream, a, divergence);
}

template <class T>
void launch_typed(const MixtureKlBackward& given, cudaStream_t stream) {
    const MixtureMomentsBackward& a = given.moments;
    const int width = width_of_tile(a.k);
    const bool packed = packable(static_cast<const T*>(a.mu), a.mu_stride) &&
                        packable(static_cast<const T*>(a.scale), a.scale_stride) &&
                        packable(static_cast<const T*>(a.grad_mu), a.k) &&
                        packable(static_cast<const T*>(a.grad_scale), a.k);
    if (a.k == 0 || a.rows == 0) return;
    const unsigned tiles = blocks_for(a.k, 4 * width), most = kBackwardParts / tiles + 1;
    const unsigned parts = blocks_for(a.rows, 2 * (kThreads / width));
    launch_kernel(backward_kernel<T>, dim3(tiles, parts < most ? parts : most), kThreads, stream, given, width, packed);
}

template <class Args>
void launch(const Args& a, CudaTarget target, const char* name) {
    for_elements(a.moments.dtype, target, name, [&](auto element, cudaStream_t stream) { launch_typed<decltype(element)>(a, stream); });
}

}  // namespace

void mixture_moments_forward_cuda(const MixtureMomentsForward& args, CudaTarget target) {
    launch(MixtureKlForward{args, nullptr, 0}, target, "mixture_moments_forward");
}

void mixture_moments_backward_cuda(const MixtureMomentsBackward& args, CudaTarget target) {
    launch(MixtureKlBackward{args, nullptr, nullptr, nullptr, 0}, target, "mixture_moments_backward");
}

void mixture_kl_forward_cuda(const MixtureKlForward& args, CudaTarget target) { launch(args, target, "mixture_kl_forward"); }

void mixture_kl_backward_cuda(const MixtureKlBackward& args, CudaTarget target) { launch(args, target, "mixture_kl_backward"); }

}  // namespace vaefast
