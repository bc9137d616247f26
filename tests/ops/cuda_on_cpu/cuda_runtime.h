// Just enough of CUDA to run csrc/cuda on the CPU, so that its kernels are held to the reference on machines without
// a GPU. Blocks run one after another; the threads of a block are fibers that change places at __syncthreads and at
// shuffles. A barrier that not all threads reach, and a shuffle that not all lanes of its mask reach, abort.
//
// What kernels may use: threadIdx.x, blockIdx.{x,y,z}, blockDim.x, gridDim.{x,y,z}, static __shared__ arrays,
// __syncthreads, __shfl_{xor,down,up}_sync and __shfl_sync, __ldg, __ballot_sync, atomicAdd and atomicMax of unsigned, __threadfence, float2/float4, and cmath.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
    unsigned x, y, z;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess = 0 };
inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }

namespace cuda_on_cpu {

constexpr unsigned kWarp = 32;
constexpr size_t kStack = 64 * 1024;

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    enum { running, at_block_barrier, at_warp_barrier, done } state = running;
    unsigned mask = 0;
    alignas(8) unsigned char value[16];
};

struct Machine {
    std::vector<Fiber> fibers;
    ucontext_t home;
    unsigned current = 0;
    uint3 thread{}, block{};
    dim3 grid, block_size;
    const std::function<void()>* body = nullptr;
};
inline Machine& machine() {
    static Machine m;
    return m;
}

[[noreturn]] inline void fail(const char* why) {
    std::fprintf(stderr, "cuda_on_cpu: %s\n", why);
    std::abort();
}

inline void wait_as(decltype(Fiber::running) state) {
    Machine& m = machine();
    const unsigned me = m.current;
    m.fibers[me].state = state;
    swapcontext(&m.fibers[me].context, &m.home);
}

inline void fiber_main() {
    Machine& m = machine();
    (*m.body)();
    m.fibers[m.current].state = Fiber::done;
    swapcontext(&m.fibers[m.current].context, &m.home);
}

// Wakes the warps and the block whose waiting threads are complete; false where nothing could be woken.
inline bool release() {
    Machine& m = machine();
    const unsigned n = unsigned(m.fibers.size());
    bool woken = false, all = true, any = false;
    for (unsigned t = 0; t < n; ++t) {
        any |= m.fibers[t].state == Fiber::at_block_barrier;
        all &= m.fibers[t].state == Fiber::at_block_barrier || m.fibers[t].state == Fiber::done;
    }
    if (any && all) {
        for (unsigned t = 0; t < n; ++t) {
            if (m.fibers[t].state == Fiber::done) fail("a thread has returned while others wait at __syncthreads");
            m.fibers[t].state = Fiber::running;
        }
        return true;
    }
    for (unsigned warp = 0; warp < n; warp += kWarp) {
        unsigned mask = 0, waiting = 0;
        for (unsigned t = warp; t < std::min(warp + kWarp, n); ++t)
            if (m.fibers[t].state == Fiber::at_warp_barrier) {
                if (mask && mask != m.fibers[t].mask) fail("lanes of a warp shuffle with different masks");
                mask = m.fibers[t].mask;
                waiting |= 1u << (t - warp);
            }
        const unsigned exist = n - warp >= kWarp ? 0xffffffffu : (1u << (n - warp)) - 1;
        if (mask && waiting == (mask & exist)) {
            for (unsigned t = warp; t < std::min(warp + kWarp, n); ++t)
                if (m.fibers[t].state == Fiber::at_warp_barrier) m.fibers[t].state = Fiber::running;
            woken = true;
        }
    }
    return woken;
}

