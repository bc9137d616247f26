// Element types by the number under which Python names them (vaefast/ops/_native.py).
#pragma once

namespace vaefast {

enum class DType : int { float32 = 0, float64 = 1, bfloat16 = 2, float16 = 3 };

// What data may have besides. Not an enumerator, as nothing is computed in it.
constexpr DType kUint8 = DType(4);

}  // namespace vaefast
