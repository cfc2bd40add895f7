/* Attention for AVX-512 (F, BW, VL, DQ). SPDX-License-Identifier: MIT */
#include "vector_avx512.h"

/* a tile of products: 4 rows x 4 vectors of sums, 4 vectors of the second factor, one broadcast: 21 of 32 registers */
enum { TILE_ROWS = 4, TILE_VECTORS = 4 };
#include "attention_template.h"
#include "attention_x86.h"

void mmi_attention_avx512(const mmi_attention_tile *tile) { attention(tile); }

void mmi_pack_keys_avx512(const float *k, size_t stride, size_t n, size_t dim, int32_t dtype, void *keys, size_t first_position)
{
    pack_keys(k, stride, n, dim, dtype, keys, first_position);
}
