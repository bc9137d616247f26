#pragma once

#include "../core/scaled_nll_args.h"
#include "launch.h"

namespace vaefast {

// Both only enqueue work on the target's stream; they throw std::runtime_error when the launch fails.
void scaled_nll_forward_cuda(const ScaledNllForward& args, CudaTarget target);
void scaled_nll_backward_cuda(const ScaledNllBackward& args, CudaTarget target);

}  // namespace vaefast
