// Four neighbouring elements at a time, by one load or store where the addresses allow it.
#pragma once

#include "../core/error.h"
#include "element.h"

namespace vaefast {

template <class T>
struct alignas(4 * sizeof(T)) Pack4 {
    T at[4];
};

// An element in arithmetic type C; uint8 is scaled to [0, 1].
template <class C, class T>
__device__ __forceinline__ C load_as(const T* p) {
    if constexpr (sizeof(T) == 1) return unit_of(C(*p));
    else return C(load(p));
}

// Elements p[0 .. 3], of which `live` exist; the others come out as 0.
template <class C, class T>
__device__ __forceinline__ void load4(const T* p, int live, bool packed, C (&out)[4]) {
    if (packed && live >= 4) {
        const Pack4<T> pack = *reinterpret_cast<const Pack4<T>*>(p);
#pragma unroll
        for (int i = 0; i < 4; ++i) out[i] = load_as<C>(pack.at + i);
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) out[i] = i < live ? load_as<C>(p + i) : C(0);
    }
}

template <class C, class T>
__device__ __forceinline__ void store4(T* p, int live, bool packed, const C (&x)[4]) {
    if (packed && live >= 4) {
        Pack4<T> pack;
#pragma unroll
        for (int i = 0; i < 4; ++i) store(pack.at + i, x[i]);
        *reinterpret_cast<Pack4<T>*>(p) = pack;
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i)
            if (i < live) store(p + i, x[i]);
    }
}

// Whether rows of `stride` elements from p on may be read four at a time; null counts as yes.
template <class T>
bool packable(const T* p, int64_t stride) {
    return reinterpret_cast<uintptr_t>(p) % (4 * sizeof(T)) == 0 && stride % 4 == 0;
}

}  // namespace vaefast
