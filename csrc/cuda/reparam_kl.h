#pragma once

#include "../core/reparam_kl_args.h"
#include "launch.h"

namespace vaefast {

// Both only enqueue work on the target's stream; they throw std::runtime_error when the launch fails.
void reparam_kl_forward_cuda(const ReparamKlForward& args, CudaTarget target);
void reparam_kl_backward_cuda(const ReparamKlBackward& args, CudaTarget target);

}  // namespace vaefast
