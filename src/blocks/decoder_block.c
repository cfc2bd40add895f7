/* SPDX-License-Identifier: MIT */
#include "decoder_block.h"

#include "row_ops.h"

mmi_value mmi_decoder_block(mmi_graph *g, mmi_value x, const mmi_decoder_block_spec *d)
{
    x = mmi_add(g, x, mmi_self_attention(g, mmi_norm(g, x, &d->norm1), &d->attention));
    return mmi_add(g, x, mmi_feed_forward(g, mmi_norm(g, x, &d->norm2), &d->feed_forward));
}
