#pragma once

#include "../core/error_sums_args.h"
#include "isa.h"

VAEFAST_DECLARE_CPU(void error_sums_forward(const ErrorSumsForward&))
VAEFAST_DECLARE_CPU(void error_sums_backward(const ErrorSumsBackward&))
