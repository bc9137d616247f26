#pragma once

#include <cuda_runtime.h>

#include "cpu/element.h"

struct __half {
    vaefast::Float16 value;
};
inline float __half2float(__half x) { return vaefast::Element<vaefast::Float16>::load(x.value); }
inline __half __float2half_rn(float f) { return {vaefast::Element<vaefast::Float16>::store(f)}; }

// d += a b of a warp, as mma.sync.m16n8k16 in half precision: products are exact, and they and d are cut to 25 bits of the
// largest among them before they are added up, whose sum is cut to float's 24.
struct MmaLeft {
    uint32_t at[4];
};
struct MmaRight {
    uint32_t at[2];
};
inline void mma_m16n8k16(float (&d)[4], MmaLeft a, MmaRight b) {
    using namespace cuda_on_cpu;
    struct Sides {
        MmaLeft a;
        MmaRight b;
    } mine{a, b};
    Machine& m = machine();
    const unsigned me = m.current, lane = me % kWarp, warp = me - lane;
    const Sides* address = &mine;
    std::memcpy(m.fibers[me].value, &address, sizeof(address));
    m.fibers[me].mask = 0xffffffffu;
    wait_as(Fiber::at_warp_barrier);
    const auto sides = [&](unsigned of) {
        const Sides* there;
        std::memcpy(&there, m.fibers[warp + of].value, sizeof(there));
        return there;
    };
    const auto number = [](uint32_t both, unsigned which) {
        const uint16_t bits = uint16_t(which ? both >> 16 : both);
        __half x;
        std::memcpy(&x, &bits, sizeof(x));
        return double(__half2float(x));
    };
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned row = lane / 4, column = lane % 4 * 2 + i % 2;
        double terms[17] = {double(d[i])}, largest = std::fabs(double(d[i])), sum = 0;
        for (unsigned k = 0; k < 16; ++k) {
            const unsigned upper = k / 8, q = k % 8 / 2;
            terms[1 + k] = number(sides(row * 4 + q)->a.at[2 * upper + i / 2], k % 2) * number(sides(column * 4 + q)->b.at[upper], k % 2);
            largest = std::max(largest, std::fabs(terms[1 + k]));
        }
        if (largest > 0 && std::isfinite(largest)) {
            const double unit = std::ldexp(1.0, std::ilogb(largest) - 24);
            for (double& term : terms) sum += std::trunc(term / unit) * unit;
            const double cut = std::ldexp(1.0, (sum == 0 ? 0 : std::ilogb(sum)) - 23);
            d[i] = float(std::trunc(sum / cut) * cut);
        } else {
            for (double term : terms) sum += term;
            d[i] = float(sum);
        }
    }
    m.fibers[me].mask = 0xffffffffu;
    wait_as(Fiber::at_warp_barrier);
}
