/* The float kernels for AVX2, FMA and F16C. SPDX-License-Identifier: MIT */
#include "vector_avx2.h"

/* Of 16 registers: a tile of a linear layer takes 6 rows x 2 vectors of sums, 2 vectors of weights and a broadcast, one of attention's
 * products 4 rows x 2 vectors likewise. */
#define LINEAR_ROWS 6
enum { LINEAR_GROUPS = 1, TILE_ROWS = 4, TILE_VECTORS = 2, ROWS_OF_4 = 1 };
#include "attention_template.h"
#include "float_template.h"
#include "gradient_template.h"
#include "linear_template.h"
#include "update_template.h"

void mmi_kernels_avx2(mmi_kernels *k)
{
    register_float_kernels(k);
    register_gradient_kernels(k);
    register_update_kernels(k);
    register_linear_kernels(k);
    register_attention_kernels(k);
}
