// Huge pages under large outputs.
#pragma once

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace vaefast {

// Says that a large output is about to be written from end to end, best before anything has touched it. glibc takes
// large blocks anew from the kernel for every tensor, and a page fault for each 4 KiB can cost more than the arithmetic;
// under transparent huge pages set to "madvise", the usual setting, this makes them 2 MiB each: reparam_kl forward and
// backward at 2^24 elements, one thread, takes 80 ms in place of 139 (55 either way where malloc keeps what is freed). On a
// virtual machine that hands free memory back to its host, pages that lay free for seconds must come from there again, which
// took 550 ms; calls that follow each other within a second or two do not meet this. It is a hint: where it cannot be
// followed, nothing happens.
static inline void will_write(void* p, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr uintptr_t huge = uintptr_t(1) << 21;
    if (p == nullptr || bytes < int64_t(2 * huge)) return;
    const uintptr_t first = (uintptr_t(p) + huge - 1) & ~(huge - 1), last = (uintptr_t(p) + uintptr_t(bytes)) & ~(huge - 1);
    if (first < last) (void)madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
    (void)p, (void)bytes;
#endif
}

}  // namespace vaefast
