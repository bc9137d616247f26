// The CPU kernels, one of each for every instruction set.
#pragma once

#include "../core/error_sums_args.h"
#include "../core/mixture_density_args.h"
#include "../core/mixture_moments_args.h"
#include "../core/mmd_args.h"
#include "../core/reparam_kl_args.h"
#include "isa.h"

VAEFAST_DECLARE_CPU(void error_sums_forward(const ErrorSumsForward&))
VAEFAST_DECLARE_CPU(void error_sums_backward(const ErrorSumsBackward&))
VAEFAST_DECLARE_CPU(void mixture_density_forward(const MixtureDensityForward&))
VAEFAST_DECLARE_CPU(void mixture_density_backward(const MixtureDensityBackward&))
VAEFAST_DECLARE_CPU(void mixture_moments_forward(const MixtureMomentsForward&))
VAEFAST_DECLARE_CPU(void mixture_moments_backward(const MixtureMomentsBackward&))
VAEFAST_DECLARE_CPU(void mmd_center(const MmdCenter&))
VAEFAST_DECLARE_CPU(void mmd_pairs(const MmdPairs&))
VAEFAST_DECLARE_CPU(void reparam_kl_forward(const ReparamKlForward&))
VAEFAST_DECLARE_CPU(void reparam_kl_backward(const ReparamKlBackward&))
