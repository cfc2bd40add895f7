/* The float kernels for NEON, which every aarch64 has. SPDX-License-Identifier: MIT */
#include "vector_neon.h"

/* Of 32 registers: a tile of a linear layer takes 6 rows x 4 vectors of sums, 4 vectors of weights and a broadcast, one of attention's
 * products 4 rows x 4 vectors likewise. */
#define LINEAR_ROWS 6
enum { LINEAR_GROUPS = 1, TILE_ROWS = 4, TILE_VECTORS = 4, ROWS_OF_4 = 2 };
#include "attention_template.h"
#include "float_template.h"
#include "gradient_template.h"
#include "linear_template.h"
#include "update_template.h"

void mmi_kernels_neon(mmi_kernels *k)
{
    register_float_kernels(k);
    register_gradient_kernels(k);
    register_update_kernels(k);
    register_linear_kernels(k);
    register_attention_kernels(k);
}
