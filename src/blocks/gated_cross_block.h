/* A block between those of a language model that lets it see: attention across and feed-forward, each behind a gate that training opens
 * from nothing (Flamingo: arXiv:2204.14198, section 2.2). SPDX-License-Identifier: MIT */
#ifndef MMI_GATED_CROSS_BLOCK_H
#define MMI_GATED_CROSS_BLOCK_H

#include "cross_attention.h"
#include "feed_forward.h"
#include "norm.h"

typedef struct {
    mmi_norm_spec norm1, norm2;
    mmi_cross_attention_spec attention;
    mmi_value states;       /* [B, N, S]; 0: what the run's cross caches hold */
    mmi_feed_forward_spec feed_forward;
    mmi_value seen;         /* [B, T, 1]: a token's feed-forward counts so much; 0: all */
    mmi_value gate1, gate2; /* [1], of each half, through tanh */
} mmi_gated_cross_block_spec;

mmi_value mmi_gated_cross_block(mmi_graph *g, mmi_value x, const mmi_gated_cross_block_spec *b); /* [B, T, C] -> [B, T, C] */

mmi_value mmi_tanh_gate(mmi_graph *g, mmi_value gate, int64_t width); /* [1] -> [width], to multiply rows by */

#endif
