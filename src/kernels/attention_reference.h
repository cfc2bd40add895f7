/* Attention and key packing as the reference defines them: see kernels.h.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_ATTENTION_REFERENCE_H
#define MMI_ATTENTION_REFERENCE_H

#include "kernels.h"

void mmi_attention_reference(const mmi_attention_tile *tile);
void mmi_pack_keys_reference(const float *k, size_t stride, size_t n, size_t dim, int32_t dtype, void *keys, size_t first_position);

#endif
