/* A transformer decoder block: causal self-attention, attention across to a source where it has one, feed-forward, each with a residual.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_DECODER_BLOCK_H
#define MMI_DECODER_BLOCK_H

#include "cross_attention.h"
#include "feed_forward.h"
#include "norm.h"
#include "self_attention.h"

typedef struct {
    int post_norm;                     /* normalize after each residual (arXiv:1706.03762, BART), else before each part */
    mmi_norm_spec norm1, cross_norm, norm2;
    mmi_norm_spec out_norm1, out_norm2; /* of what self-attention and feed-forward give, before it is added (Gemma 2: arXiv:2408.00118); w 0: none */
    mmi_self_attention_spec attention; /* causal, or cached */
    const mmi_cross_attention_spec *cross; /* NULL: none */
    mmi_value states;                  /* the source's [B, N, S]; 0: what the run's cross caches hold */
    mmi_feed_forward_spec feed_forward;
} mmi_decoder_block_spec;

mmi_value mmi_decoder_block(mmi_graph *g, mmi_value x, const mmi_decoder_block_spec *d); /* [B, T, C] -> [B, T, C] */

#endif
