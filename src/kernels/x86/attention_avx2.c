/* Attention for AVX2, FMA and F16C. SPDX-License-Identifier: MIT */
#include "vector_avx2.h"

/* a tile of products: 4 rows x 2 vectors of sums, 2 vectors of the second factor, one broadcast: 11 of 16 registers */
enum { TILE_ROWS = 4, TILE_VECTORS = 2 };
#include "attention_template.h"
#include "attention_x86.h"

void mmi_attention_avx2(const mmi_attention_tile *tile) { attention(tile); }

void mmi_pack_keys_avx2(const float *k, size_t stride, size_t n, size_t dim, int32_t dtype, void *keys, size_t first_position)
{
    pack_keys(k, stride, n, dim, dtype, keys, first_position);
}
