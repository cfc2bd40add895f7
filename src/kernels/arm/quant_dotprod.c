/* Block-quantized linear with the dot products of bytes (FEAT_DotProd). SPDX-License-Identifier: MIT */
#include <arm_neon.h>

#define DOT(sum, w, x, lane) vdotq_laneq_s32(sum, w, x, lane)
#include "quant_template.h"

void mmi_kernels_quant_dotprod(mmi_kernels *k)
{
    k->quant_linear = quant_linear;
    k->row_linear = row_linear;
}
