// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3" (SC 2011): four random words as a pure function of a 64-bit key and a 128-bit counter.
#pragma once

#include "macros.h"

namespace vaefast {

struct Words4 {
    uint32_t w0, w1, w2, w3;
};

VAEFAST_HD Words4 philox_round(Words4 c, uint32_t key0, uint32_t key1) {
    const uint64_t p0 = uint64_t(0xD2511F53u) * c.w0;
    const uint64_t p1 = uint64_t(0xCD9E8D57u) * c.w2;
    return {uint32_t(p1 >> 32) ^ c.w1 ^ key0, uint32_t(p1), uint32_t(p0 >> 32) ^ c.w3 ^ key1, uint32_t(p0)};
}

VAEFAST_HD Words4 philox4x32_10(Words4 counter, uint32_t key0, uint32_t key1) {
    for (int round = 0; round < 10; ++round) {
        counter = philox_round(counter, key0, key1);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

// The four words that noise elements 4*group .. 4*group + 3 of a stream are made from.
VAEFAST_HD Words4 noise_words(uint64_t seed, uint64_t group, uint32_t stream) {
    const Words4 counter = {uint32_t(group), uint32_t(group >> 32), stream, 0u};
    return philox4x32_10(counter, uint32_t(seed), uint32_t(seed >> 32));
}

}  // namespace vaefast
