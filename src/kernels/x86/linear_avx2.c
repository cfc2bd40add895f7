/* Linear layers on packed float weights for AVX2, FMA and F16C. SPDX-License-Identifier: MIT */
#include "vector_avx2.h"

/* 6 rows x 2 vectors of sums, 2 vectors of weights, one broadcast: 15 of 16 registers */
#define TILE_ROWS 6
#define TILE_GROUPS 1
#include "linear_template.h"

void mmi_float_linear_avx2(const mmi_float_tile *tile) { float_linear(tile); }

void mmi_float_pack_avx2(int32_t dtype, const void *w, size_t stride, size_t rows, size_t cols, void *group)
{
    float_pack(dtype, w, stride, rows, cols, group);
}
