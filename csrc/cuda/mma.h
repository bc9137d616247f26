// Matrix products on tensor cores that keep the digits of float: every number is a sum of two in half precision, a = high +
// low / 2^11, and a b = high high + (high low + low high) / 2^11, with errors of 2^-22 of |a| |b|. Numbers come scaled by
// powers of two, so that those down to 2^-29 of the largest keep their digits.
//
// Four neighbouring numbers are one Chunk of 16 bytes: what a thread of a warp gives to a product of depth 16, in both parts.
// The order of the 16 in the product is free as long as both sides agree: thread q of four has those from 4 q on.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "../core/elementary.h"

namespace vaefast {

struct alignas(16) Chunk {
    uint32_t high[2], low[2];
};

constexpr float kLowScale = 2048.0f;  // 2^11

__device__ __forceinline__ uint32_t halves(float a, float b) {
#if defined(__CUDACC__)
    const __half2 both = __floats2half2_rn(a, b);
    return *reinterpret_cast<const uint32_t*>(&both);
#else
    const __half x = __float2half_rn(a), y = __float2half_rn(b);
    uint16_t p, q;
    memcpy(&p, &x, 2);
    memcpy(&q, &y, 2);
    return p | uint32_t(q) << 16;
#endif
}

__device__ __forceinline__ float half_of(uint32_t both, int which) {
    const uint16_t bits = uint16_t(which ? both >> 16 : both);
    __half x;
    memcpy(&x, &bits, 2);
    return __half2float(x);
}

// Two numbers in two parts.
__device__ __forceinline__ void split2(float a, float b, uint32_t& high, uint32_t& low) {
    high = halves(a, b);
    low = halves((a - half_of(high, 0)) * kLowScale, (b - half_of(high, 1)) * kLowScale);
}

__device__ __forceinline__ Chunk chunk_of(float a, float b, float c, float d) {
    Chunk chunk;
    split2(a, b, chunk.high[0], chunk.low[0]);
    split2(c, d, chunk.high[1], chunk.low[1]);
    return chunk;
}

// The exponent of the power of two that takes numbers up to `largest` to 2^14 .. 2^15, within reason.
__device__ __forceinline__ int exponent_to_scale(float largest) {
    const int e = int(bit_cast<uint32_t>(largest) >> 23 & 255u) - 127;
    const int s = 14 - e;
    return largest == 0.0f || s < -60 ? -60 * (largest != 0.0f) : s > 60 ? 60 : s;
}
__device__ __forceinline__ float power_of_two(int e) { return bit_cast<float>(uint32_t(e + 127) << 23); }

// d += a b of a warp: a [16, 16] in rows, b [16, 8] in columns. Thread t has d of row t / 4 (and that + 8) in columns
// 2 (t % 4), + 1.
__device__ __forceinline__ void mma(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                                    uint32_t b1) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
    __trap();  // vaefast/ops/_native.py does not come here
#elif defined(__CUDACC__)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#else
    mma_m16n8k16(d, {a0, a1, a2, a3}, {b0, b1});
#endif
}

// high += a.high b.high and cross += a.high b.low + a.low b.high, where `top` and `bottom` are the chunks of a's rows t / 4 and
// t / 4 + 8 and b that of column t / 4. The product is high + cross / 2^11.
__device__ __forceinline__ void mma_parts(float (&high)[4], float (&cross)[4], const Chunk& top, const Chunk& bottom,
                                          const Chunk& b) {
    mma(cross, top.high[0], bottom.high[0], top.high[1], bottom.high[1], b.low[0], b.low[1]);
    mma(high, top.high[0], bottom.high[0], top.high[1], bottom.high[1], b.high[0], b.high[1]);
    mma(cross, top.low[0], bottom.low[0], top.low[1], bottom.low[1], b.high[0], b.high[1]);
}

// The 16 x 64 that a warp keeps in its threads' float[8][4]: row and column of element e = 4 tile + 2 half + b of a thread. Four
// neighbouring columns are in two neighbouring tiles, which makes them a Chunk.
__device__ __forceinline__ int row_of(int e, int lane) { return lane / 4 + e / 2 % 2 * 8; }
__device__ __forceinline__ int column_of(int e, int lane) { return e / 8 * 16 + lane % 4 * 4 + e / 4 % 2 * 2 + e % 2; }

// The largest of a thread's two rows, over the four threads that share them.
__device__ __forceinline__ void share_largest(float (&most)[2]) {
#pragma unroll
    for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int step = 1; step <= 2; ++step) {
            const float there = __shfl_xor_sync(0xffffffffu, most[h], step);
            most[h] = there > most[h] ? there : most[h];
        }
}

// From the rows' largest numbers to what scales them, in their place, and what takes it back.
__device__ __forceinline__ void scales_of(float (&most)[2], float (&back)[2]) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int exponent = exponent_to_scale(most[h]);
        most[h] = power_of_two(exponent);
        back[h] = power_of_two(-exponent);
    }
}

// The 16 x 64 in the scales of its rows, as the left side of a product of depth 64.
__device__ __forceinline__ void left_side(const float (&s)[8][4], const float (&scale)[2], Chunk (&left)[4][2]) {
#pragma unroll
    for (int d = 0; d < 4; ++d)
#pragma unroll
        for (int h = 0; h < 2; ++h)
            left[d][h] = chunk_of(scale[h] * s[2 * d][2 * h], scale[h] * s[2 * d][2 * h + 1], scale[h] * s[2 * d + 1][2 * h],
                                  scale[h] * s[2 * d + 1][2 * h + 1]);
}

}  // namespace vaefast
