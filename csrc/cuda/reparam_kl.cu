// Sampling z ~ N(mu, s^2), one draw or several, with its KL to N(0, 1) in one pass, and the gradients of both. A team of threads
// takes a row; each thread makes four normals from one Philox counter and handles their four elements.
#include <initializer_list>
#include <type_traits>

#include "../core/normal.h"
#include "dispatch.h"
#include "kernels.h"
#include "team.h"

namespace vaefast {
namespace {

// Four neighbouring elements of a row, of which those from `low` to `high` - 1 exist. `column` is that of the first.
struct Four {
    int64_t column, group;
    int low, high;
};

// Calls body(four) for this thread's share of a row whose first element has global index `first`.
template <class Body>
__device__ void for_my_fours(uint64_t first, int64_t k, int lane, int width, const Body& body) {
    const int skip = int(first & 3u);
    for (int64_t g = lane; 4 * g < k + skip; g += width) {
        const int64_t column = 4 * g - skip;
        body(Four{column, int64_t(first / 4) + g, column < 0 ? skip : 0, k - column < 4 ? int(k - column) : 4});
    }
}

// Four elements as one load or store of 16 bytes (8 for the 16-bit types, two of 16 for double).
template <class T>
struct alignas(sizeof(T) == 2 ? 8 : 16) Pack {
    T x[4];
};

// row[f.column ..], zero where there is no element. `packed`: whole and aligned, for every group of every row.
template <class C, class T>
__device__ void load4(const T* row, Four f, bool packed, C (&x)[4]) {
    if (packed) {
        const Pack<T> pack = *reinterpret_cast<const Pack<T>*>(row + f.column);
#pragma unroll
        for (int i = 0; i < 4; ++i) x[i] = load(pack.x + i);
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) x[i] = i >= f.low && i < f.high ? C(load(row + f.column + i)) : C(0);
    }
}

template <class C, class T>
__device__ void store4(T* row, Four f, bool packed, const C (&x)[4]) {
    if (packed) {
        Pack<T> pack;
#pragma unroll
        for (int i = 0; i < 4; ++i) store(pack.x + i, x[i]);
        *reinterpret_cast<Pack<T>*>(row + f.column) = pack;
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i)
            if (i >= f.low && i < f.high) store(row + f.column + i, x[i]);
    }
}

template <class C>
__device__ void noise4(uint64_t seed, Four f, int64_t draw, C (&eps)[4]) {
    normals4(noise_words(seed, uint64_t(f.group), uint32_t(draw)), eps[0], eps[1], eps[2], eps[3]);
}

template <class T, ScaleParam P>
__global__ void __launch_bounds__(kThreads) forward_kernel(ReparamKlForward a, int width, bool packed) {
    using C = typename ComputeType<T>::type;
    const auto [lane, team, teams] = team_of(width);
    const uint64_t seed = uint64_t(*a.seed);
    // The loop bound is the same for the whole block, so every thread reaches the shuffles.
    for (int64_t row0 = int64_t(blockIdx.x) * teams; row0 < a.rows; row0 += int64_t(gridDim.x) * teams) {
        const int64_t row = row0 + team;
        C kl = 0;
        if (row < a.rows) {
            const T* mu = static_cast<const T*>(a.mu) + row * a.mu_stride;
            const T* scale = static_cast<const T*>(a.scale) + row * a.scale_stride;
            T* z = static_cast<T*>(a.z) + row * a.k;
            for_my_fours(uint64_t(row + a.row_offset) * uint64_t(a.k), a.k, lane, width, [&](Four f) {
                C m[4], s[4], eps[4], value[4];
                load4(mu, f, packed, m);  // both loads are on their way while the noise is made
                load4(scale, f, packed, s);
                noise4(seed, f, 0, eps);
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const Scale<C> sc = scale_of<P>(s[i]);
                    s[i] = sc.s;
                    value[i] = m[i] + s[i] * eps[i];
                    if (a.kl && i >= f.low && i < f.high) kl += kl_term(m[i], sc);
                }
                store4(z, f, packed, value);
                for (int64_t draw = 1; draw < a.draws; ++draw) {
                    noise4(seed, f, draw, eps);
#pragma unroll
                    for (int i = 0; i < 4; ++i) value[i] = m[i] + s[i] * eps[i];
                    store4(z + draw * a.rows * a.k, f, packed, value);
                }
            });
        }
        if (!a.kl) continue;
        kl = sum_of_team(kl, width);
        if (lane == 0 && row < a.rows) static_cast<C*>(a.kl)[row] = kl;
    }
}

