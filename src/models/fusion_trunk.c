/* A stream's slots: its projection, the embedding of its modality and a norm; of interactive fusion then its layers. Early fusion has one
 * stack of layers behind all of these. SPDX-License-Identifier: MIT */
#include "fusion_trunk.h"

#include <stdio.h>

#include "layer_weights.h"
#include "linear_op.h"
#include "loss_ops.h"
#include "masked_mean.h"
#include "row_ops.h"
#include "shape_ops.h"

enum { PROJECTION, PROJECTION_BIAS, MODALITY, NORM, NORM_BIAS, STREAM_SLOTS };
enum { CROSS_NORM = MMI_STACK_SCALE1, CROSS_NORM_BIAS, CROSS_Q, CROSS_Q_BIAS, CROSS_K, CROSS_K_BIAS, CROSS_V, CROSS_V_BIAS, CROSS_O, CROSS_O_BIAS, CO_SLOTS };

/* In the order of a stack's slots. */
static void add_layer(mmi_row_list *l, const mmi_fusion_config *f, const char *prefix, int across)
{
    const int64_t C = f->stack.hidden, I = f->stack.intermediate;

    (void)mmi_row_add_norm(l, MMI_ROW_DECODER, C, prefix, "layers.%.norm1");
    (void)mmi_row_add_linear(l, MMI_ROW_DECODER, C, C, prefix, "layers.%.attention.query");
    (void)mmi_row_add_linear(l, MMI_ROW_DECODER, C, C, prefix, "layers.%.attention.key");
    (void)mmi_row_add_linear(l, MMI_ROW_DECODER, C, C, prefix, "layers.%.attention.value");
    (void)mmi_row_add_linear(l, MMI_ROW_DECODER, C, C, prefix, "layers.%.attention.output");
    (void)mmi_row_add_norm(l, MMI_ROW_DECODER, C, prefix, "layers.%.norm2");
    (void)mmi_row_add_linear(l, MMI_ROW_DECODER, I, C, prefix, "layers.%.feed_forward.up");
    (void)mmi_row_add_linear(l, MMI_ROW_DECODER, C, I, prefix, "layers.%.feed_forward.down");
    if (!across) return;
    (void)mmi_row_add_norm(l, MMI_ROW_DECODER, C, prefix, "layers.%.cross_norm");
    (void)mmi_row_add_linear(l, MMI_ROW_DECODER, C, C, prefix, "layers.%.cross_attention.query");
    (void)mmi_row_add_linear(l, MMI_ROW_DECODER, C, C, prefix, "layers.%.cross_attention.key");
    (void)mmi_row_add_linear(l, MMI_ROW_DECODER, C, C, prefix, "layers.%.cross_attention.value");
    (void)mmi_row_add_linear(l, MMI_ROW_DECODER, C, C, prefix, "layers.%.cross_attention.output");
}

static void add_trunk(mmi_row_list *l, const mmi_fusion_config *f, const char *task)
{
    const int64_t C = f->stack.hidden;
    char trunk[96], stream[128];
    int64_t all = 0;

    (void)snprintf(trunk, sizeof trunk, task ? "fusion.%s." : "fusion.", task);
    if (f->join == MMI_JOIN_LATE) {
        for (size_t s = 0; s < f->n_streams; s++) all += f->widths[s];
        (void)mmi_row_add_linear(l, 0, C, all, trunk, "projection");
        return;
    }
    for (size_t s = 0; s < f->n_streams; s++) {
        (void)snprintf(stream, sizeof stream, "%s%s.", trunk, f->names[s]);
        (void)mmi_row_add_linear(l, 0, C, f->widths[s], stream, "projection");
        (void)mmi_row_add(l, 0, C, 0, "%sembedding", stream);
        (void)mmi_row_add_norm(l, 0, C, stream, "norm");
        if (f->join == MMI_JOIN_INTERACTIVE) add_layer(l, f, stream, 1);
    }
    if (f->join == MMI_JOIN_EARLY) add_layer(l, f, trunk, 0);
}

