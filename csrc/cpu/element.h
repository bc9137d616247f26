// Loading and storing tensor elements as the type that arithmetic is done in. The 16-bit formats are
// converted with integer arithmetic alone, which vectorises everywhere.
#pragma once

#include "../core/elementary.h"

namespace vaefast {

struct BFloat16 {
    uint16_t bits;
};
struct Float16 {
    uint16_t bits;
};

template <class T>
struct Element {  // float and double are computed in as they are
    using Compute = T;
    VAEFAST_HD T load(T x) { return x; }
    VAEFAST_HD T store(T x) { return x; }
};

template <>
struct Element<BFloat16> {
    using Compute = float;
    VAEFAST_HD float load(BFloat16 x) { return bit_cast<float>(uint32_t(x.bits) << 16); }
    VAEFAST_HD BFloat16 store(float x) {  // to nearest, ties to even
        const uint32_t u = bit_cast<uint32_t>(x);
        const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
        return {uint16_t(x == x ? rounded : 0x7fc0u)};
    }
};

template <>
struct Element<Float16> {
    using Compute = float;
    // The 15 magnitude bits, moved to float's place, are the value times 2^-112; so for subnormals too.
    VAEFAST_HD float load(Float16 x) {
        const uint32_t magnitude = uint32_t(x.bits & 0x7fffu) << 13;
        const uint32_t sign = uint32_t(x.bits & 0x8000u) << 16;
        const uint32_t finite = bit_cast<uint32_t>(bit_cast<float>(magnitude) * 0x1p112f);
        const uint32_t special = magnitude | 0x7f800000u;  // infinity, NaN
        return bit_cast<float>((magnitude >= 0x0f800000u ? special : finite) | sign);
    }
    VAEFAST_HD Float16 store(float x) {
        const uint32_t u = bit_cast<uint32_t>(x);
        const uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
        const uint32_t normal = (magnitude + 0xc8000fffu + ((magnitude >> 13) & 1u)) >> 13;
        // Adding 1/2 puts the last bit of a subnormal half (2^-24) at the last bit of the float.
        const uint32_t small = bit_cast<uint32_t>(bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
        uint32_t h = magnitude < 0x38800000u ? small : normal;
        h = magnitude >= 0x477ff000u ? 0x7c00u : h;
        h = magnitude > 0x7f800000u ? 0x7e00u : h;
        return {uint16_t(h | sign)};
    }
};

}  // namespace vaefast
