#pragma once

#include "../core/mmd_args.h"
#include "launch.h"

namespace vaefast {

// Only enqueues work on the target's stream; throws std::runtime_error when the launch fails. Fills value[splits *
// tiles, P], where a tile has 64 rows, or 32 in float64; z must be aligned to 16 bytes, and z_stride a multiple of 4.
void mmd_pairs_cuda(const MmdPairs& args, CudaTarget target);

// The same by csrc/cuda/mmd_products.cu.
void mmd_products_cuda(const MmdProducts& args, CudaTarget target);

}  // namespace vaefast
