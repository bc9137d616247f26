// Sampling z ~ N(mu, s^2), one draw or several, with its KL to N(0, 1) in one pass, and the gradients of both.
// The noise is made block by block in cache, forward and again backward, and never stored.
#include "kernels.h"

#include "element.h"
#include "noise.h"
#include "pages.h"
#include "parallel.h"
#include "sum.h"

namespace vaefast::VAEFAST_ISA {
namespace {

constexpr int kBlock = 1024;  // elements at a time: all buffers of a block stay in the L1 cache
constexpr int kPiece = 128;   // elements of dense rows at a time: short turns of making noise and reading memory overlap

// A block is a group of whole rows, or a piece of one long row.
struct Block {
    int64_t row, column;
    int rows, columns;
};

template <class Body>
void for_each_block(int64_t row0, int64_t row1, int64_t k, const Body& body) {
    if (k <= kBlock) {
        const int64_t group = k > 0 ? kBlock / k : row1 - row0;
        for (int64_t row = row0; row < row1; row += group) {
            const int64_t rows = row1 - row < group ? row1 - row : group;
            body(Block{row, 0, int(rows), int(k)});
        }
    } else {
        for (int64_t row = row0; row < row1; ++row)
            for (int64_t column = 0; column < k; column += kBlock)
                body(Block{row, column, 1, int(k - column < kBlock ? k - column : kBlock)});
    }
}

// z, and the terms of kl where they are wanted.
template <class T, ScaleParam P, class C>
void forward_span(const T* __restrict mu, const T* __restrict scale, const C* __restrict eps, T* __restrict z,
                  C* __restrict kl, int n) {
    if (kl) {
        for (int j = 0; j < n; ++j) {
            const C m = Element<T>::load(mu[j]);
            const Scale<C> sc = scale_of<P>(C(Element<T>::load(scale[j])));
            z[j] = Element<T>::store(m + sc.s * eps[j]);
            kl[j] = kl_term(m, sc);
        }
    } else {
        for (int j = 0; j < n; ++j)
            z[j] = Element<T>::store(Element<T>::load(mu[j]) + scale_of<P>(C(Element<T>::load(scale[j]))).s * eps[j]);
    }
}

// The same in two steps, for several draws.
template <class T, ScaleParam P, class C>
void scale_span(const T* __restrict mu, const T* __restrict scale, C* __restrict s, C* __restrict kl, int n) {
    for (int j = 0; j < n; ++j) {
        const Scale<C> sc = scale_of<P>(C(Element<T>::load(scale[j])));
        s[j] = sc.s;
        kl[j] = kl_term(C(Element<T>::load(mu[j])), sc);
    }
}

template <class T, class C>
void draw_span(const T* __restrict mu, const C* __restrict s, const C* __restrict eps, T* __restrict z, int n) {
    for (int j = 0; j < n; ++j) z[j] = Element<T>::store(Element<T>::load(mu[j]) + s[j] * eps[j]);
}

// Gradients from one draw and from kl.
template <class T, ScaleParam P, class C>
void backward_span(const T* __restrict grad_z, const C* __restrict grad_kl, const T* __restrict mu,
                   const T* __restrict scale, const C* __restrict eps, T* __restrict grad_mu,
                   T* __restrict grad_scale, int n) {
    // Each loop is complete for its case: a gradient that is absent costs nothing and spreads no NaN.
    if (grad_z && grad_kl) {
        for (int j = 0; j < n; ++j) {
            const C m = Element<T>::load(mu[j]), g = Element<T>::load(grad_z[j]);
            const Scale<C> sc = scale_of<P>(C(Element<T>::load(scale[j])));
            grad_mu[j] = Element<T>::store(g + grad_kl[j] * m);
            grad_scale[j] = Element<T>::store(g * eps[j] * sc.derivative + grad_kl[j] * kl_scale_grad<P>(sc));
        }
    } else if (grad_z) {
        if (grad_mu) memcpy(grad_mu, grad_z, size_t(n) * sizeof(T));
        for (int j = 0; j < n; ++j)
            grad_scale[j] = Element<T>::store(Element<T>::load(grad_z[j]) * eps[j] *
                                              scale_of<P>(C(Element<T>::load(scale[j]))).derivative);
    } else {
        for (int j = 0; j < n; ++j) {
            grad_mu[j] = Element<T>::store(grad_kl[j] * C(Element<T>::load(mu[j])));
            grad_scale[j] =
                Element<T>::store(grad_kl[j] * kl_scale_grad<P>(scale_of<P>(C(Element<T>::load(scale[j])))));
        }
    }
}

// The same in two steps, for several draws: sums of the draws' gradients g and of g eps, then the gradients.
template <class T, class C>
void add_draw_span(const T* __restrict grad_z, const C* __restrict eps, C* __restrict sum, C* __restrict sum_eps, int n) {
    for (int j = 0; j < n; ++j) {
        const C g = Element<T>::load(grad_z[j]);
        sum[j] += g;
        sum_eps[j] += g * eps[j];
    }
}

template <class T, ScaleParam P, class C>
void backward_draws_span(const C* __restrict sum, const C* __restrict sum_eps, const C* __restrict grad_kl,
                         const T* __restrict mu, const T* __restrict scale, T* __restrict grad_mu,
                         T* __restrict grad_scale, int n) {
    if (grad_kl) {
        for (int j = 0; j < n; ++j) {
            const Scale<C> sc = scale_of<P>(C(Element<T>::load(scale[j])));
            grad_mu[j] = Element<T>::store(sum[j] + grad_kl[j] * C(Element<T>::load(mu[j])));
            grad_scale[j] = Element<T>::store(sum_eps[j] * sc.derivative + grad_kl[j] * kl_scale_grad<P>(sc));
        }
    } else {
        if (grad_mu)
            for (int j = 0; j < n; ++j) grad_mu[j] = Element<T>::store(sum[j]);
        for (int j = 0; j < n; ++j)
            grad_scale[j] = Element<T>::store(sum_eps[j] * scale_of<P>(C(Element<T>::load(scale[j]))).derivative);
    }
}

// Calls body(i, at, eps, n) for the spans of n elements that start at row i, column `at` of the block, with their noise
// in eps. Dense rows count as one. Their memory is asked for by fetch(at) while the noise is made.
template <class C, class Fetch, class Body>
void with_noise(NoiseBuffer<C, kBlock>& noise, uint64_t seed, uint64_t first, int64_t stream, Block b, bool dense,
                const Fetch& fetch, const Body& body) {
    const int count = b.rows * b.columns;
    if (dense) {
        for (int at = 0, n; at < count; at += n) {
            n = kPiece - int((first + uint64_t(at)) % 4);
            n = n < count - at ? n : count - at;
            const C* eps = noise.fill(seed, first + uint64_t(at), n, uint32_t(stream), [&](int i) { fetch(at + i); });
            body(0, at, eps, n);
        }
    } else {
        const C* eps = noise.fill(seed, first, count, uint32_t(stream), [](int) {});
        for (int i = 0; i < b.rows; ++i) body(i, 0, eps + i * b.columns, b.columns);
    }
}

// Calls body(i, n) for the spans of n elements that start at row i of the block.
template <class Body>
void for_each_span(Block b, bool dense, const Body& body) {
    const int spans = dense ? 1 : b.rows, n = dense ? b.rows * b.columns : b.columns;
    for (int i = 0; i < spans; ++i) body(i, n);
}

template <class T, ScaleParam P>
void forward_rows(const ReparamKlForward& a, int64_t row0, int64_t row1) {
    using C = typename Element<T>::Compute;
    C* kl = static_cast<C*>(a.kl);
    const bool dense = a.mu_stride == a.k && a.scale_stride == a.k;
    const uint64_t seed = uint64_t(*a.seed);
    NoiseBuffer<C, kBlock> noise;
    constexpr int run = decltype(noise)::run_elements;
    alignas(64) C terms[kBlock], s[kBlock];
    double long_sum = 0;
    for_each_block(row0, row1, a.k, [&](Block b) {
        const uint64_t first = uint64_t(b.row + a.row_offset) * uint64_t(a.k) + uint64_t(b.column);
        const T* mu = static_cast<const T*>(a.mu) + b.row * a.mu_stride + b.column;
        const T* scale = static_cast<const T*>(a.scale) + b.row * a.scale_stride + b.column;
        T* z = static_cast<T*>(a.z) + b.row * a.k + b.column;
        if (a.draws == 1) {
            const auto fetch = [&](int at) { prefetch<run>(mu + at), prefetch<run>(scale + at), prefetch<run>(z + at); };
            with_noise(noise, seed, first, 0, b, dense, fetch, [&](int i, int at, const C* eps, int n) {
                forward_span<T, P, C>(mu + i * a.mu_stride + at, scale + i * a.scale_stride + at, eps,
                                      z + i * a.k + at, kl ? terms + i * b.columns + at : nullptr, n);
            });
        } else {
            for_each_span(b, dense, [&](int i, int n) {
                scale_span<T, P, C>(mu + i * a.mu_stride, scale + i * a.scale_stride, s + i * b.columns,
                                    terms + i * b.columns, n);
            });
            for (int64_t draw = 0; draw < a.draws; ++draw, z += a.rows * a.k)
                with_noise(noise, seed, first, draw, b, dense, [&](int at) { prefetch<run>(z + at); },
                           [&](int i, int at, const C* eps, int n) {
                               draw_span<T, C>(mu + i * a.mu_stride + at, s + i * b.columns + at, eps,
                                               z + i * a.k + at, n);
                           });
        }
        if (!kl) return;
        if (a.k <= kBlock) {
            for (int i = 0; i < b.rows; ++i) kl[b.row + i] = ordered_sum(terms + i * b.columns, b.columns);
        } else {
            long_sum = (b.column == 0 ? 0.0 : long_sum) + double(ordered_sum(terms, b.columns));
            kl[b.row] = C(long_sum);
        }
    });
}

template <class T, ScaleParam P>
void backward_rows(const ReparamKlBackward& a, int64_t row0, int64_t row1) {
    using C = typename Element<T>::Compute;
    const C* grad_kl = static_cast<const C*>(a.grad_kl);
    const bool dense =
        (!grad_kl || a.mu_stride == a.k) && a.scale_stride == a.k && (!a.grad_z || a.grad_z_stride == a.k);
    const uint64_t seed = uint64_t(*a.seed);
    NoiseBuffer<C, kBlock> noise;
    constexpr int run = decltype(noise)::run_elements;
    alignas(64) C row_grad[kBlock], sum[kBlock], sum_eps[kBlock];
    for_each_block(row0, row1, a.k, [&](Block b) {
        const uint64_t first = uint64_t(b.row + a.row_offset) * uint64_t(a.k) + uint64_t(b.column);
        // What starts at row i, column `at` of the block; null where the whole is null.
        const auto grad_z_at = [&](int64_t i, int at) {
            return a.grad_z ? static_cast<const T*>(a.grad_z) + (b.row + i) * a.grad_z_stride + b.column + at : nullptr;
        };
        const auto mu_at = [&](int64_t i, int at) {
            return grad_kl ? static_cast<const T*>(a.mu) + (b.row + i) * a.mu_stride + b.column + at : nullptr;
        };
        const auto scale_at = [&](int64_t i, int at) {
            return static_cast<const T*>(a.scale) + (b.row + i) * a.scale_stride + b.column + at;
        };
        const auto grad_mu_at = [&](int64_t i, int at) {
            return a.grad_mu ? static_cast<T*>(a.grad_mu) + (b.row + i) * a.k + b.column + at : nullptr;
        };
        const auto grad_scale_at = [&](int64_t i, int at) {
            return static_cast<T*>(a.grad_scale) + (b.row + i) * a.k + b.column + at;
        };
        const auto row_grad_at = [&](int i, int at) { return grad_kl ? row_grad + i * b.columns + at : nullptr; };
        if (grad_kl)
            for (int i = 0; i < b.rows; ++i) {
                const C g = grad_kl[(b.row + i) * a.grad_kl_stride];
                for (int j = 0; j < b.columns; ++j) row_grad[i * b.columns + j] = g;
            }
        const auto one_draw = [&](int i, int at, const C* eps, int n) {
            backward_span<T, P, C>(grad_z_at(i, at), row_grad_at(i, at), mu_at(i, at), scale_at(i, at), eps,
                                   grad_mu_at(i, at), grad_scale_at(i, at), n);
        };
        if (!a.grad_z) {
            for_each_span(b, dense, [&](int i, int n) { one_draw(i, 0, nullptr, n); });
        } else if (a.draws == 1) {
            const auto fetch = [&](int at) {
                prefetch<run>(grad_z_at(0, at)), prefetch<run>(scale_at(0, at)), prefetch<run>(grad_scale_at(0, at));
                if (grad_kl) prefetch<run>(mu_at(0, at));
                if (a.grad_mu) prefetch<run>(grad_mu_at(0, at));
            };
            with_noise(noise, seed, first, 0, b, dense, fetch, one_draw);
        } else {
            for (int j = 0; j < b.rows * b.columns; ++j) sum[j] = sum_eps[j] = C(0);
            for (int64_t draw = 0; draw < a.draws; ++draw) {
                const T* grad_z = grad_z_at(0, 0) + draw * a.grad_z_draw_stride;
                with_noise(noise, seed, first, draw, b, dense, [&](int at) { prefetch<run>(grad_z + at); },
                           [&](int i, int at, const C* eps, int n) {
                               add_draw_span<T, C>(grad_z + i * a.grad_z_stride + at, eps, sum + i * b.columns + at,
                                                   sum_eps + i * b.columns + at, n);
                           });
            }
            for_each_span(b, dense, [&](int i, int n) {
                backward_draws_span<T, P, C>(sum + i * b.columns, sum_eps + i * b.columns, row_grad_at(i, 0),
                                             mu_at(i, 0), scale_at(i, 0), grad_mu_at(i, 0), grad_scale_at(i, 0), n);
            });
        }
    });
}

int64_t bytes_of(DType dtype, int64_t elements) {
    return elements * (dtype == DType::float64 ? 8 : dtype == DType::float32 ? 4 : 2);
}

}  // namespace

// Runs `kernel<T, P>(a, row0, row1)` for the dtype and parametrisation of `a`, rows shared out to threads.
#define VAEFAST_RUN_TYPED(kernel, T)                                                                          \
    parallel_rows(a.rows, a.k, a.threads, [&](int64_t row0, int64_t row1) {                                   \
        switch (a.param) {                                                                                    \
            case ScaleParam::logvar: return kernel<T, ScaleParam::logvar>(a, row0, row1);                     \
            case ScaleParam::logstd: return kernel<T, ScaleParam::logstd>(a, row0, row1);                     \
            case ScaleParam::softplus: return kernel<T, ScaleParam::softplus>(a, row0, row1);                 \
        }                                                                                                     \
    })
#define VAEFAST_RUN(kernel)                                        \
    switch (a.dtype) {                                             \
        case DType::float32: VAEFAST_RUN_TYPED(kernel, float); break;    \
        case DType::float64: VAEFAST_RUN_TYPED(kernel, double); break;   \
        case DType::bfloat16: VAEFAST_RUN_TYPED(kernel, BFloat16); break; \
        case DType::float16: VAEFAST_RUN_TYPED(kernel, Float16); break;  \
    }

void reparam_kl_forward(const ReparamKlForward& a) {
    will_write(a.z, bytes_of(a.dtype, a.draws * a.rows * a.k));
    VAEFAST_RUN(forward_rows)
}

void reparam_kl_backward(const ReparamKlBackward& a) {
    will_write(a.grad_mu, bytes_of(a.dtype, a.rows * a.k));
    will_write(a.grad_scale, bytes_of(a.dtype, a.rows * a.k));
    VAEFAST_RUN(backward_rows)
}

}  // namespace vaefast::VAEFAST_ISA
