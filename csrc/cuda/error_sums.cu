// Sums over rows of the error between data and reconstruction, and their gradients. A team of threads takes a chunk
// of a row, four elements a thread at a time. What kind of error it is decides a branch that all threads take alike.
#include "kernels.h"

#include <type_traits>

#include "dispatch.h"
#include "pack.h"
#include "team.h"

namespace vaefast {
namespace {

template <class C>
__device__ C term(ErrorKind kind, bool logits, C x, C a) {
    switch (kind) {
        case ErrorKind::squared:
            return logits ? error_term<ErrorKind::squared, true>(x, a) : error_term<ErrorKind::squared, false>(x, a);
        case ErrorKind::absolute:
            return logits ? error_term<ErrorKind::absolute, true>(x, a) : error_term<ErrorKind::absolute, false>(x, a);
        default:
            return logits ? error_term<ErrorKind::cross_entropy, true>(x, a)
                          : error_term<ErrorKind::cross_entropy, false>(x, a);
    }
}

template <class C>
__device__ Slopes<C> slopes(ErrorKind kind, bool logits, C x, C a) {
    switch (kind) {
        case ErrorKind::squared:
            return logits ? error_slopes<ErrorKind::squared, true>(x, a) : error_slopes<ErrorKind::squared, false>(x, a);
        case ErrorKind::absolute:
            return logits ? error_slopes<ErrorKind::absolute, true>(x, a)
                          : error_slopes<ErrorKind::absolute, false>(x, a);
        default:
            return logits ? error_slopes<ErrorKind::cross_entropy, true>(x, a)
                          : error_slopes<ErrorKind::cross_entropy, false>(x, a);
    }
}

template <class X, class T>
__global__ void __launch_bounds__(kThreads) forward_kernel(ErrorSumsForward a, int width, bool packed) {
    using C = typename ComputeType<T>::type;
    const auto [lane, team, teams] = team_of(width);
    const C* weight = static_cast<const C*>(a.weight);
    C* to_weighted = static_cast<C*>(a.weighted);
    const int64_t units = a.rows * a.chunks;
    // The loop bound is the same for the whole block, so every thread reaches the shuffles.
    for (int64_t unit0 = int64_t(blockIdx.x) * teams; unit0 < units; unit0 += int64_t(gridDim.x) * teams) {
        const int64_t unit = unit0 + team;
        C sum = 0, weighted = 0;
        if (unit < units) {
            const int64_t row = a.chunks == 1 ? unit : unit / a.chunks, begin = (unit - row * a.chunks) * a.chunk;
            const int64_t end = begin + a.chunk < a.k ? begin + a.chunk : a.k;
            const X* x = static_cast<const X*>(a.x) + row * a.x_stride;
            const T* h = static_cast<const T*>(a.x_hat) + row * a.x_hat_stride;
            for (int64_t j = begin + 4 * lane; j < end; j += 4 * width) {
                const int live = end - j < 4 ? int(end - j) : 4;
                C xs[4], hs[4];
                load4(x + j, live, packed, xs);
                load4(h + j, live, packed, hs);
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    if (i >= live) break;
                    const C t = term(a.kind, a.from_logits, xs[i], hs[i]);
                    sum += t;
                    if (to_weighted) weighted += t * weight[j + i];
                }
            }
        }
        sum = sum_of_team(sum, width);
        if (to_weighted) weighted = sum_of_team(weighted, width);
        if (lane == 0 && unit < units) {
            static_cast<C*>(a.sums)[unit] = sum;
            if (to_weighted) to_weighted[unit] = weighted;
        }
    }
}

// Thread by thread four columns of the rows of one part: with weights a part is many rows, whose share of the gradient
// to the weights the thread sums up; without, it is one row. A block has `width` threads side by side, and `tiles` such blocks
// have a row.
template <class X, class T>
__global__ void __launch_bounds__(kThreads) backward_kernel(ErrorSumsBackward a, int width, unsigned tiles, bool packed) {
    using C = typename ComputeType<T>::type;
    const X* x = static_cast<const X*>(a.x);
    const T* h = static_cast<const T*>(a.x_hat);
    const C *grad_sums = static_cast<const C*>(a.grad_sums), *grad_weighted = static_cast<const C*>(a.grad_weighted);
    const C* weight = static_cast<const C*>(a.weight);
    X* grad_x = static_cast<X*>(a.grad_x);
    T* grad_x_hat = static_cast<T*>(a.grad_x_hat);
    const auto [lane, team, teams] = team_of(width);
    const unsigned group = blockIdx.x / tiles;
    const int64_t j = (int64_t(blockIdx.x - group * tiles) * width + lane) * 4, part = int64_t(group) * teams + team;
    if (j < a.k && part < a.parts) {
        const int live = a.k - j < 4 ? int(a.k - j) : 4;
        const int64_t begin = a.grad_weight ? a.rows * part / a.parts : part;
        const int64_t end = a.grad_weight ? a.rows * (part + 1) / a.parts : part + 1;
        C w[4] = {C(0), C(0), C(0), C(0)};
        double total[4] = {0, 0, 0, 0};
        if (weight)
            for (int i = 0; i < live; ++i) w[i] = weight[j + i];
        for (int64_t row = begin; row < end; ++row) {
            const C plain = grad_sums ? grad_sums[row * a.grad_sums_stride] : C(0);
            const C g = grad_weighted ? grad_weighted[row * a.grad_weighted_stride] : C(0);
            C xs[4], hs[4], to_x[4], to_h[4];
            load4(x + row * a.x_stride + j, live, packed, xs);
            load4(h + row * a.x_hat_stride + j, live, packed, hs);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const Slopes<C> s = slopes(a.kind, a.from_logits, xs[i], hs[i]);
                const C factor = weight ? plain + g * w[i] : plain;
                to_x[i] = factor * s.to_x;
                to_h[i] = factor * s.to_a;
                if (a.grad_weight) total[i] += double(g * term(a.kind, a.from_logits, xs[i], hs[i]));
            }
            if (grad_x_hat) store4(grad_x_hat + row * a.k + j, live, packed, to_h);
            // uint8 data has no gradient.
            if constexpr (sizeof(X) > 1)
                if (grad_x) store4(grad_x + row * a.k + j, live, packed, to_x);
        }
        if (a.grad_weight)
            for (int i = 0; i < live; ++i) a.weight_parts[part * a.k + j + i] = total[i];
    }
}

