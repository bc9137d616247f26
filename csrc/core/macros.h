// What lets one header serve the C++ and the CUDA compiler.
//
// On the host every function is `static` and always inlined: the CPU kernels are compiled once per
// instruction set, and a shared out-of-line copy could be the one with instructions this CPU lacks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define VAEFAST_HD static __host__ __device__ __forceinline__
#else
#define VAEFAST_HD static inline __attribute__((always_inline))
#endif
