#pragma once

#include "../core/mixture_density_args.h"
#include "isa.h"

VAEFAST_DECLARE_CPU(void mixture_density_forward(const MixtureDensityForward&))
VAEFAST_DECLARE_CPU(void mixture_density_backward(const MixtureDensityBackward&))
