#pragma once

#include "../core/error_sums_args.h"
#include "launch.h"

namespace vaefast {

// Both only enqueue work on the target's stream; they throw std::runtime_error when the launch fails.
void error_sums_forward_cuda(const ErrorSumsForward& args, CudaTarget target);
void error_sums_backward_cuda(const ErrorSumsBackward& args, CudaTarget target);

}  // namespace vaefast
