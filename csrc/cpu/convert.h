// Runs of tensor elements of any type as the type that arithmetic is done in, and back. A kernel that works on such
// runs need not be compiled for every pair of types. In an unnamed namespace, so that each instruction set keeps its
// own code.
#pragma once

#include "../core/dtype.h"
#include "../core/error.h"
#include "element.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace vaefast {
namespace {

template <class T, class C>
void load_run(const T* __restrict from, C* __restrict to, int64_t n) {
    for (int64_t j = 0; j < n; ++j) to[j] = C(Element<T>::load(from[j]));
}

// Elements first .. first + n - 1 of p in type C: where they lie if they have that type, else converted into `room`.
// uint8 is scaled to [0, 1].
template <class C>
const C* read_run(const void* p, DType dtype, int64_t first, int64_t n, C* __restrict room) {
    if (dtype == kUint8) {
        const uint8_t* __restrict from = static_cast<const uint8_t*>(p) + first;
        for (int64_t j = 0; j < n; ++j) room[j] = unit_of(C(from[j]));
        return room;
    }
    switch (dtype) {
        case DType::float32:
            if constexpr (sizeof(C) == 4) return static_cast<const C*>(p) + first;
            load_run(static_cast<const float*>(p) + first, room, n);
            break;
        case DType::float64:
            if constexpr (sizeof(C) == 8) return static_cast<const C*>(p) + first;
            break;  // no kernel narrows
        case DType::bfloat16:
            if constexpr (sizeof(C) == 4) load_run(static_cast<const BFloat16*>(p) + first, room, n);
            break;
        case DType::float16:
            if constexpr (sizeof(C) == 4) load_run(static_cast<const Float16*>(p) + first, room, n);
            break;
    }
    return room;
}

// The same for `rows` runs of n elements, `stride` apart, which come out one after another.
template <class C>
const C* read_runs(const void* p, DType dtype, int64_t first, int64_t stride, int rows, int n, C* __restrict room) {
    if (rows == 1 || stride == n) return read_run(p, dtype, first, int64_t(rows) * n, room);
    for (int i = 0; i < rows; ++i) {
        const C* run = read_run(p, dtype, first + i * stride, n, room + i * n);
        if (run != room + i * n) memcpy(room + i * n, run, sizeof(C) * size_t(n));
    }
    return room;
}

// Where to compute n elements that belong to p from `first` on: there, if they have type C, else in `room`.
template <class C>
C* place_run(void* p, DType dtype, int64_t first, C* room) {
    const bool same = dtype == (sizeof(C) == 8 ? DType::float64 : DType::float32);
    return same ? static_cast<C*>(p) + first : room;
}

// Finishes what place_run began.
template <class C>
void write_run(void* p, DType dtype, int64_t first, int64_t n, const C* __restrict room) {
    if constexpr (sizeof(C) == 4) {
        if (dtype == DType::bfloat16) {
            BFloat16* __restrict to = static_cast<BFloat16*>(p) + first;
            for (int64_t j = 0; j < n; ++j) to[j] = Element<BFloat16>::store(room[j]);
        } else if (dtype == DType::float16) {
            Float16* __restrict to = static_cast<Float16*>(p) + first;
            for (int64_t j = 0; j < n; ++j) to[j] = Element<Float16>::store(room[j]);
        }
    }
}

// Results of this many bytes leave the caches before anybody reads them.
constexpr int64_t kStreamBytes = int64_t(8) << 20;

// Copies n elements past the caches where whole cache lines are written, which then need not be read first.
template <class C>
void stream_run(C* to, const C* __restrict room, int64_t n) {
#if defined(__AVX512F__)
    constexpr int64_t line = 64 / sizeof(C);
    if (reinterpret_cast<uintptr_t>(to) % 64 == 0) {
        int64_t j = 0;
        for (; j + line <= n; j += line)
            _mm512_stream_si512(reinterpret_cast<__m512i*>(to + j), _mm512_loadu_si512(room + j));
        to += j, room += j, n -= j;
    }
#endif
    memcpy(to, room, sizeof(C) * size_t(n));
}

// To be called by every thread that has streamed, before others read what it wrote.
inline void end_streams() {
#if defined(__AVX512F__)
    _mm_sfence();
#endif
}

}  // namespace
}  // namespace vaefast
