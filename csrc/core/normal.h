// Random words -> uniforms in (0, 1) -> pairs of standard normals (Box and Muller 1958).
#pragma once

#include "elementary.h"
#include "philox.h"

namespace vaefast {

// u = r 2^-32 + 2^-33, never 0 or 1. In float the words next to 2^32 would round up to 1.
VAEFAST_HD float uniform_from(uint32_t r, float) {
    const float u = float(r) * 0x1p-32f + 0x1p-33f;
    return u < 0.99999994f ? u : 0.99999994f;
}
VAEFAST_HD double uniform_from(uint32_t r, double) { return double(r) * 0x1p-32 + 0x1p-33; }

// Radius sqrt(-2 log u(r0)) <= 6.77, angle 2 pi u(r1).
template <class F>
VAEFAST_HD void box_muller(uint32_t r0, uint32_t r1, F& n0, F& n1) {
    const F radius = sqrt_of(F(-2) * log_finite_of(uniform_from(r0, F(0))));
    F c, s;
    cos_sin_turn(r1, c, s);
    n0 = radius * c;
    n1 = radius * s;
}

// Normals 0..3 of one counter: words 0, 1 give normals 0, 1; words 2, 3 give normals 2, 3.
template <class F>
VAEFAST_HD void normals4(Words4 w, F& n0, F& n1, F& n2, F& n3) {
    box_muller(w.w0, w.w1, n0, n1);
    box_muller(w.w2, w.w3, n2, n3);
}

}  // namespace vaefast
