#pragma once

#include "../core/mmd_args.h"
#include "isa.h"

VAEFAST_DECLARE_CPU(void mmd_center(const MmdCenter&))
VAEFAST_DECLARE_CPU(void mmd_pairs(const MmdPairs&))
