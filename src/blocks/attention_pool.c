/* SPDX-License-Identifier: MIT */
#include "attention_pool.h"

#include <math.h>

#include "linear_op.h"
#include "row_ops.h"
#include "shape_ops.h"

mmi_value mmi_attention_pool(mmi_graph *g, mmi_value x, const mmi_attention_pool_spec *p)
{
    mmi_attention_spec spec = p->attention;
    int64_t N, C, D;
    mmi_value qkv, q, k, v, h;

    if (g->status) return 0;
    N = mmi_graph_look(g, x)->shape[1];
    C = mmi_graph_look(g, x)->shape[2];
    D = C / p->heads;
    spec.scale = 1.0f / sqrtf((float)D);
    /* The probe goes through the projections as one token more, of which only the query counts. */
    qkv = mmi_linear(g, mmi_concat(g, 1, (mmi_value[]){mmi_weight_value(g, p->probe), x}, 2), p->w, p->b, MMI_ACT_NONE); /* [B, 1 + N, 3 C] */
    q = mmi_split_last(g, mmi_slice(g, mmi_slice(g, qkv, 1, 0, 1), 2, 0, C), p->heads, D);
    k = mmi_split_last(g, mmi_slice(g, mmi_slice(g, qkv, 1, 1, N), 2, C, C), p->heads, D);
    v = mmi_split_last(g, mmi_slice(g, mmi_slice(g, qkv, 1, 1, N), 2, 2 * C, C), p->heads, D);
    h = mmi_linear(g, mmi_attention(g, q, k, v, &spec), p->wo, p->bo, MMI_ACT_NONE); /* [B, 1, C] */
    h = mmi_add(g, h, mmi_feed_forward(g, mmi_norm(g, h, &p->norm), &p->feed_forward));
    return mmi_select(g, h, 1, 0);
}
