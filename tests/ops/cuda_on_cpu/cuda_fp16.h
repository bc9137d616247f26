#pragma once

#include "cpu/element.h"

struct __half {
    vaefast::Float16 value;
};
inline float __half2float(__half x) { return vaefast::Element<vaefast::Float16>::load(x.value); }
inline __half __float2half_rn(float f) { return {vaefast::Element<vaefast::Float16>::store(f)}; }
