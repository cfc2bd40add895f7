/* The float kernels for AVX-512 (F, BW, VL, DQ). SPDX-License-Identifier: MIT */
#include "vector_avx512.h"

/* Of 32 registers: a tile of a linear layer takes 8 rows x 3 vectors of sums, 3 vectors of weights and a broadcast, one of attention's
 * products 4 rows x 4 vectors likewise. */
#define LINEAR_ROWS 8
enum { LINEAR_GROUPS = 3, TILE_ROWS = 4, TILE_VECTORS = 4, ROWS_OF_4 = 2 };
#include "attention_template.h"
#include "float_template.h"
#include "gradient_template.h"
#include "linear_template.h"
#include "update_template.h"

void mmi_kernels_avx512(mmi_kernels *k)
{
    register_float_kernels(k);
    register_gradient_kernels(k);
    register_update_kernels(k);
    register_linear_kernels(k);
    register_attention_kernels(k);
}
