// The likelihoods of one scale gamma: one kernel each way. Forward, a team of threads takes a whole row; backward, a block
// takes a tile of columns of some rows, and the first block the gradient to log gamma.
#include "kernels.h"

#include "dispatch.h"
#include "pack.h"
#include "team.h"

namespace vaefast {
namespace {

constexpr int kRows = 4;            // of a thread, backward: loads that are on their way together
constexpr int kFewRows = 264;       // two blocks a multiprocessor: with fewer rows a row gets more threads
constexpr int kManyThreads = 1024;

// gamma^-power times factor: what a row's error is multiplied by.
template <ErrorKind K>
constexpr int kPower = K == ErrorKind::squared ? 2 : 1;
template <ErrorKind K>
__device__ float weight_of(float log_gamma) {
    return (K == ErrorKind::squared ? 0.5f : 1.0f) * exp_of(float(-kPower<K>) * log_gamma);
}

template <class X, class T, ErrorKind K, bool Logits>
__global__ void __launch_bounds__(kManyThreads, 1) forward_kernel(ScaledNllForward a, int width, bool packed) {
    const auto [lane, team, teams] = team_of(width, int(blockDim.x));
    const int k = int(a.k);
    const int64_t row = int64_t(blockIdx.x) * teams + team;
    float sum = 0;
    if (row < a.rows) {
        const X* x = static_cast<const X*>(a.x) + row * a.x_stride;
        const T* h = static_cast<const T*>(a.x_hat) + row * a.x_hat_stride;
#pragma unroll 4
        for (int j = 4 * lane; j < k; j += 4 * width) {
            const int live = k - j < 4 ? k - j : 4;
            float xs[4], hs[4];
            load4(x + j, live, packed, xs);
            load4(h + j, live, packed, hs);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float t = error_term<K, Logits>(xs[i], hs[i]);
                sum += i < live ? t : 0.0f;
            }
        }
    }
    for (int step = (width < 32 ? width : 32) / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (width > 32) {  // the team is the block
        __shared__ float warp_sum[kManyThreads / 32];
        if (threadIdx.x % 32 == 0) warp_sum[threadIdx.x / 32] = sum;
        __syncthreads();
        sum = 0;
        if (threadIdx.x == 0)
            for (int w = 0; w < int(blockDim.x) / 32; ++w) sum += warp_sum[w];
    }
    if (lane == 0 && row < a.rows) {
        const float log_gamma = *a.log_gamma;
        a.error[row] = sum;
        a.nll[row] = float(a.k) * log_gamma + float(a.k) * a.constant + weight_of<K>(log_gamma) * sum;
    }
}

// The gradient to log gamma, sum_i grad_i (k - power weight error_i), by one block, in a fixed order.
template <ErrorKind K>
__device__ void grad_log_gamma(const ScaledNllBackward& a) {
    __shared__ double room[2][kThreads];
    double plain = 0, scaled = 0;
    if (a.grad_nll)
        for (int64_t row = threadIdx.x; row < a.rows; row += kThreads) {
            const double g = a.grad_nll[row * a.grad_nll_stride];
            plain += g;
            scaled += g * double(a.error[row]);
        }
    room[0][threadIdx.x] = plain;
    room[1][threadIdx.x] = scaled;
    for (int step = kThreads / 2; step > 0; step /= 2) {
        __syncthreads();
        if (int(threadIdx.x) < step)
            for (int i = 0; i < 2; ++i) room[i][threadIdx.x] += room[i][threadIdx.x + step];
    }
    if (threadIdx.x == 0)
        *a.grad_log_gamma = float(double(a.k) * room[0][0] - kPower<K> * double(weight_of<K>(*a.log_gamma)) * room[1][0]);
}

template <class X, class T, ErrorKind K, bool Logits>
__global__ void __launch_bounds__(kThreads) backward_kernel(ScaledNllBackward a, int width, unsigned tiles, bool packed) {
    unsigned block = blockIdx.x;
    if (a.grad_log_gamma) {
        if (block == 0) return grad_log_gamma<K>(a);
        --block;
    }
    const auto [lane, team, lanes] = team_of(width);
    const int k = int(a.k);
    const unsigned group = block / tiles;
    const int j = (int(block - group * tiles) * width + lane) * 4;
    const int live = k - j < 4 ? k - j : 4;
    const int64_t first = int64_t(group) * (lanes * kRows) + team;
    if (live <= 0) return;
    const float weight = a.grad_nll ? weight_of<K>(*a.log_gamma) : 0.0f;
    float xs[kRows][4], hs[kRows][4];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + r * lanes;
        if (row >= a.rows) break;
        load4(static_cast<const X*>(a.x) + row * a.x_stride + j, live, packed, xs[r]);
        load4(static_cast<const T*>(a.x_hat) + row * a.x_hat_stride + j, live, packed, hs[r]);
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + r * lanes;
        if (row >= a.rows) break;
        float g = 0;
        if (a.grad_nll) g = weight * a.grad_nll[row * a.grad_nll_stride];
        if (a.grad_error) g += a.grad_error[row * a.grad_error_stride];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const Slopes<float> s = error_slopes<K, Logits>(xs[r][i], hs[r][i]);
            xs[r][i] = g * s.to_x;
            hs[r][i] = g * s.to_a;
        }
        if (a.grad_x_hat) store4(static_cast<T*>(a.grad_x_hat) + row * a.k + j, live, packed, hs[r]);
        if constexpr (sizeof(X) > 1)  // uint8 data has no gradient
            if (a.grad_x) store4(static_cast<X*>(a.grad_x) + row * a.k + j, live, packed, xs[r]);
    }
}