inline void run_block() {
    Machine& m = machine();
    const unsigned n = m.block_size.x;
    if (m.fibers.size() != n) {
        m.fibers.clear();
        m.fibers.resize(n);
        for (Fiber& f : m.fibers) f.stack.reset(new char[kStack]);
    }
    for (Fiber& f : m.fibers) {
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.get();
        f.context.uc_stack.ss_size = kStack;
        f.context.uc_link = &m.home;
        f.state = Fiber::running;
        makecontext(&f.context, fiber_main, 0);
    }
    // Every other block and round runs its threads backwards, so that a missing barrier shows in one order or the other.
    for (unsigned round = m.block.x + m.block.y + m.block.z;; ++round) {
        bool alive = false;
        for (unsigned i = 0; i < n; ++i) {
            const unsigned t = round % 2 ? n - 1 - i : i;
            if (m.fibers[t].state == Fiber::running) {
                m.current = t;
                m.thread = {t, 0, 0};
                swapcontext(&m.home, &m.fibers[t].context);
            }
        }
        for (const Fiber& f : m.fibers) alive |= f.state != Fiber::done;
        if (!alive) return;
        if (!release()) fail("a barrier or a shuffle is never reached by all of its threads");
    }
}

template <class T>
T exchange(unsigned mask, T value, int source) {
    static_assert(sizeof(T) <= sizeof(Fiber::value), "shuffles move at most 16 bytes");
    Machine& m = machine();
    const unsigned me = m.current, lane = me % kWarp, warp = me - lane;
    if (!(mask >> lane & 1u)) fail("a lane shuffles that its mask leaves out");
    std::memcpy(m.fibers[me].value, &value, sizeof(T));
    m.fibers[me].mask = mask;
    wait_as(Fiber::at_warp_barrier);
    T got = value;
    const unsigned from = warp + unsigned(source);
    if (source >= 0 && unsigned(source) < kWarp && from < m.fibers.size() && (mask >> unsigned(source) & 1u))
        std::memcpy(&got, m.fibers[from].value, sizeof(T));
    m.fibers[me].mask = mask;
    wait_as(Fiber::at_warp_barrier);  // nobody writes a new value before all have read
    return got;
}

}  // namespace cuda_on_cpu

#define threadIdx (cuda_on_cpu::machine().thread)
#define blockIdx (cuda_on_cpu::machine().block)
#define blockDim (cuda_on_cpu::machine().block_size)
#define gridDim (cuda_on_cpu::machine().grid)

inline void __syncthreads() { cuda_on_cpu::wait_as(cuda_on_cpu::Fiber::at_block_barrier); }
template <class T>
T __shfl_xor_sync(unsigned mask, T x, int lanes) {
    return cuda_on_cpu::exchange(mask, x, int(threadIdx.x % 32) ^ lanes);
}
template <class T>
T __shfl_down_sync(unsigned mask, T x, unsigned by) {
    return cuda_on_cpu::exchange(mask, x, int(threadIdx.x % 32 + by));
}
template <class T>
T __shfl_up_sync(unsigned mask, T x, unsigned by) {
    return cuda_on_cpu::exchange(mask, x, int(threadIdx.x % 32) - int(by));
}
template <class T>
T __shfl_sync(unsigned mask, T x, int source) {
    return cuda_on_cpu::exchange(mask, x, source % 32);
}
// The bits of all lanes of the mask for which x holds.
inline unsigned __ballot_sync(unsigned mask, bool x) {
    using namespace cuda_on_cpu;
    Machine& m = machine();
    const unsigned me = m.current, warp = me - me % kWarp;
    m.fibers[me].value[0] = x;
    m.fibers[me].mask = mask;
    wait_as(Fiber::at_warp_barrier);
    unsigned bits = 0;
    for (unsigned lane = 0; lane < kWarp && warp + lane < m.fibers.size(); ++lane)
        if (mask >> lane & 1u && m.fibers[warp + lane].value[0]) bits |= 1u << lane;
    m.fibers[me].mask = mask;
    wait_as(Fiber::at_warp_barrier);
    return bits;
}
inline void __threadfence() {}
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline unsigned atomicAdd(unsigned* p, unsigned x) { return *p += x, *p - x; }
inline unsigned atomicMax(unsigned* p, unsigned x) { const unsigned old = *p; return *p = std::max(old, x), old; }
template <class T>
T __ldg(const T* p) {
    return *p;
}

template <class Body>
void run_grid(dim3 grid, unsigned block, const Body& body) {
    using namespace cuda_on_cpu;
    Machine& m = machine();
    const std::function<void()> run = body;
    m.body = &run;
    m.grid = grid;
    m.block_size = dim3(block);
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                m.block = {x, y, z};
                run_block();
            }
}
