// The launchers of the CUDA kernels. They only enqueue work on the target's stream; they throw std::runtime_error when a launch fails.
#pragma once

#include "../core/error_sums_args.h"
#include "../core/mixture_density_args.h"
#include "../core/mixture_moments_args.h"
#include "../core/mmd_args.h"
#include "../core/reparam_kl_args.h"
#include "../core/scaled_nll_args.h"
#include "launch.h"

namespace vaefast {

void error_sums_forward_cuda(const ErrorSumsForward& args, CudaTarget target);
void error_sums_backward_cuda(const ErrorSumsBackward& args, CudaTarget target);
void mixture_density_forward_cuda(const MixtureDensityForward& args, CudaTarget target);
void mixture_density_backward_cuda(const MixtureDensityBackward& args, CudaTarget target);
void mixture_density_forward_products_cuda(const MixtureDensityForwardProducts& args, CudaTarget target);
void mixture_density_backward_products_cuda(const MixtureDensityBackwardProducts& args, CudaTarget target);
void mixture_moments_forward_cuda(const MixtureMomentsForward& args, CudaTarget target);
void mixture_moments_backward_cuda(const MixtureMomentsBackward& args, CudaTarget target);
void mixture_kl_forward_cuda(const MixtureKlForward& args, CudaTarget target);
void mixture_kl_backward_cuda(const MixtureKlBackward& args, CudaTarget target);
// Fills value[splits * tiles, P], where a tile has 64 rows, or 32 in float64; z must be aligned to 16 bytes, and z_stride a
// multiple of 4.
void mmd_pairs_cuda(const MmdPairs& args, CudaTarget target);
void mmd_products_cuda(const MmdProducts& args, CudaTarget target);
void reparam_kl_forward_cuda(const ReparamKlForward& args, CudaTarget target);
void reparam_kl_backward_cuda(const ReparamKlBackward& args, CudaTarget target);
void scaled_nll_forward_cuda(const ScaledNllForward& args, CudaTarget target);
void scaled_nll_backward_cuda(const ScaledNllBackward& args, CudaTarget target);

}  // namespace vaefast
