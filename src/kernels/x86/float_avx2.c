/* The float kernels for AVX2, FMA and F16C. SPDX-License-Identifier: MIT */
#include "vector_avx2.h"

/* rows of w in a dot product tile with 4 vectors: 16 registers */
enum { ROWS_OF_4 = 1 };
#include "attention_x86.h"
#include "float_linear.h"
#include "float_template.h"
#include "gradient_template.h"
#include "update_template.h"

void mmi_kernels_avx2(mmi_kernels *k)
{
    register_float_kernels(k);
    register_gradient_kernels(k);
    register_update_kernels(k);
    k->attention = mmi_attention_avx2;
    k->pack_keys = mmi_pack_keys_avx2;
    k->float_pack = mmi_float_pack_avx2;
    k->float_linear = mmi_float_linear_avx2;
}
