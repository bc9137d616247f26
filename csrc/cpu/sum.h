#pragma once

#include "../core/macros.h"

namespace vaefast {

// Sum in an order that depends on n alone, never on alignment or threads. More lanes keep more additions in flight.
template <int lanes = 16, class F>
VAEFAST_HD F ordered_sum(const F* x, int n) {
    F part[lanes] = {};
    int j = 0;
    for (; j + lanes <= n; j += lanes)
        for (int l = 0; l < lanes; ++l) part[l] += x[j + l];
    for (int l = 0; j + l < n; ++l) part[l] += x[j + l];
    for (int width = lanes / 2; width > 0; width /= 2)
        for (int l = 0; l < width; ++l) part[l] += part[l + width];
    return part[0];
}

}  // namespace vaefast
