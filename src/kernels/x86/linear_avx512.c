/* Linear layers on packed float weights for AVX-512 (F, BW, VL, DQ). SPDX-License-Identifier: MIT */
#include "vector_avx512.h"

/* 8 rows x 3 vectors of sums, 3 vectors of weights, one broadcast: 28 of 32 registers */
#define TILE_ROWS 8
#define TILE_GROUPS 3
#include "linear_template.h"

void mmi_float_linear_avx512(const mmi_float_tile *tile) { float_linear(tile); }

void mmi_float_pack_avx512(int32_t dtype, const void *w, size_t stride, size_t rows, size_t cols, void *group)
{
    float_pack(dtype, w, stride, rows, cols, group);
}
