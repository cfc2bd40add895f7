/* SPDX-License-Identifier: MIT */
#include "cross_attention.h"

#include "dropout_op.h"
#include "linear_op.h"
#include "shape_ops.h"

static void keys_and_values(mmi_graph *g, mmi_value states, const mmi_cross_attention_spec *a, mmi_value *k, mmi_value *v)
{
    const int64_t K = a->key_heads, D = a->dim;
    mmi_value kv = mmi_linear_parts(g, states, (mmi_value[]){a->wk, a->wv}, (mmi_value[]){a->bk, a->bv}, 2, MMI_ACT_NONE); /* [B, N, 2 K D] */

    *k = mmi_split_last(g, mmi_slice(g, kv, 2, 0, K * D), K, D);
    *v = mmi_split_last(g, mmi_slice(g, kv, 2, K * D, K * D), K, D);
    if (a->key_norm) *k = mmi_norm(g, *k, a->key_norm);
}

mmi_value mmi_cross_attention(mmi_graph *g, mmi_value x, mmi_value states, const mmi_cross_attention_spec *a)
{
    mmi_value q = mmi_split_last(g, mmi_linear(g, x, a->wq, a->bq, MMI_ACT_NONE), a->heads, a->dim), k, v, context;

    if (a->query_norm) q = mmi_norm(g, q, a->query_norm);
    if (states) {
        keys_and_values(g, states, a, &k, &v);
        context = mmi_attention(g, q, k, v, &a->spec);
    } else {
        context = mmi_attention_across(g, a->layer, q, &a->spec);
    }
    return mmi_dropout(g, mmi_linear(g, context, a->wo, a->bo, MMI_ACT_NONE), g->dropout.blocks);
}

void mmi_cross_attention_store(mmi_graph *g, mmi_value states, const mmi_cross_attention_spec *a)
{
    mmi_value k, v;

    keys_and_values(g, states, a, &k, &v);
    mmi_cross_store(g, a->layer, k, v);
}
