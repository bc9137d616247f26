// Sampling z ~ N(mu, s^2) with its KL to N(0, 1) in one pass, and the gradients of both. A team of threads
// takes a row; each thread makes four normals from one Philox counter and handles their four elements.
#include <type_traits>

#include "../core/normal.h"
#include "check.h"
#include "element.h"
#include "reparam_kl.h"

namespace vaefast {
namespace {

constexpr int kThreads = 256;
constexpr uint32_t kStream = 0;

// Sum over a team of `width` threads (a power of two up to a warp, or the whole block), in a fixed order.
template <class C>
__device__ C team_sum(C x, int width) {
    for (int step = (width < 32 ? width : 32) / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    if (width <= 32) return x;
    __shared__ C warp_sum[kThreads / 32];
    __syncthreads();
    if (threadIdx.x % 32 == 0) warp_sum[threadIdx.x / 32] = x;
    __syncthreads();
    C sum = 0;
    for (int w = 0; w < kThreads / 32; ++w) sum += warp_sum[w];
    return sum;
}

// Calls body(column, normal) for this thread's share of a row whose first element has global index `first`.
template <class C, class Body>
__device__ void for_my_elements(uint64_t seed, uint64_t first, int64_t k, int lane, int width, bool noise,
                                const Body& body) {
    const int skip = int(first & 3u);
    for (int64_t g = lane; 4 * g < k + skip; g += width) {
        C eps[4] = {C(0), C(0), C(0), C(0)};
        if (noise) normals4(noise_words(seed, first / 4 + uint64_t(g), kStream), eps[0], eps[1], eps[2], eps[3]);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int64_t column = 4 * g + i - skip;
            if (column >= 0 && column < k) body(column, eps[i]);
        }
    }
}

template <class T, ScaleParam P>
__global__ void __launch_bounds__(kThreads) forward_kernel(ReparamKlForward a, int width) {
    using C = typename ComputeType<T>::type;
    const int lane = threadIdx.x % width, teams = kThreads / width;
    const uint64_t seed = uint64_t(*a.seed);
    // The loop bound is the same for the whole block, so every thread reaches the shuffles.
    for (int64_t row0 = int64_t(blockIdx.x) * teams; row0 < a.rows; row0 += int64_t(gridDim.x) * teams) {
        const int64_t row = row0 + threadIdx.x / width;
        C kl = 0;
        if (row < a.rows) {
            const T* mu = static_cast<const T*>(a.mu) + row * a.mu_stride;
            const T* scale = static_cast<const T*>(a.scale) + row * a.scale_stride;
            T* z = static_cast<T*>(a.z) + row * a.k;
            for_my_elements<C>(seed, uint64_t(row + a.row_offset) * uint64_t(a.k), a.k, lane, width, true,
                               [&](int64_t j, C eps) {
                                   const C m = load(mu + j);
                                   const Scale<C> sc = scale_of<P>(C(load(scale + j)));
                                   store(z + j, m + sc.s * eps);
                                   kl += kl_term(m, sc);
                               });
        }
        kl = team_sum(kl, width);
        if (lane == 0 && row < a.rows) static_cast<C*>(a.kl)[row] = kl;
    }
}

template <class T, ScaleParam P>
__global__ void __launch_bounds__(kThreads) backward_kernel(ReparamKlBackward a, int width) {
    using C = typename ComputeType<T>::type;
    const int lane = threadIdx.x % width, teams = kThreads / width;
    const uint64_t seed = uint64_t(*a.seed);
    const bool has_z = a.grad_z != nullptr, has_kl = a.grad_kl != nullptr;
    for (int64_t row = int64_t(blockIdx.x) * teams + threadIdx.x / width; row < a.rows;
         row += int64_t(gridDim.x) * teams) {
        const T* grad_z = has_z ? static_cast<const T*>(a.grad_z) + row * a.grad_z_stride : nullptr;
        const C grad_kl = has_kl ? static_cast<const C*>(a.grad_kl)[row * a.grad_kl_stride] : C(0);
        const T* mu = static_cast<const T*>(a.mu) + row * a.mu_stride;
        const T* scale = static_cast<const T*>(a.scale) + row * a.scale_stride;
        T* grad_mu = static_cast<T*>(a.grad_mu) + row * a.k;
        T* grad_scale = static_cast<T*>(a.grad_scale) + row * a.k;
        for_my_elements<C>(seed, uint64_t(row + a.row_offset) * uint64_t(a.k), a.k, lane, width, has_z,
                           [&](int64_t j, C eps) {
                               const Scale<C> sc = scale_of<P>(C(load(scale + j)));
                               C to_mu = 0, to_scale = 0;
                               if (has_z) {
                                   to_mu = load(grad_z + j);
                                   to_scale = to_mu * eps * sc.derivative;
                               }
                               if (has_kl) {
                                   to_mu += grad_kl * C(load(mu + j));
                                   to_scale += grad_kl * kl_scale_grad<P>(sc);
                               }
                               store(grad_mu + j, to_mu);
                               store(grad_scale + j, to_scale);
                           });
    }
}

// Threads to a row: enough for one group of four each, at most a warp; a block where rows are long.
int team_width(int64_t k) {
    if (k > 2048) return kThreads;
    int width = 1;
    while (width < 32 && 4 * width < k) width *= 2;
    return width;
}

unsigned grid_size(int64_t rows, int width) {
    const int64_t teams = kThreads / width, blocks = (rows + teams - 1) / teams;
    return unsigned(blocks < 0x7fffffff ? blocks : 0x7fffffff);
}

template <class T, class Args>
void launch_typed(const Args& a, cudaStream_t stream) {
    const int width = team_width(a.k);
    const unsigned grid = grid_size(a.rows, width);
#define VAEFAST_LAUNCH(P)                                                           \
    if constexpr (std::is_same_v<Args, ReparamKlForward>)                           \
        launch_kernel(forward_kernel<T, P>, grid, kThreads, stream, a, width);      \
    else                                                                            \
        launch_kernel(backward_kernel<T, P>, grid, kThreads, stream, a, width)
    switch (a.param) {
        case ScaleParam::logvar: VAEFAST_LAUNCH(ScaleParam::logvar); break;
        case ScaleParam::logstd: VAEFAST_LAUNCH(ScaleParam::logstd); break;
        case ScaleParam::softplus: VAEFAST_LAUNCH(ScaleParam::softplus); break;
    }
#undef VAEFAST_LAUNCH
}

template <class Args>
void launch(const Args& a, CudaTarget target, const char* name) {
    if (a.rows == 0) return;
    const DeviceScope scope(target.device);
    const cudaStream_t stream = static_cast<cudaStream_t>(target.stream);
    switch (a.dtype) {
        case DType::float32: launch_typed<float>(a, stream); break;
        case DType::float64: launch_typed<double>(a, stream); break;
        case DType::bfloat16: launch_typed<__nv_bfloat16>(a, stream); break;
        case DType::float16: launch_typed<__half>(a, stream); break;
    }
    check_cuda(cudaGetLastError(), name);
}

}  // namespace

void reparam_kl_forward_cuda(const ReparamKlForward& args, CudaTarget target) {
    launch(args, target, "reparam_kl_forward");
}

void reparam_kl_backward_cuda(const ReparamKlBackward& args, CudaTarget target) {
    launch(args, target, "reparam_kl_backward");
}

}  // namespace vaefast
