/* SPDX-License-Identifier: MIT */
#include "layer_weights.h"

#include <math.h>

mmi_self_attention_spec mmi_layer_attention(mmi_io *io, int first, int64_t layer, int64_t heads, int64_t key_heads, int64_t dim)
{
    mmi_self_attention_spec a = {0};

    a.wq = mmi_io_weight(io, first, layer);
    a.bq = mmi_io_weight(io, first + 1, layer);
    a.wk = mmi_io_weight(io, first + 2, layer);
    a.bk = mmi_io_weight(io, first + 3, layer);
    a.wv = mmi_io_weight(io, first + 4, layer);
    a.bv = mmi_io_weight(io, first + 5, layer);
    a.wo = mmi_io_weight(io, first + 6, layer);
    a.bo = mmi_io_weight(io, first + 7, layer);
    a.heads = heads;
    a.key_heads = key_heads;
    a.dim = dim;
    a.spec.scale = 1.0f / sqrtf((float)dim);
    mmi_io_watch(io, "attentions", layer, &a.spec);
    return a;
}

mmi_cross_attention_spec mmi_layer_cross_attention(mmi_io *io, int first, int64_t layer, int64_t heads, int64_t dim)
{
    mmi_self_attention_spec a = mmi_layer_attention(io, first, layer, heads, heads, dim);

    a.spec.weights = a.spec.mean_weights = NULL;
    mmi_io_watch(io, "cross_attentions", layer, &a.spec);
    return (mmi_cross_attention_spec){.wq = a.wq, .wk = a.wk, .wv = a.wv, .bq = a.bq, .bk = a.bk, .bv = a.bv, .wo = a.wo, .bo = a.bo,
                                      .heads = heads, .key_heads = heads, .dim = dim, .layer = (size_t)layer, .spec = a.spec};
}

mmi_feed_forward_spec mmi_layer_feed_forward(mmi_io *io, int first, int64_t layer, mmi_activation act)
{
    mmi_feed_forward_spec f = {0};

    f.up = mmi_io_weight(io, first, layer);
    f.up_bias = mmi_io_weight(io, first + 1, layer);
    f.down = mmi_io_weight(io, first + 2, layer);
    f.down_bias = mmi_io_weight(io, first + 3, layer);
    f.act = act;
    return f;
}

mmi_norm_spec mmi_layer_norm_spec(mmi_io *io, int first, int64_t layer, float eps)
{
    return (mmi_norm_spec){0, mmi_io_weight(io, first, layer), mmi_io_weight(io, first + 1, layer), eps, 0};
}
