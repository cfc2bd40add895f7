/* Attention from one sequence to another: a decoder's to its encoder (arXiv:1706.03762, section 3.2.3), a text's to an image (arXiv:2201.12086).
 *
 * Three runs of one definition: whole, over the other sequence's states; storing the keys and values of those in the run's cross caches;
 * and, while decoding, over those caches. SPDX-License-Identifier: MIT */
#ifndef MMI_CROSS_ATTENTION_H
#define MMI_CROSS_ATTENTION_H

#include "attention_op.h"
#include "graph.h"
#include "norm.h"

typedef struct {
    mmi_value wq, wk, wv; /* [H D, C], [K D, S], [K D, S] */
    mmi_value bq, bk, bv; /* 0 for none */
    mmi_value wo, bo;     /* [C, H D] */
    int64_t heads, key_heads, dim;
    const mmi_norm_spec *query_norm, *key_norm; /* of each head, NULL for none */
    size_t layer;         /* of the cross caches */
    mmi_attention_spec spec;
} mmi_cross_attention_spec;

/* x [B, T, C] to states [B, N, S], or over the cross caches when `states` is 0: [B, T, C]. */
mmi_value mmi_cross_attention(mmi_graph *g, mmi_value x, mmi_value states, const mmi_cross_attention_spec *a);

/* Keep the keys and values of states [B, N, S]. */
void mmi_cross_attention_store(mmi_graph *g, mmi_value states, const mmi_cross_attention_spec *a);

#endif
