/* SPDX-License-Identifier: MIT */
#include "gated_cross_block.h"

#include "row_ops.h"
#include "shape_ops.h"

mmi_value mmi_tanh_gate(mmi_graph *g, mmi_value gate, int64_t width) { return mmi_repeat(g, mmi_activate(g, gate, MMI_ACT_TANH), 0, width); }

mmi_value mmi_gated_cross_block(mmi_graph *g, mmi_value x, const mmi_gated_cross_block_spec *b)
{
    mmi_value h;
    int64_t C;

    if (g->status) return 0;
    C = mmi_graph_look(g, x)->shape[2];
    h = mmi_cross_attention(g, mmi_norm(g, x, &b->norm1), b->states, &b->attention);
    x = mmi_add(g, x, mmi_mul(g, h, mmi_tanh_gate(g, b->gate1, C)));
    h = mmi_feed_forward(g, mmi_norm(g, x, &b->norm2), &b->feed_forward);
    if (b->seen) h = mmi_mul(g, h, mmi_repeat(g, b->seen, 2, C));
    x = mmi_add(g, x, mmi_mul(g, h, mmi_tanh_gate(g, b->gate2, C)));
    mmi_graph_boundary(g);
    return x;
}
