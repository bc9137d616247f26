// A run of standard normals, by global element index. In an unnamed namespace, so that each instruction
// set keeps its own code.
#pragma once

#include "../core/normal.h"

namespace vaefast {
namespace {

// Room for up to N normals that start anywhere within a group of four.
template <class F, int N>
struct NoiseBuffer {
    static constexpr int groups = N / 4 + 2;
    alignas(64) uint32_t w0[groups], w1[groups], w2[groups], w3[groups];
    alignas(64) F normals[4 * groups];

    // Noise of elements first .. first + count - 1 of the stream.
    const F* fill(uint64_t seed, uint64_t first, int count, uint32_t stream) {
        const uint64_t group0 = first / 4;
        const int skip = int(first % 4), n = (skip + count + 3) / 4;
        const uint32_t low0 = uint32_t(group0), high0 = uint32_t(group0 >> 32);
        const uint32_t key0 = uint32_t(seed), key1 = uint32_t(seed >> 32);
        for (int i = 0; i < n; ++i) {
            const uint32_t low = low0 + uint32_t(i);
            const Words4 w = philox4x32_10({low, high0 + (low < low0 ? 1u : 0u), stream, 0u}, key0, key1);
            w0[i] = w.w0, w1[i] = w.w1, w2[i] = w.w2, w3[i] = w.w3;
        }
        for (int i = 0; i < n; ++i) {
            box_muller(w0[i], w1[i], normals[4 * i], normals[4 * i + 1]);
            box_muller(w2[i], w3[i], normals[4 * i + 2], normals[4 * i + 3]);
        }
        return normals + skip;
    }
};

}  // namespace
}  // namespace vaefast
