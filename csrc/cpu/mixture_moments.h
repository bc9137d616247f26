#pragma once

#include "../core/mixture_moments_args.h"
#include "isa.h"

VAEFAST_DECLARE_CPU(void mixture_moments_forward(const MixtureMomentsForward&))
VAEFAST_DECLARE_CPU(void mixture_moments_backward(const MixtureMomentsBackward&))
