/* Multi-head self-attention (arXiv:1706.03762, section 3.2), with grouped queries and rotary positions where asked.
 * SPDX-License-Identifier: MIT */
#ifndef MMI_SELF_ATTENTION_H
#define MMI_SELF_ATTENTION_H

#include "attention_op.h"
#include "graph.h"
#include "norm.h"

typedef struct {
    mmi_value wq, wk, wv; /* [H D, C], [K D, C], [K D, C]; wk and wv 0: wq holds all three, one under the other */
    mmi_value bq, bk, bv; /* 0 for none */
    mmi_value wo, bo;     /* [C, H D] */
    int64_t heads, key_heads, dim;
    mmi_norm_spec query_norm, key_norm; /* of each head, before the rotation (arXiv:2302.05442); w 0: none */
    mmi_value rope;       /* a table of mmi_rope_table, 0 for none */
    int rope_neox;
    int cached;           /* over the run's key/value cache, at `layer` */
    size_t layer;
    mmi_attention_spec spec;
} mmi_self_attention_spec;

mmi_value mmi_self_attention(mmi_graph *g, mmi_value x, const mmi_self_attention_spec *a); /* [B, T, C] -> [B, T, C] */

#endif