template <class C>
__global__ void __launch_bounds__(kThreads) merge_kernel(ErrorSumsBackward a) {
    for (int64_t j = int64_t(blockIdx.x) * kThreads + threadIdx.x; j < a.k; j += int64_t(gridDim.x) * kThreads) {
        double sum = 0;
        for (int64_t part = 0; part < a.parts; ++part) sum += a.weight_parts[part * a.k + j];
        static_cast<C*>(a.grad_weight)[j] = C(sum);
    }
}

template <class X, class T>
void launch_typed(const ErrorSumsForward& a, cudaStream_t stream) {
    const bool packed = packable(static_cast<const X*>(a.x), a.x_stride) && a.chunk % 4 == 0 &&
                        packable(static_cast<const T*>(a.x_hat), a.x_hat_stride);
    const int width = width_of_team(a.k);
    if (a.rows > 0)
        launch_kernel(forward_kernel<X, T>, blocks_for(a.rows * a.chunks, kThreads / width), kThreads, stream, a, width,
                      packed);
}

template <class X, class T>
void launch_typed(const ErrorSumsBackward& given, cudaStream_t stream) {
    ErrorSumsBackward a = given;
    const bool packed = packable(static_cast<const X*>(a.x), a.x_stride) && a.k % 4 == 0 &&
                        packable(static_cast<const T*>(a.x_hat), a.x_hat_stride) &&
                        packable(static_cast<const X*>(a.grad_x), a.k) &&
                        packable(static_cast<const T*>(a.grad_x_hat), a.k);
    if (!a.grad_weight) a.parts = a.rows;
    int width = 1;
    while (width < kThreads && 4 * int64_t(width) < a.k) width *= 2;
    const unsigned tiles = blocks_for(a.k, 4 * width), blocks = tiles * blocks_for(a.parts, kThreads / width);
    if (blocks > 0) launch_kernel(backward_kernel<X, T>, blocks, kThreads, stream, a, width, tiles, packed);
    if (a.grad_weight && a.k > 0)
        launch_kernel(merge_kernel<typename ComputeType<T>::type>, blocks_for(a.k, kThreads), kThreads, stream, a);
}

template <class T, class Args>
void launch_data(const Args& a, cudaStream_t stream) {
    if (a.x_dtype == kUint8) launch_typed<uint8_t, T>(a, stream);
    else if (a.x_dtype == a.dtype) launch_typed<T, T>(a, stream);
    else if constexpr (sizeof(T) == 2) launch_typed<float, T>(a, stream);
}

template <class Args>
void launch(const Args& a, CudaTarget target, const char* name) {
    for_elements(a.dtype, target, name, [&](auto element, cudaStream_t stream) { launch_data<decltype(element)>(a, stream); });
}

}  // namespace

void error_sums_forward_cuda(const ErrorSumsForward& args, CudaTarget target) {
    launch(args, target, "error_sums_forward");
}

void error_sums_backward_cuda(const ErrorSumsBackward& args, CudaTarget target) {
    launch(args, target, "error_sums_backward");
}

}  // namespace vaefast
