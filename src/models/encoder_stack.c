/* SPDX-License-Identifier: MIT */
#include "encoder_stack.h"

#include "architecture_config.h"
#include "encoder_block.h"
#include "layer_weights.h"

const mmi_stack_keys mmi_stack_usual_keys = {"num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "layer_norm_eps",
                                             "hidden_act"};

mm_status mmi_stack_config_check(mm_context *ctx, const char *where, const mmi_stack_config *c)
{
    if (c->hidden % c->heads || c->hidden / c->heads > 512)
        return mmi_fail(ctx, MM_E_FORMAT, "%s: a hidden size of %lld does not divide into %lld heads of at most 512", where, (long long)c->hidden,
                        (long long)c->heads);
    return MM_OK;
}

mm_status mmi_stack_config_read(mm_context *ctx, const mmi_json *doc, const mmi_json_node *root, const mmi_stack_keys *k, mmi_stack_config *c)
{
    double eps = c->eps;
    mm_status st;

    if ((st = mmi_json_i64(ctx, doc, root, k->hidden, !c->hidden, 1, 1 << 17, &c->hidden))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, k->layers, !c->layers, 1, 4096, &c->layers))) return st;
    if ((st = mmi_json_i64(ctx, doc, root, k->heads, !c->heads, 1, 4096, &c->heads))) return st;
    if (k->intermediate && (st = mmi_json_i64(ctx, doc, root, k->intermediate, !c->intermediate, 1, 1 << 20, &c->intermediate))) return st;
    if (k->eps && (st = mmi_json_f64(ctx, doc, root, k->eps, 0, 0, 1, &eps))) return st;
    if (k->act && (st = mmi_config_activation(ctx, doc, root, k->act, &c->act))) return st;
    c->eps = (float)eps;
    return mmi_stack_config_check(ctx, mmi_json_name(doc), c);
}

int64_t mmi_stack_vision_dimension(const mm_model *m, const mmi_stack_config *c, char letter)
{
    const mmi_model_info *i = &m->info;

    switch (letter) {
    case 'C': return c->hidden;
    case 'I': return c->intermediate;
    case 'M': return i->channels;
    case 'P': return i->patch;
    case 'X': return i->patch * i->patch * i->channels;
    case 'N': return 1 + i->image_size[0] / i->patch * (i->image_size[1] / i->patch);
    default: return -1;
    }
}

mmi_patch_embedder_spec mmi_stack_patches(mmi_io *io, int class_token, int positions)
{
    const mmi_model_info *i = &io->model->info;

    return (mmi_patch_embedder_spec){.patch = i->patch,
                                     .w = mmi_io_weight(io, positions + 1, -1),
                                     .b = mmi_io_weight(io, positions + 2, -1),
                                     .class_token = mmi_io_weight(io, class_token, -1),
                                     .positions = mmi_io_weight(io, positions, -1),
                                     .rows = i->image_size[0] / i->patch,
                                     .cols = i->image_size[1] / i->patch};
}

mmi_value mmi_encoder_layer(mmi_io *io, mmi_value x, const mmi_stack_config *c, const mmi_stack_spec *s, int64_t l)
{
    mmi_encoder_block_spec b = {0};

    b.post_norm = s->post_norm;
    b.norm1 = mmi_layer_norm_spec(io, s->first + MMI_STACK_NORM1, l, c->eps);
    b.norm2 = mmi_layer_norm_spec(io, s->first + MMI_STACK_NORM2, l, c->eps);
    b.attention = mmi_layer_attention(io, s->first + MMI_STACK_Q, l, c->heads, c->heads, c->hidden / c->heads);
    if (s->silent) b.attention.spec.weights = b.attention.spec.mean_weights = NULL;
    b.attention.spec.bias = s->bias;
    b.attention.spec.causal = s->causal;
    b.attention.spec.segments = io->segments;
    b.feed_forward = mmi_layer_feed_forward(io, s->first + MMI_STACK_UP, l, c->act);
    b.feed_forward.gated = s->gated;
    if (s->scaled) {
        b.scale1 = mmi_io_weight(io, s->first + MMI_STACK_SCALE1, l);
        b.scale2 = mmi_io_weight(io, s->first + MMI_STACK_SCALE2, l);
    }
    return mmi_encoder_block(io->g, x, &b);
}

mmi_value mmi_encoder_stack(mmi_io *io, mmi_value x, const mmi_stack_config *c, const mmi_stack_spec *s)
{
    for (int64_t l = 0; l < c->layers && !io->g->status; l++) {
        if (!s->silent) mmi_io_hidden_state(io, l, x);
        x = mmi_encoder_layer(io, x, c, s, l);
    }
    if (!s->silent) mmi_io_hidden_state(io, c->layers, x);
    return x;
}
