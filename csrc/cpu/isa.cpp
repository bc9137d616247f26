#include "isa.h"

#include <cstdlib>

namespace vaefast {

static int detect_cpu_level() {
    int level = 1;
#if defined(VAEFAST_MULTI_ISA)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        level = 3;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
            level = 4;
    }
#endif
    if (const char* wish = std::getenv("VAEFAST_CPU_LEVEL")) {
        const int wished = std::atoi(wish);
        if (wished >= 1 && wished < level) level = wished;
    }
    return level;
}

int cpu_level() {
    static const int level = detect_cpu_level();
    return level;
}

}  // namespace vaefast
