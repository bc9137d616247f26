// A run of standard normals, by global element index. In an unnamed namespace, so that each instruction
// set keeps its own code.
#pragma once

#include "../core/normal.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace vaefast {
namespace {

#if defined(__SSE2__)
// The processor's vector of 64-bit lanes, and the product of their low halves, which GCC does not find by itself.
#if defined(__AVX512F__)
constexpr int kWords = 8;
typedef uint64_t Words __attribute__((vector_size(64), may_alias));
VAEFAST_HD Words low_product(Words a, Words b) {
    return (Words)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)b);  // GCC 12 warns of the form without a mask
}
#elif defined(__AVX2__)
constexpr int kWords = 4;
typedef uint64_t Words __attribute__((vector_size(32), may_alias));
VAEFAST_HD Words low_product(Words a, Words b) { return (Words)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
#else
constexpr int kWords = 2;
typedef uint64_t Words __attribute__((vector_size(16), may_alias));
VAEFAST_HD Words low_product(Words a, Words b) { return (Words)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#endif

// Philox on 2 kWords consecutive groups from `group`. A counter word stands in the low half of a 64-bit lane; what
// gathers in the high halves is never read. The even groups and the odd ones are kept apart, so that the results
// interleave by a shift.
VAEFAST_HD void noise_words_of_run(uint64_t seed, uint64_t group, uint32_t stream, uint32_t* w0, uint32_t* w1,
                                   uint32_t* w2, uint32_t* w3) {
    alignas(64) static constexpr uint64_t even[8] = {0, 2, 4, 6, 8, 10, 12, 14};
    const Words zero = {}, m0 = zero + 0xD2511F53u, m1 = zero + 0xCD9E8D57u;
    const Words first = *reinterpret_cast<const Words*>(even) + group;
    Words c0[2] = {first, first + 1}, c1[2] = {c0[0] >> 32, c0[1] >> 32};
    Words c2[2] = {zero + stream, zero + stream}, c3[2] = {zero, zero};
    uint32_t key0 = uint32_t(seed), key1 = uint32_t(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const Words k0 = zero + key0, k1 = zero + key1;
        for (int odd = 0; odd < 2; ++odd) {
            const Words p0 = low_product(c0[odd], m0), p1 = low_product(c2[odd], m1);
            c0[odd] = (p1 >> 32) ^ c1[odd] ^ k0, c1[odd] = p1;
            c2[odd] = (p0 >> 32) ^ c3[odd] ^ k1, c3[odd] = p0;
        }
        key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;
    }
    const Words low = zero + 0xffffffffu;
    *reinterpret_cast<Words*>(w0) = (c0[0] & low) | (c0[1] << 32);
    *reinterpret_cast<Words*>(w1) = (c1[0] & low) | (c1[1] << 32);
    *reinterpret_cast<Words*>(w2) = (c2[0] & low) | (c2[1] << 32);
    *reinterpret_cast<Words*>(w3) = (c3[0] & low) | (c3[1] << 32);
}
#else
constexpr int kWords = 4;

VAEFAST_HD void noise_words_of_run(uint64_t seed, uint64_t group, uint32_t stream, uint32_t* w0, uint32_t* w1,
                                   uint32_t* w2, uint32_t* w3) {
    for (int i = 0; i < 2 * kWords; ++i) {
        const Words4 w = noise_words(seed, group + uint64_t(i), stream);
        w0[i] = w.w0, w1[i] = w.w1, w2[i] = w.w2, w3[i] = w.w3;
    }
}
#endif

// Fetches the cache lines of x[0 .. N - 1]; any address will do.
template <int N, class T>
inline void prefetch(const T* x) {
    for (int byte = 0; byte < N * int(sizeof(T)); byte += 64) __builtin_prefetch(reinterpret_cast<const char*>(x) + byte);
}

// Room for up to N normals that start anywhere within a group of four.
template <class F, int N>
struct NoiseBuffer {
    static constexpr int run = 2 * kWords, run_elements = 4 * run;
    static constexpr int groups = (N / 4 + 2 + run - 1) / run * run;
    alignas(64) uint32_t w0[groups], w1[groups], w2[groups], w3[groups];
    alignas(64) F normals[4 * groups];

    // Noise of elements first .. first + count - 1 of the stream. On the way it calls meanwhile(i) for each i that is
    // a multiple of run_elements, for the caller to prefetch what it needs of its elements i .. i + run_elements - 1.
    template <class Meanwhile>
    const F* fill(uint64_t seed, uint64_t first, int count, uint32_t stream, const Meanwhile& meanwhile) {
        const uint64_t group = first / 4;
        const int skip = int(first % 4), runs = ((skip + count + 3) / 4 + run - 1) / run;
        for (int i = 0; i < runs * run; i += run) {
            meanwhile(4 * i);
            noise_words_of_run(seed, group + uint64_t(i), stream, w0 + i, w1 + i, w2 + i, w3 + i);
        }
        for (int i = 0; i < runs * run; ++i) {
            box_muller(w0[i], w1[i], normals[4 * i], normals[4 * i + 1]);
            box_muller(w2[i], w3[i], normals[4 * i + 2], normals[4 * i + 3]);
        }
        return normals + skip;
    }
};

}  // namespace
}  // namespace vaefast
