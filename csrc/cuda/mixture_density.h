#pragma once

#include "../core/mixture_density_args.h"
#include "launch.h"

namespace vaefast {

// Both only enqueue work on the target's stream; they throw std::runtime_error when the launch fails.
void mixture_density_forward_cuda(const MixtureDensityForward& args, CudaTarget target);
void mixture_density_backward_cuda(const MixtureDensityBackward& args, CudaTarget target);

// The same by csrc/cuda/mixture_density_products.cu.
void mixture_density_forward_products_cuda(const MixtureDensityForwardProducts& args, CudaTarget target);
void mixture_density_backward_products_cuda(const MixtureDensityBackwardProducts& args, CudaTarget target);

}  // namespace vaefast
