#pragma once

#include "../core/mixture_moments_args.h"
#include "launch.h"

namespace vaefast {

// They only enqueue work on the target's stream; they throw std::runtime_error when the launch fails.
void mixture_moments_forward_cuda(const MixtureMomentsForward& args, CudaTarget target);
void mixture_moments_backward_cuda(const MixtureMomentsBackward& args, CudaTarget target);
void mixture_kl_forward_cuda(const MixtureKlForward& args, CudaTarget target);
void mixture_kl_backward_cuda(const MixtureKlBackward& args, CudaTarget target);

}  // namespace vaefast