template <class X, class T, ErrorKind K, bool Logits>
void enqueue(const ScaledNllForward& a, cudaStream_t stream) {
    const bool packed = packable(static_cast<const X*>(a.x), a.x_stride) &&
                        packable(static_cast<const T*>(a.x_hat), a.x_hat_stride);
    int threads = kThreads, width = width_of_team(a.k);
    if (width == kThreads && a.rows < kFewRows) threads = width = kManyThreads;
    const unsigned blocks = blocks_for(a.rows, threads / width);
    launch_kernel(forward_kernel<X, T, K, Logits>, blocks, unsigned(threads), stream, a, width, packed);
}

template <class X, class T, ErrorKind K, bool Logits>
void enqueue(const ScaledNllBackward& a, cudaStream_t stream) {
    const bool packed = packable(static_cast<const X*>(a.x), a.x_stride) &&
                        packable(static_cast<const T*>(a.x_hat), a.x_hat_stride) &&
                        packable(static_cast<const X*>(a.grad_x), a.k) &&
                        packable(static_cast<const T*>(a.grad_x_hat), a.k);
    int width = 1;
    while (width < kThreads && 4 * int64_t(width) < a.k) width *= 2;
    const unsigned tiles = blocks_for(a.k, 4 * width), parts = blocks_for(a.rows, kThreads / width * kRows);
    const unsigned blocks = a.grad_x || a.grad_x_hat ? tiles * parts : 0;
    launch_kernel(backward_kernel<X, T, K, Logits>, blocks + (a.grad_log_gamma ? 1 : 0), kThreads, stream, a, width, tiles,
                  packed);
}

template <class X, class T, class Args>
void launch_typed(const Args& a, cudaStream_t stream) {
    if (a.kind == ErrorKind::squared)
        a.from_logits ? enqueue<X, T, ErrorKind::squared, true>(a, stream) : enqueue<X, T, ErrorKind::squared, false>(a, stream);
    else
        a.from_logits ? enqueue<X, T, ErrorKind::absolute, true>(a, stream)
                      : enqueue<X, T, ErrorKind::absolute, false>(a, stream);
}

template <class Args>
void launch(const Args& a, CudaTarget target, const char* name) {
    for_elements(a.dtype, target, name, [&](auto element, cudaStream_t stream) {
        using T = decltype(element);
        if constexpr (sizeof(T) < 8) {  // float64 goes the other way
            if (a.x_dtype == kUint8) launch_typed<uint8_t, T>(a, stream);
            else if (a.x_dtype == a.dtype) launch_typed<T, T>(a, stream);
            else launch_typed<float, T>(a, stream);
        }
    });
}

}  // namespace

void scaled_nll_forward_cuda(const ScaledNllForward& args, CudaTarget target) {
    launch(args, target, "scaled_nll_forward");
}

void scaled_nll_backward_cuda(const ScaledNllBackward& args, CudaTarget target) {
    launch(args, target, "scaled_nll_backward");
}

}  // namespace vaefast
