/* SPDX-License-Identifier: MIT */
#include "self_attention.h"

#include "dropout_op.h"
#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"

mmi_value mmi_self_attention(mmi_graph *g, mmi_value x, const mmi_self_attention_spec *a)
{
    const int64_t H = a->heads, K = a->key_heads, D = a->dim;
    mmi_value w[3] = {a->wq, a->wk, a->wv}, b[3] = {a->bq, a->bk, a->bv};
    mmi_value qkv, q, k, v, context;

    qkv = mmi_linear_parts(g, x, w, b, a->wk ? 3 : 1, MMI_ACT_NONE);             /* [B, T, (H + 2 K) D] */
    v = mmi_split_last(g, mmi_slice(g, qkv, 2, (H + K) * D, K * D), K, D);       /* [B, T, K, D] */
    q = mmi_split_last(g, mmi_slice(g, qkv, 2, 0, (H + K) * D), H + K, D);       /* queries and keys rotate alike */
    if (a->rope && !a->query_norm.w) q = mmi_rope(g, q, a->rope, a->rope_neox);
    k = mmi_slice(g, q, 2, H, K);
    q = mmi_slice(g, q, 2, 0, H);
    if (a->query_norm.w) {
        q = mmi_norm(g, q, &a->query_norm);
        k = mmi_norm(g, k, &a->key_norm);
        if (a->rope) q = mmi_rope(g, q, a->rope, a->rope_neox);
        if (a->rope) k = mmi_rope(g, k, a->rope, a->rope_neox);
    }
    context = a->cached ? mmi_attention_cached(g, a->layer, q, k, v, &a->spec) : mmi_attention(g, q, k, v, &a->spec);
    return mmi_dropout(g, mmi_linear(g, context, a->wo, a->bo, MMI_ACT_NONE), g->dropout.blocks);
}
