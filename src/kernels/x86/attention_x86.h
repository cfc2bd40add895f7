/* Attention and key packing of each x86 level: see kernels.h. SPDX-License-Identifier: MIT */
#ifndef MMI_ATTENTION_X86_H
#define MMI_ATTENTION_X86_H

#include "kernels.h"

void mmi_attention_avx2(const mmi_attention_tile *tile);
void mmi_attention_avx512(const mmi_attention_tile *tile);
void mmi_pack_keys_avx2(const float *k, size_t stride, size_t n, size_t dim, int32_t dtype, void *keys, size_t first_position);
void mmi_pack_keys_avx512(const float *k, size_t stride, size_t n, size_t dim, int32_t dtype, void *keys, size_t first_position);

#endif
