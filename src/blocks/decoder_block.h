/* A transformer decoder block as current language models have it: normalization before each half, causal self-attention,
 * feed-forward. SPDX-License-Identifier: MIT */
#ifndef MMI_DECODER_BLOCK_H
#define MMI_DECODER_BLOCK_H

#include "feed_forward.h"
#include "norm.h"
#include "self_attention.h"

typedef struct {
    mmi_norm_spec norm1, norm2;
    mmi_self_attention_spec attention; /* causal, or cached */
    mmi_feed_forward_spec feed_forward;
} mmi_decoder_block_spec;

mmi_value mmi_decoder_block(mmi_graph *g, mmi_value x, const mmi_decoder_block_spec *d); /* [B, T, C] -> [B, T, C] */

#endif