void mmi_fusion_rows(mmi_row_list *l, mmi_fusion_config *f)
{
    const int64_t K = (int64_t)f->n_trunks;

    for (size_t t = 0; t < f->n_trunks; t++) {
        f->trunks[t].first = (int)l->count;
        add_trunk(l, f, f->trunks[t].task);
    }
    if (f->stitched) f->stitch = mmi_row_add(l, MMI_ROW_DECODER | MMI_ROW_TABLE, K, K, "fusion.cross_stitch.%%.weight");
}

mmi_value mmi_pool_tokens(mmi_io *io, mmi_tokens t, mmi_pooling pool)
{
    mmi_graph *g = io->g;
    mmi_value x;

    if (g->status) return 0;
    if (!io->segments) return pool == MMI_POOL_FIRST ? mmi_select(g, t.states, 1, 0) : mmi_masked_mean(g, t.states, t.mask);
    x = mmi_select(g, t.states, 0, 0); /* [T, C] */
    return pool == MMI_POOL_FIRST ? mmi_segment_first(g, x, io->segments) : mmi_segment_mean(g, x, io->segments);
}

static mmi_value join_late(mmi_io *io, const mmi_fusion_config *f, size_t trunk, const mmi_tokens *towers)
{
    const int slot = f->trunks[trunk].first;
    mmi_value x[MMI_MAX_STREAMS], v;

    for (size_t s = 0; s < f->n_streams; s++) x[s] = mmi_pool_tokens(io, towers[s], f->pool);
    v = mmi_linear(io->g, mmi_join_streams(io->g, x, f->n_streams), mmi_io_weight(io, slot, -1), mmi_io_weight(io, slot + 1, -1), f->stack.act);
    if (io->g->status) return 0;
    return mmi_reshape(io->g, v, 3, (int64_t[]){mmi_graph_look(io->g, v)->shape[0], 1, f->stack.hidden});
}

/* A modality's tokens as they enter: projected to the trunk's width, marked as what they are, normalized. */
static mmi_value enter(mmi_io *io, const mmi_fusion_config *f, int slot, mmi_value x)
{
    mmi_norm_spec norm = mmi_layer_norm_spec(io, slot + NORM, -1, f->stack.eps);

    x = mmi_linear(io->g, x, mmi_io_weight(io, slot + PROJECTION, -1), mmi_io_weight(io, slot + PROJECTION_BIAS, -1), MMI_ACT_NONE);
    return mmi_norm(io->g, mmi_add(io->g, x, mmi_io_weight(io, slot + MODALITY, -1)), &norm);
}

static int stream_slot(const mmi_fusion_config *f, size_t trunk, size_t s)
{
    return f->trunks[trunk].first + (int)s * (STREAM_SLOTS + (f->join == MMI_JOIN_INTERACTIVE ? CO_SLOTS : 0));
}

/* x[0] of early fusion, x[s] of each stream, through layer l. */
static void through_layer(mmi_io *io, const mmi_fusion_config *f, size_t trunk, int64_t l, const mmi_value *masks, mmi_value *x)
{
    const int64_t H = f->stack.heads, D = f->stack.hidden / H;
    mmi_co_attention_stream streams[MMI_MAX_STREAMS] = {0};

    if (f->join == MMI_JOIN_EARLY) {
        mmi_stack_spec stack = {.first = stream_slot(f, trunk, f->n_streams), .post_norm = 1, .silent = 1, .bias = masks[0] ? mmi_mask_bias(io->g, masks[0]) : 0};
        x[0] = mmi_encoder_layer(io, x[0], &f->stack, &stack, l);
        return;
    }
    for (size_t s = 0; s < f->n_streams; s++) {
        const int slot = stream_slot(f, trunk, s) + STREAM_SLOTS;
        mmi_decoder_block_spec *b = &streams[s].block;
        b->post_norm = 1;
        b->norm1 = mmi_layer_norm_spec(io, slot + MMI_STACK_NORM1, l, f->stack.eps);
        b->cross_norm = mmi_layer_norm_spec(io, slot + CROSS_NORM, l, f->stack.eps);
        b->norm2 = mmi_layer_norm_spec(io, slot + MMI_STACK_NORM2, l, f->stack.eps);
        b->attention = mmi_layer_attention(io, slot + MMI_STACK_Q, l, H, H, D);
        b->feed_forward = mmi_layer_feed_forward(io, slot + MMI_STACK_UP, l, f->stack.act);
        streams[s].across = mmi_layer_cross_attention(io, slot + CROSS_Q, l, H, D);
        streams[s].mask = masks[s];
    }
    mmi_co_attention_block(io->g, x, streams, f->n_streams);
}

