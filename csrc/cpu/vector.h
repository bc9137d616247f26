// The widest vector of the instruction set that a file is compiled for, and the inner loop of a matrix product.
// In an unnamed namespace, so that each instruction set keeps its own code.
#pragma once

#include "../core/macros.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace vaefast {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kVectorColumns = 4;  // of the 32 registers: 16 sums, 4 factors
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kVectorColumns = 2;
#else
constexpr int kVectorBytes = 16;
constexpr int kVectorColumns = 2;
#endif
constexpr int kVectorRows = 4;

template <class F>
struct Vector;
template <>
struct Vector<float> {
    typedef float type __attribute__((vector_size(kVectorBytes)));
    static constexpr int lanes = kVectorBytes / 4;
};
template <>
struct Vector<double> {
    typedef double type __attribute__((vector_size(kVectorBytes)));
    static constexpr int lanes = kVectorBytes / 8;
};

template <class F>
VAEFAST_HD typename Vector<F>::type load_vector(const F* p) {
    typename Vector<F>::type v;
    memcpy(&v, p, sizeof(v));
    return v;
}

template <class F>
VAEFAST_HD void store_vector(F* p, typename Vector<F>::type v) {
    memcpy(p, &v, sizeof(v));
}

// 1 / x to about an ulp, for x within the square root of the type's range.
template <class F>
VAEFAST_HD typename Vector<F>::type reciprocal(typename Vector<F>::type x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(F) == 4) {  // a division takes the place of eight multiplications
        const auto r = (typename Vector<F>::type)_mm512_maskz_rcp14_ps(__mmask16(-1), (__m512)x);
        return r + r * (F(1) - x * r);
    }
#endif
    return F(1) / x;
}

// The sum of a vector's elements.
template <class F>
VAEFAST_HD F lane_sum(typename Vector<F>::type v) {
    alignas(64) F part[Vector<F>::lanes];
    store_vector(part, v);
    for (int width = Vector<F>::lanes / 2; width > 0; width /= 2)
        for (int l = 0; l < width; ++l) part[l] += part[l + width];
    return part[0];
}

// sum[i][l] += a(i, s) b(s, l) over s < depth; a(i, s) = a[i a_row + s a_step], b(s, .) the vectors at b + s b_step.
template <class F, int Columns>
VAEFAST_HD void multiply(const F* a, int64_t a_row, int64_t a_step, const F* b, int64_t b_step, int64_t depth,
                         typename Vector<F>::type (&sum)[kVectorRows][Columns]) {
    using V = typename Vector<F>::type;
    for (int64_t s = 0; s < depth; ++s) {
        V factor[Columns];
#pragma GCC unroll 8
        for (int l = 0; l < Columns; ++l) factor[l] = load_vector(b + s * b_step + l * Vector<F>::lanes);
#pragma GCC unroll 8
        for (int i = 0; i < kVectorRows; ++i) {
            const F x = a[i * a_row + s * a_step];
#pragma GCC unroll 8
            for (int l = 0; l < Columns; ++l) sum[i][l] += x * factor[l];
        }
    }
}

}  // namespace
}  // namespace vaefast