template <class T, ScaleParam P>
__global__ void __launch_bounds__(kThreads) backward_kernel(ReparamKlBackward a, int width, bool packed) {
    using C = typename ComputeType<T>::type;
    const auto [lane, team, teams] = team_of(width);
    const uint64_t seed = uint64_t(*a.seed);
    const bool has_z = a.grad_z != nullptr, has_kl = a.grad_kl != nullptr;
    for (int64_t row = int64_t(blockIdx.x) * teams + team; row < a.rows;
         row += int64_t(gridDim.x) * teams) {
        const T* grad_z = has_z ? static_cast<const T*>(a.grad_z) + row * a.grad_z_stride : nullptr;
        const C grad_kl = has_kl ? static_cast<const C*>(a.grad_kl)[row * a.grad_kl_stride] : C(0);
        const T* mu = has_kl ? static_cast<const T*>(a.mu) + row * a.mu_stride : nullptr;
        const T* scale = static_cast<const T*>(a.scale) + row * a.scale_stride;
        for_my_fours(uint64_t(row + a.row_offset) * uint64_t(a.k), a.k, lane, width, [&](Four f) {
            C s[4], m[4] = {}, g[4], eps[4], to_mu[4] = {}, to_scale[4] = {};
            load4(scale, f, packed, s);
            if (has_kl) load4(mu, f, packed, m);
            if (has_z) {
                for (int64_t draw = 0; draw < a.draws; ++draw) {
                    load4(grad_z + draw * a.grad_z_draw_stride, f, packed, g);
                    noise4(seed, f, draw, eps);
#pragma unroll
                    for (int i = 0; i < 4; ++i) to_mu[i] += g[i], to_scale[i] += g[i] * eps[i];
                }
            }
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const Scale<C> sc = scale_of<P>(s[i]);
                if (has_z) to_scale[i] *= sc.derivative;
                if (has_kl) to_mu[i] += grad_kl * m[i], to_scale[i] += grad_kl * kl_scale_grad<P>(sc);
            }
            if (a.grad_mu) store4(static_cast<T*>(a.grad_mu) + row * a.k, f, packed, to_mu);
            store4(static_cast<T*>(a.grad_scale) + row * a.k, f, packed, to_scale);
        });
    }
}

// Whether every group of four is whole and lies on a boundary of Pack, in the tensors at `p` (null ones do not count)
// and for the row strides (0 for those that do not count).
template <class T>
bool packs(int64_t k, std::initializer_list<const void*> pointers, std::initializer_list<int64_t> strides) {
    bool fits = k % 4 == 0;
    for (const void* p : pointers) fits = fits && reinterpret_cast<uintptr_t>(p) % alignof(Pack<T>) == 0;
    for (int64_t stride : strides) fits = fits && stride % 4 == 0;
    return fits;
}

template <class T>
bool packs(const ReparamKlForward& a) {
    return packs<T>(a.k, {a.mu, a.scale, a.z}, {a.mu_stride, a.scale_stride});
}

template <class T>
bool packs(const ReparamKlBackward& a) {
    return packs<T>(a.k, {a.grad_z, a.grad_kl ? a.mu : nullptr, a.scale, a.grad_mu, a.grad_scale},
                    {a.grad_z_draw_stride, a.grad_z_stride, a.mu_stride, a.scale_stride});
}

template <class T, class Args>
void launch_typed(const Args& a, cudaStream_t stream) {
    const int width = width_of_team(a.k);
    const bool packed = packs<T>(a);
    const unsigned grid = blocks_for(a.rows, kThreads / width);
#define VAEFAST_LAUNCH(P)                                                           \
    if constexpr (std::is_same_v<Args, ReparamKlForward>)                           \
        launch_kernel(forward_kernel<T, P>, grid, kThreads, stream, a, width, packed);  \
    else                                                                            \
        launch_kernel(backward_kernel<T, P>, grid, kThreads, stream, a, width, packed)
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
    for_elements(a.dtype, target, name, [&](auto element, cudaStream_t stream) { launch_typed<decltype(element)>(a, stream); });
}

}  // namespace

void reparam_kl_forward_cuda(const ReparamKlForward& args, CudaTarget target) {
    launch(args, target, "reparam_kl_forward");
}

void reparam_kl_backward_cuda(const ReparamKlBackward& args, CudaTarget target) {
    launch(args, target, "reparam_kl_backward");
}

}  // namespace vaefast
