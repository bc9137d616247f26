#pragma once

#include <cstring>

#include "../core/macros.h"

namespace vaefast {

// Sum in an order that depends on n alone, never on alignment or threads. More lanes keep more additions in flight.
template <int lanes = 16, class F>
VAEFAST_HD F ordered_sum(const F* x, int n) {
    typedef F Quarter __attribute__((vector_size(4 * sizeof(F))));  // GCC folds the last lanes one by one otherwise
    F part[lanes] = {};
    int j = 0;
    for (; j + lanes <= n; j += lanes)
        for (int l = 0; l < lanes; ++l) part[l] += x[j + l];
    for (int l = 0; j + l < n; ++l) part[l] += x[j + l];
    for (int width = lanes / 2; width >= 16; width /= 2)
        for (int l = 0; l < width; ++l) part[l] += part[l + width];
    Quarter q[4];
    memcpy(q, part, sizeof(q));
    const Quarter sum = (q[0] + q[2]) + (q[1] + q[3]);
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

}  // namespace vaefast
