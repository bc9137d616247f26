// Teams of threads that share a row: a power of two up to a warp, or a whole block.
#pragma once

#include <cstdint>

namespace vaefast {

constexpr int kThreads = 256;

// A thread's place among the teams of a block of `threads`: both numbers are powers of two, so that nothing is divided.
struct Team {
    int lane, index, count;
};
__device__ inline Team team_of(int width, int threads = kThreads) {
    const int shift = 31 - __clz(width), thread = int(threadIdx.x);
    return {thread & (width - 1), thread >> shift, threads >> shift};
}

// Sum over the team of `width` threads, in a fixed order; all threads of the block must call it.
template <class C>
__device__ C sum_of_team(C x, int width) {
    for (int step = (width < 32 ? width : 32) / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    if (width <= 32) return x;
    __shared__ C warp_sum[kThreads / 32];
    __syncthreads();
    if (threadIdx.x % 32 == 0) warp_sum[threadIdx.x / 32] = x;
    __syncthreads();
    C sum = 0;
    for (int w = 0; w < kThreads / 32; ++w) sum += warp_sum[w];
    return sum;
}

// Threads for a row of k elements, four to a thread: at most a warp, or a block where rows are long.
inline int width_of_team(int64_t k) {
    if (k > 1024) return kThreads;
    int width = 1;
    while (width < 32 && 4 * width < k) width *= 2;
    return width;
}

inline unsigned blocks_for(int64_t units, int64_t units_a_block) {
    const int64_t blocks = (units + units_a_block - 1) / units_a_block;
    return unsigned(blocks < 0x7fffffff ? blocks : 0x7fffffff);
}

}  // namespace vaefast
