/* One vector of a sequence by attention: a learned probe asks, the tokens answer (Set Transformer: arXiv:1810.00825; SigLIP's head).
 * SPDX-License-Identifier: MIT */
#ifndef MMI_ATTENTION_POOL_H
#define MMI_ATTENTION_POOL_H

#include "attention_op.h"
#include "feed_forward.h"
#include "norm.h"

typedef struct {
    mmi_value probe;  /* [1, 1, C] */
    mmi_value w, b;   /* [3 C, C], [3 C]: query, key and value, one under the other */
    mmi_value wo, bo; /* [C, C], [C] */
    int64_t heads;
    mmi_norm_spec norm;
    mmi_feed_forward_spec feed_forward; /* a residual around norm and it */
    mmi_attention_spec attention; /* of which the bias [B or 1, 1, 1, N] counts, and the names of its weights */
} mmi_attention_pool_spec;

mmi_value mmi_attention_pool(mmi_graph *g, mmi_value x, const mmi_attention_pool_spec *p); /* [B, N, C] -> [B, C] */

#endif
