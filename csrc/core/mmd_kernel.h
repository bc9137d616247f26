// Kernels of maximum mean discrepancy as functions of one number a pair: u = |z_a - z_b|^2 for rows that are scaled
// beforehand, or for polynomials t = z_a . z_b with the mean put back. f is the kernel, g its derivative by that number.
#pragma once

#include "elementary.h"

namespace vaefast {

enum class MmdKernel : int { imq = 0, rbf = 1, laplacian = 2, energy = 3, polynomial = 4 };

constexpr int kMaxScales = 16;

// Below this part of |z_a|^2 + |z_b|^2 a squared distance from the dot product has lost too many digits.
constexpr double kNear = 1.0 / 16;

template <class F>
struct MmdCoefs {
    int count;               // scales, or the degree
    F a[kMaxScales];         // imq: C; rbf, laplacian: what multiplies u, sqrt(u); polynomial: of t^(i + 1)
    // imq for u <= limit: sum C / (C + u) = top / bottom and sum C / (C + u)^2 = slope / bottom^2, polynomials with
    // positive coefficients alone, so nothing cancels.
    F top[kMaxScales], bottom[kMaxScales + 1], slope[2 * kMaxScales - 1], limit;
};

// The rational form of the imq sum, and how far it stays within the range of F.
template <class F>
static inline void imq_rational(MmdCoefs<F>& c, double largest) {
    const int s = c.count;
    double bottom[kMaxScales + 1] = {1}, top[kMaxScales] = {}, slope[2 * kMaxScales - 1] = {};
    for (int i = 0; i < s; ++i)
        for (int j = i + 1; j >= 0; --j) bottom[j] = double(c.a[i]) * (j <= i ? bottom[j] : 0) + (j ? bottom[j - 1] : 0);
    for (int i = 0; i < s; ++i) {
        double rest[kMaxScales] = {1};  // the product without factor i
        int degree = 0;
        for (int l = 0; l < s; ++l)
            if (l != i) {
                ++degree;
                for (int j = degree; j >= 0; --j)
                    rest[j] = double(c.a[l]) * (j < degree ? rest[j] : 0) + (j ? rest[j - 1] : 0);
            }
        for (int j = 0; j < s; ++j) {
            top[j] += double(c.a[i]) * rest[j];
            for (int l = 0; l < s; ++l) slope[j + l] += double(c.a[i]) * rest[j] * rest[l];
        }
    }
    for (int j = 0; j <= s; ++j) c.bottom[j] = F(bottom[j]);
    for (int j = 0; j < s; ++j) c.top[j] = F(top[j]);
    for (int j = 0; j < 2 * s - 1; ++j) c.slope[j] = F(slope[j]);
    double limit = 0x1p40;
    for (; limit > 1e-6; limit /= 2) {
        double b = 0, d = 0;
        for (int j = s; j >= 0; --j) b = b * limit + bottom[j];
        for (int j = 2 * s - 2; j >= 0; --j) d = d * limit + slope[j];
        if (b * b < largest && d < largest) break;
    }
    const bool usable = limit > 1e-6 && bottom[0] * bottom[0] > 1 / largest;
    c.limit = usable ? F(limit) : F(-1);
}

// The coefficients of (offset + t)^degree - offset^degree.
template <class F>
VAEFAST_HD void polynomial_coefs(MmdCoefs<F>& c, int degree, double offset) {
    c.count = degree;
    double binomial = 1;
    for (int i = 1; i <= degree; ++i) {
        binomial *= double(degree - i + 1) / i;
        double power = 1;
        for (int j = 0; j < degree - i; ++j) power *= offset;
        c.a[i - 1] = F(binomial * power);
    }
}

// `scales` in units that the rows are scaled by; `offset` of a polynomial: what is raised to the power at t = 0.
template <class F>
static inline MmdCoefs<F> mmd_coefs(MmdKernel kernel, const double* scales, int count, double offset) {
    MmdCoefs<F> c{};
    c.count = count;
    if (kernel == MmdKernel::polynomial) {
        polynomial_coefs(c, count, offset);
        return c;
    }
    for (int i = 0; i < count; ++i)
        c.a[i] = kernel == MmdKernel::imq ? F(scales[i])
                 : kernel == MmdKernel::rbf ? F(1 / (scales[i] * scales[i]))
                                            : F(1 / scales[i]);
    if (kernel == MmdKernel::imq) imq_rational<F>(c, sizeof(F) == 4 ? 1e37 : 1e300);
    return c;
}

// COUNT: the number of scales, where it is known when this is compiled; else 0.
template <int COUNT = 0, class F>
VAEFAST_HD void imq_rational_of(F u, const MmdCoefs<F>& c, F& f, F& g) {
    const int s = COUNT ? COUNT : c.count;
    F top = c.top[s - 1], bottom = u + c.bottom[s - 1], slope = c.slope[2 * s - 2];
    for (int i = s - 2; i >= 0; --i) {
        top = top * u + c.top[i];
        bottom = bottom * u + c.bottom[i];
        slope = slope * u + c.slope[2 * i + 1];
        slope = slope * u + c.slope[2 * i];
    }
    const F inverse = reciprocal_of(bottom);
    f = top * inverse;
    g = -(slope * inverse) * inverse;
}

template <class F>
VAEFAST_HD void imq_of(F u, const MmdCoefs<F>& c, F& f, F& g) {
    if (u <= c.limit) {
        imq_rational_of(u, c, f, g);
        return;
    }
    f = F(0), g = F(0);
    for (int s = 0; s < c.count; ++s) {
        const F inverse = reciprocal_of(c.a[s] + u);
        f += c.a[s] * inverse;
        g -= c.a[s] * inverse * inverse;
    }
}

template <class F>
VAEFAST_HD void rbf_of(F u, const MmdCoefs<F>& c, F& f, F& g) {
    f = F(0), g = F(0);
    for (int s = 0; s < c.count; ++s) {
        const F e = exp_of(-u * c.a[s]);
        f += e;
        g -= c.a[s] * e;
    }
}

template <class F>
VAEFAST_HD void laplacian_of(F u, const MmdCoefs<F>& c, F& f, F& g) {
    const F d = sqrt_of(u), half = d > F(0) ? F(-0.5) * reciprocal_of(d) : F(0);
    f = F(0), g = F(0);
    for (int s = 0; s < c.count; ++s) {
        const F e = exp_of(-d * c.a[s]);
        f += e;
        g += half * c.a[s] * e;
    }
}

template <class F>
VAEFAST_HD void energy_of(F u, const MmdCoefs<F>&, F& f, F& g) {
    f = -sqrt_of(u);
    g = f < F(0) ? F(0.5) * reciprocal_of(f) : F(0);
}

// Without what cancels over all pairs, or is summed apart: f lacks the terms of degree one that are not `dot`, the
// centred product, and g lacks its constant a[0].
template <class F>
VAEFAST_HD void polynomial_of(F t, F dot, const MmdCoefs<F>& c, F& f, F& g) {
    F p = F(0), q = F(0);
    for (int i = c.count - 1; i >= 1; --i) {
        q = q * t + F(i + 1) * c.a[i];
        p = p * t + c.a[i];
    }
    f = p * t * t + c.a[0] * dot;
    g = q * t;
}

template <MmdKernel K, class F>
VAEFAST_HD void mmd_pair(F u, F dot, const MmdCoefs<F>& c, F& f, F& g) {
    if constexpr (K == MmdKernel::imq) imq_of(u, c, f, g);
    else if constexpr (K == MmdKernel::rbf) rbf_of(u, c, f, g);
    else if constexpr (K == MmdKernel::laplacian) laplacian_of(u, c, f, g);
    else if constexpr (K == MmdKernel::energy) energy_of(u, c, f, g);
    else polynomial_of(u, dot, c, f, g);
}

}  // namespace vaefast
