// Sampling z ~ N(mu, s^2) with its KL to N(0, 1) in one pass, and the gradients of both.
// The noise is made block by block in cache, forward and again backward, and never stored.
#include "reparam_kl.h"

#include "element.h"
#include "noise.h"
#include "parallel.h"
#include "sum.h"

namespace vaefast::VAEFAST_ISA {
namespace {

constexpr int kBlock = 1024;  // elements at a time: all buffers of a block stay in the L1 cache
constexpr uint32_t kStream = 0;

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

template <class T, ScaleParam P, class C>
void forward_span(const T* __restrict mu, const T* __restrict scale, const C* __restrict eps, T* __restrict z,
                  C* __restrict kl, int n) {
    for (int j = 0; j < n; ++j) {
        const C m = Element<T>::load(mu[j]);
        const Scale<C> sc = scale_of<P>(C(Element<T>::load(scale[j])));
        z[j] = Element<T>::store(m + sc.s * eps[j]);
        kl[j] = kl_term(m, sc);
    }
}

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
        for (int j = 0; j < n; ++j) {
            const C g = Element<T>::load(grad_z[j]);
            grad_mu[j] = grad_z[j];
            grad_scale[j] = Element<T>::store(g * eps[j] * scale_of<P>(C(Element<T>::load(scale[j]))).derivative);
        }
    } else {
        for (int j = 0; j < n; ++j) {
            grad_mu[j] = Element<T>::store(grad_kl[j] * C(Element<T>::load(mu[j])));
            grad_scale[j] =
                Element<T>::store(grad_kl[j] * kl_scale_grad<P>(scale_of<P>(C(Element<T>::load(scale[j])))));
        }
    }
}

template <class T, ScaleParam P>
void forward_rows(const ReparamKlForward& a, int64_t row0, int64_t row1) {
    using C = typename Element<T>::Compute;
    const T *mu = static_cast<const T*>(a.mu), *scale = static_cast<const T*>(a.scale);
    T* z = static_cast<T*>(a.z);
    C* kl = static_cast<C*>(a.kl);
    const bool dense = a.mu_stride == a.k && a.scale_stride == a.k;
    NoiseBuffer<C, kBlock> noise;
    alignas(64) C terms[kBlock];
    double long_sum = 0;
    for_each_block(row0, row1, a.k, [&](Block b) {
        const uint64_t first = uint64_t(b.row + a.row_offset) * uint64_t(a.k) + uint64_t(b.column);
        const int count = b.rows * b.columns;
        const C* eps = noise.fill(uint64_t(*a.seed), first, count, kStream);
        const int spans = dense ? 1 : b.rows, span = dense ? count : b.columns;
        for (int i = 0; i < spans; ++i)
            forward_span<T, P, C>(mu + (b.row + i) * a.mu_stride + b.column,
                                  scale + (b.row + i) * a.scale_stride + b.column, eps + i * span,
                                  z + (b.row + i) * a.k + b.column, terms + i * span, span);
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
    const T *mu = static_cast<const T*>(a.mu), *scale = static_cast<const T*>(a.scale);
    const T* grad_z = static_cast<const T*>(a.grad_z);
    const C* grad_kl = static_cast<const C*>(a.grad_kl);
    T *grad_mu = static_cast<T*>(a.grad_mu), *grad_scale = static_cast<T*>(a.grad_scale);
    const bool dense = a.mu_stride == a.k && a.scale_stride == a.k && (!grad_z || a.grad_z_stride == a.k);
    NoiseBuffer<C, kBlock> noise;
    alignas(64) C row_grad[kBlock];
    for_each_block(row0, row1, a.k, [&](Block b) {
        const uint64_t first = uint64_t(b.row + a.row_offset) * uint64_t(a.k) + uint64_t(b.column);
        const int count = b.rows * b.columns;
        const C* eps = grad_z ? noise.fill(uint64_t(*a.seed), first, count, kStream) : nullptr;
        if (grad_kl)
            for (int i = 0; i < b.rows; ++i) {
                const C g = grad_kl[(b.row + i) * a.grad_kl_stride];
                for (int j = 0; j < b.columns; ++j) row_grad[i * b.columns + j] = g;
            }
        const int spans = dense ? 1 : b.rows, span = dense ? count : b.columns;
        for (int i = 0; i < spans; ++i)
            backward_span<T, P, C>(grad_z ? grad_z + (b.row + i) * a.grad_z_stride + b.column : nullptr,
                                   grad_kl ? row_grad + i * span : nullptr,
                                   mu + (b.row + i) * a.mu_stride + b.column,
                                   scale + (b.row + i) * a.scale_stride + b.column, eps ? eps + i * span : nullptr,
                                   grad_mu + (b.row + i) * a.k + b.column,
                                   grad_scale + (b.row + i) * a.k + b.column, span);
    });
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

void reparam_kl_forward(const ReparamKlForward& a) { VAEFAST_RUN(forward_rows) }
void reparam_kl_backward(const ReparamKlBackward& a) { VAEFAST_RUN(backward_rows) }

}  // namespace vaefast::VAEFAST_ISA
