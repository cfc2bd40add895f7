/* Streams of several modalities that read each other: in one block each attends to itself, then across to what all others were before the block,
 * then goes through its feed-forward (ViLBERT: arXiv:1908.02265, section 3.1, of any number of streams). SPDX-License-Identifier: MIT */
#ifndef MMI_CO_ATTENTION_BLOCK_H
#define MMI_CO_ATTENTION_BLOCK_H

#include "decoder_block.h"

enum { MMI_MAX_STREAMS = 4 };

typedef struct {
    mmi_decoder_block_spec block; /* not causal; its cross and states are set here */
    mmi_cross_attention_spec across;
    mmi_value mask;               /* of the stream's tokens, i32 [B, N]; 0: all count */
} mmi_co_attention_stream;

/* x[i] [B, N_i, C] of each stream, exchanged for what it becomes; 2 to MMI_MAX_STREAMS of them. */
void mmi_co_attention_block(mmi_graph *g, mmi_value *x, const mmi_co_attention_stream *streams, size_t n);

/* Streams one behind another: [B, N_0 + N_1 + .., C], and the mask of all, 0 where none has one. */
mmi_value mmi_join_streams(mmi_graph *g, const mmi_value *x, size_t n);
mmi_value mmi_join_masks(mmi_graph *g, const mmi_value *x, const mmi_value *masks, size_t n);

#endif
