/* SPDX-License-Identifier: MIT */
#include "co_attention_block.h"

#include "shape_ops.h"

mmi_value mmi_join_streams(mmi_graph *g, const mmi_value *x, size_t n) { return n == 1 ? x[0] : mmi_concat(g, 1, x, n); }

static mmi_value ones(mmi_graph *g, mmi_value like)
{
    int64_t shape[2] = {1, 0};
    void *data = NULL;
    mmi_value v;

    if (g->status) return 0;
    shape[1] = mmi_graph_look(g, like)->shape[1];
    v = mmi_graph_constant(g, MM_DTYPE_I32, 2, shape, &data);
    for (int64_t i = 0; v && i < shape[1]; i++) ((int32_t *)data)[i] = 1;
    return v;
}

mmi_value mmi_join_masks(mmi_graph *g, const mmi_value *x, const mmi_value *masks, size_t n)
{
    mmi_value all[MMI_MAX_STREAMS];
    int any = 0;

    for (size_t i = 0; i < n; i++) any |= masks[i] != 0;
    for (size_t i = 0; any && i < n; i++) all[i] = masks[i] ? masks[i] : ones(g, x[i]);
    return any ? mmi_join_streams(g, all, n) : 0;
}

void mmi_co_attention_block(mmi_graph *g, mmi_value *x, const mmi_co_attention_stream *streams, size_t n)
{
    mmi_value before[MMI_MAX_STREAMS], others[MMI_MAX_STREAMS], masks[MMI_MAX_STREAMS];

    for (size_t i = 0; i < n; i++) before[i] = x[i];
    for (size_t i = 0; i < n; i++) {
        mmi_decoder_block_spec block = streams[i].block;
        mmi_cross_attention_spec across = streams[i].across;
        mmi_value hidden;
        size_t k = 0;
        for (size_t j = 0; j < n; j++) {
            if (j == i) continue;
            others[k] = before[j];
            masks[k++] = streams[j].mask;
        }
        hidden = mmi_join_masks(g, others, masks, k);
        if (hidden) across.spec.bias = mmi_mask_bias(g, hidden);
        if (streams[i].mask) block.attention.spec.bias = mmi_mask_bias(g, streams[i].mask);
        block.cross = &across;
        block.states = mmi_join_streams(g, others, k);
        x[i] = mmi_decoder_block(g, before[i], &block);
    }
}
