/* A transformer encoder block: self-attention and feed-forward, each with a residual. SPDX-License-Identifier: MIT */
#ifndef MMI_ENCODER_BLOCK_H
#define MMI_ENCODER_BLOCK_H

#include "feed_forward.h"
#include "norm.h"
#include "self_attention.h"

typedef struct {
    int post_norm;            /* normalize after the residual (arXiv:1706.03762, BERT), else before each half (ViT) */
    mmi_norm_spec norm1, norm2;
    mmi_self_attention_spec attention;
    mmi_feed_forward_spec feed_forward;
    mmi_value scale1, scale2; /* [C] layer scale of each half (arXiv:2103.17239), 0 for none */
} mmi_encoder_block_spec;

mmi_value mmi_encoder_block(mmi_graph *g, mmi_value x, const mmi_encoder_block_spec *e); /* [B, T, C] -> [B, T, C] */

#endif
