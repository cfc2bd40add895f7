/* SPDX-License-Identifier: MIT */
#include "encoder_block.h"

#include "row_ops.h"

static mmi_value scaled(mmi_graph *g, mmi_value x, mmi_value scale) { return scale ? mmi_mul(g, x, scale) : x; }

mmi_value mmi_encoder_block(mmi_graph *g, mmi_value x, const mmi_encoder_block_spec *e)
{
    mmi_value h;

    if (e->post_norm) {
        x = mmi_norm(g, mmi_add(g, mmi_self_attention(g, x, &e->attention), x), &e->norm1);
        x = mmi_norm(g, mmi_add(g, mmi_feed_forward(g, x, &e->feed_forward), x), &e->norm2);
    } else {
        h = mmi_self_attention(g, mmi_norm(g, x, &e->norm1), &e->attention);
        x = mmi_add(g, x, scaled(g, h, e->scale1));
        h = mmi_feed_forward(g, mmi_norm(g, x, &e->norm2), &e->feed_forward);
        x = mmi_add(g, x, scaled(g, h, e->scale2));
    }
    mmi_graph_boundary(g);
    return x;
}
