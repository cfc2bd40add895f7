/* SPDX-License-Identifier: MIT */
#include "decoder_block.h"

#include "row_ops.h"

static mmi_value add_part(mmi_graph *g, mmi_value x, mmi_value part, const mmi_norm_spec *out_norm)
{
    return mmi_add(g, x, out_norm->w ? mmi_norm(g, part, out_norm) : part);
}

mmi_value mmi_decoder_block(mmi_graph *g, mmi_value x, const mmi_decoder_block_spec *d)
{
    if (d->post_norm) {
        x = mmi_norm(g, mmi_add(g, mmi_self_attention(g, x, &d->attention), x), &d->norm1);
        if (d->cross) x = mmi_norm(g, mmi_add(g, mmi_cross_attention(g, x, d->states, d->cross), x), &d->cross_norm);
        x = mmi_norm(g, mmi_add(g, mmi_feed_forward(g, x, &d->feed_forward), x), &d->norm2);
    } else {
        x = add_part(g, x, mmi_self_attention(g, mmi_norm(g, x, &d->norm1), &d->attention), &d->out_norm1);
        if (d->cross) x = mmi_add(g, x, mmi_cross_attention(g, mmi_norm(g, x, &d->cross_norm), d->states, d->cross));
        x = add_part(g, x, mmi_feed_forward(g, mmi_norm(g, x, &d->norm2), &d->feed_forward), &d->out_norm2);
    }
    mmi_graph_boundary(g);
    return x;
}
