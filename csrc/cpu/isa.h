// One binary, several instruction sets: every file with CPU kernels is compiled once per set, each time
// with VAEFAST_ISA naming the set, and VAEFAST_PICK takes the best that this processor has.
//
// The names below must match the table in setup.py.
#pragma once

#if defined(VAEFAST_MULTI_ISA)
#define VAEFAST_DECLARE_CPU(signature)   \
    namespace vaefast::x86_64_v4 { signature; } \
    namespace vaefast::x86_64_v3 { signature; } \
    namespace vaefast::baseline { signature; }
#define VAEFAST_PICK(name)                                                         \
    (::vaefast::cpu_level() >= 4   ? &::vaefast::x86_64_v4::name                   \
     : ::vaefast::cpu_level() >= 3 ? &::vaefast::x86_64_v3::name                   \
                                   : &::vaefast::baseline::name)
#else
#define VAEFAST_DECLARE_CPU(signature) \
    namespace vaefast::baseline { signature; }
#define VAEFAST_PICK(name) (&::vaefast::baseline::name)
#endif

namespace vaefast {

// 4: AVX-512 (F, BW, DQ, VL), 3: AVX2 with FMA, 1: anything else. VAEFAST_CPU_LEVEL lowers it.
int cpu_level();

}  // namespace vaefast
