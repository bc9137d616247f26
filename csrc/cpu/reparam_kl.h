#pragma once

#include "../core/reparam_kl_args.h"
#include "isa.h"

VAEFAST_DECLARE_CPU(void reparam_kl_forward(const ReparamKlForward&))
VAEFAST_DECLARE_CPU(void reparam_kl_backward(const ReparamKlBackward&))