/* Each trunk's state becomes a learned mixture of all trunks', a weight for each pair: arXiv:1604.03539, eq. 1, whose matrix is 1 and what is learned,
 * so that trunks begin apart. */
static void stitch(mmi_io *io, const mmi_fusion_config *f, int64_t l, size_t n, mmi_value x[][MMI_MAX_STREAMS])
{
    mmi_graph *g = io->g;
    mmi_value w = mmi_weight_value(g, mmi_io_weight(io, f->stitch, l)), mixed[MMI_MAX_TRUNKS][MMI_MAX_STREAMS];

    for (size_t t = 0; t < f->n_trunks; t++)
        for (size_t s = 0; s < n; s++) {
            mixed[t][s] = x[t][s];
            for (size_t u = 0; u < f->n_trunks; u++) {
                mmi_value share = mmi_slice(g, mmi_select(g, w, 0, (int64_t)t), 0, (int64_t)u, 1);
                mixed[t][s] = mmi_add(g, mixed[t][s], mmi_scale_by(g, x[u][s], share));
            }
        }
    for (size_t t = 0; t < f->n_trunks; t++)
        for (size_t s = 0; s < n; s++) x[t][s] = mixed[t][s];
}

mmi_value mmi_fusion_run(mmi_io *io, const mmi_fusion_config *f, const mmi_tokens *towers, mmi_value out[][MMI_MAX_TRUNK_LAYERS + 1])
{
    mmi_value x[MMI_MAX_TRUNKS][MMI_MAX_STREAMS], masks[MMI_MAX_STREAMS], states[MMI_MAX_STREAMS], mask;
    mmi_graph *g = io->g;
    size_t n = f->join == MMI_JOIN_EARLY ? 1 : f->n_streams;

    for (size_t s = 0; s < f->n_streams; s++) {
        states[s] = towers[s].states;
        masks[s] = towers[s].mask;
    }
    if (f->join == MMI_JOIN_LATE) {
        for (size_t t = 0; t < f->n_trunks; t++) out[t][0] = join_late(io, f, t, towers);
        return 0;
    }
    mask = mmi_join_masks(g, states, masks, f->n_streams);
    if (f->join == MMI_JOIN_EARLY) masks[0] = mask;
    for (size_t t = 0; t < f->n_trunks; t++) {
        for (size_t s = 0; s < f->n_streams; s++) x[t][s] = enter(io, f, stream_slot(f, t, s), states[s]);
        if (f->join == MMI_JOIN_EARLY) x[t][0] = mmi_join_streams(g, x[t], f->n_streams);
        out[t][0] = mmi_join_streams(g, x[t], n);
    }
    for (int64_t l = 0; l < f->stack.layers && !g->status; l++) {
        mmi_graph_boundary(g);
        for (size_t t = 0; t < f->n_trunks; t++) through_layer(io, f, t, l, masks, x[t]);
        if (f->stitched) stitch(io, f, l, n, x);
        for (size_t t = 0; t < f->n_trunks; t++) out[t][l + 1] = mmi_join_streams(g, x[t], n);
    }
    return mask;
}
