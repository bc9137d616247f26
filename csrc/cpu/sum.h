#pragma once

#include "../core/macros.h"

namespace vaefast {

// Sum in an order that depends on n alone, never on alignment or threads.
template <class F>
VAEFAST_HD F ordered_sum(const F* x, int n) {
    constexpr int lanes = 16;
    typedef F Quarter __attribute__((vector_size(4 * sizeof(F))));
    F part[lanes] = {};
    int j = 0;
    for (; j + lanes <= n; j += lanes)
        for (int l = 0; l < lanes; ++l) part[l] += x[j + l];
    for (int l = 0; j + l < n; ++l) part[l] += x[j + l];
    Quarter q[4];
    memcpy(q, part, sizeof(q));
    const Quarter sum = (q[0] + q[2]) + (q[1] + q[3]);
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

}  // namespace vaefast
