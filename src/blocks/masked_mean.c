/* SPDX-License-Identifier: MIT */
#include "masked_mean.h"

#include "attention_op.h"
#include "shape_ops.h"

enum { WIDEST_HEAD = 512 };

mmi_value mmi_masked_mean(mmi_graph *g, mmi_value x, mmi_value mask)
{
    mmi_attention_spec even = {0}; /* scores of 0: what is not hidden counts alike */
    mmi_value heads;
    int64_t C, H = 1;

    if (!mask) return mmi_mean(g, x);
    if (g->status) return 0;
    C = mmi_graph_look(g, x)->shape[2];
    while (C % H || C / H > WIDEST_HEAD) H++;
    even.bias = mmi_mask_bias(g, mask);
    heads = mmi_split_last(g, x, H, C / H);
    return mmi_select(g, mmi_attention(g, mmi_slice(g, heads, 1, 0, 1), heads, heads, &even), 1, 0);
}
