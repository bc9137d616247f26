// Mean and variance of every dimension of a Gaussian mixture, and their gradients. A block takes a tile of columns of a
// part of the rows, four columns a thread. Deviations from the first row are summed in double, which loses nothing where
// the data lie far from 0 and lets parts be added as they are.
#include "mixture_moments.h"

#include "dispatch.h"
#include "pack.h"
#include "team.h"

namespace vaefast {
namespace {

constexpr unsigned kBackwardParts = 1056;  // eight blocks a multiprocessor of an H200
constexpr int kMergeColumns = 8;

template <class C>
__device__ Variance<C> variance(ScaleParam param, C a) {
    switch (param) {
        case ScaleParam::logvar: return variance_of<ScaleParam::logvar>(a);
        case ScaleParam::logstd: return variance_of<ScaleParam::logstd>(a);
        default: return variance_of<ScaleParam::softplus>(a);
    }
}

// Sum over the threads of the block that share threadIdx.x % width, in their order; valid for the first of them.
__device__ void sum_of_rows(double (&x)[4], int width) {
    __shared__ double room[kThreads][4];
    __syncthreads();
    for (int i = 0; i < 4; ++i) room[threadIdx.x][i] = x[i];
    __syncthreads();
    if (int(threadIdx.x) >= width) return;
    for (int t = int(threadIdx.x) + width; t < kThreads; t += width)
        for (int i = 0; i < 4; ++i) x[i] += room[t][i];
}

// Sums of d, d^2 and s^2 of one part, where d is the deviation from the first row.
template <class T>
__global__ void __launch_bounds__(kThreads) forward_kernel(MixtureMomentsForward a, int width, bool packed) {
    using C = typename ComputeType<T>::type;
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
    sum_of_rows(sums, width);
    sum_of_rows(squares, width);
    if (a.scale) sum_of_rows(widths, width);
    if (int(threadIdx.x) >= width) return;
    double* out = a.part_sums + blockIdx.y * 3 * a.k + column;
    for (int i = 0; i < live; ++i) {
        out[i] = sums[i];
        out[a.k + i] = squares[i];
        out[2 * a.k + i] = widths[i];
    }
}

template <class T>
__global__ void __launch_bounds__(kThreads) merge_kernel(MixtureMomentsForward a) {
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
    if (lane > 0 || column >= a.k) return;
    for (int other = 1; other < lanes; ++other)
        for (int i = 0; i < 3; ++i) sums[i] += room[i][other][c];
    const double n = a.rows > 0 ? double(a.rows) : 1.0, offset = sums[0] / n;
    const double between = sums[1] / n - offset * offset;
    a.mean[column] = a.rows > 0 ? double(load(static_cast<const T*>(a.mu) + column)) + offset : 0.0;
    a.between[column] = between < 0 ? 0.0 : between;  // rounding alone; NaN stays
    a.within[column] = sums[2] / n;
}

template <class T>
__global__ void __launch_bounds__(kThreads) backward_kernel(MixtureMomentsBackward a, int width, bool packed) {
    using C = typename ComputeType<T>::type;
    const int64_t column = (int64_t(blockIdx.x) * width + threadIdx.x % width) * 4;
    const int live = a.k - column >= 4 ? 4 : a.k > column ? int(a.k - column) : 0;
    if (live == 0) return;
    const double n = double(a.rows);
    // The mean in two parts, of which the second is what C cannot hold.
    C level[4] = {}, slope[4] = {}, mean[4] = {}, rest[4] = {}, spread[4] = {};
    for (int i = 0; i < live; ++i) {
        if (a.grad_mean) level[i] = C(a.grad_mean[column + i] / n);
        if (a.grad_between) slope[i] = C(2 * a.grad_between[column + i] / n);
        if (a.grad_within) spread[i] = C(a.grad_within[column + i] / n);
        mean[i] = C(a.mean[column + i]);
        rest[i] = C(a.mean[column + i] - double(mean[i]));
    }
    const int64_t lane = threadIdx.x / width, lanes = kThreads / width;
#pragma unroll 2
    for (int64_t row = blockIdx.y * lanes + lane; row < a.rows; row += gridDim.y * lanes) {
        C x[4];
        load4(static_cast<const T*>(a.mu) + row * a.mu_stride + column, live, packed, x);
#pragma unroll
        for (int i = 0; i < 4; ++i) x[i] = level[i] + slope[i] * ((x[i] - mean[i]) - rest[i]);
        store4(static_cast<T*>(a.grad_mu) + row * a.k + column, live, packed, x);
        if (!a.grad_scale) continue;
        load4(static_cast<const T*>(a.scale) + row * a.scale_stride + column, live, packed, x);
#pragma unroll
        for (int i = 0; i < 4; ++i) x[i] = spread[i] * variance(a.param, x[i]).derivative;
        store4(static_cast<T*>(a.grad_scale) + row * a.k + column, live, packed, x);
    }
}

// Groups of four columns that a block covers.
int width_of_tile(int64_t k) {
    int width = 1;
    while (width < 32 && 4 * width < k) width *= 2;
    return width;
}

template <class T>
void launch_typed(const MixtureMomentsForward& a, cudaStream_t stream) {
    const int width = width_of_tile(a.k);
    const bool packed = packable(static_cast<const T*>(a.mu), a.mu_stride) &&
                        packable(static_cast<const T*>(a.scale), a.scale_stride);
    if (a.k == 0) return;
    launch_kernel(forward_kernel<T>, dim3(blocks_for(a.k, 4 * width), unsigned(a.parts)), kThreads, stream, a, width,
                  packed);
    launch_kernel(merge_kernel<T>, dim3(blocks_for(a.k, kMergeColumns)), kThreads, stream, a);
}

template <class T>
void launch_typed(const MixtureMomentsBackward& a, cudaStream_t stream) {
    const int width = width_of_tile(a.k);
    const bool packed = packable(static_cast<const T*>(a.mu), a.mu_stride) &&
                        packable(static_cast<const T*>(a.scale), a.scale_stride) &&
                        packable(static_cast<const T*>(a.grad_mu), a.k) &&
                        packable(static_cast<const T*>(a.grad_scale), a.k);
    if (a.k == 0 || a.rows == 0) return;
    const unsigned tiles = blocks_for(a.k, 4 * width), most = kBackwardParts / tiles + 1;
    const unsigned parts = blocks_for(a.rows, kThreads / width);
    launch_kernel(backward_kernel<T>, dim3(tiles, parts < most ? parts : most), kThreads, stream, a, width, packed);
}

template <class Args>
void launch(const Args& a, CudaTarget target, const char* name) {
    for_elements(a.dtype, target, name, [&](auto element, cudaStream_t stream) { launch_typed<decltype(element)>(a, stream); });
}

}  // namespace

void mixture_moments_forward_cuda(const MixtureMomentsForward& args, CudaTarget target) {
    launch(args, target, "mixture_moments_forward");
}

void mixture_moments_backward_cuda(const MixtureMomentsBackward& args, CudaTarget target) {
    launch(args, target, "mixture_moments_backward");
}

}  // namespace vaefast
